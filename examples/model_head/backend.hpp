#pragma once
/// Where a head runs: the CPU executor or a GPU behind one interface, so that the program around it is the
/// same and needs no CUDA.

#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "masthead/parameters.hpp"
#include "problem.hpp"

namespace model_head {

/// How to run the head.
struct Plan {
  masthead::Precision precision = masthead::Precision::fp32;
  masthead::Mode mode = masthead::Mode::eval;
  masthead::Output output = masthead::Output::softmax;
  int threads = 1;  ///< of the CPU
};

struct Statistics {
  std::vector<float> mean, var;  // (out_features)
};

/// One head with its batch on one device.
class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string device() const = 0;
  virtual std::string policy() const = 0;

  /// One forward pass of the whole batch; returns when it is done, with its milliseconds on the device.
  virtual double forward() = 0;

  /// y of the last pass in these rows, (rows, out_features).
  virtual std::vector<double> read_rows(const std::vector<std::int64_t>& rows) const = 0;

  /// BatchNorm's running statistics, which every pass in training mode updates with a momentum of 0.1.
  virtual Statistics read_running() const = 0;
};

/// The problem must outlive what these return.
std::unique_ptr<Backend> make_host_backend(const Problem& problem, const Plan& plan);
std::unique_ptr<Backend> make_device_backend(const Problem& problem, const Plan& plan);

/// Why `make_device_backend` would find no GPU; nothing if there is one.
std::optional<std::string> why_no_gpu();

/// The backend `B<precision>` of the plan's precision.
template <template <masthead::Precision> class B>
std::unique_ptr<Backend> make_backend(const Problem& problem, const Plan& plan) {
  using masthead::Precision;
  switch (plan.precision) {
    case Precision::fp64:
      return std::make_unique<B<Precision::fp64>>(problem, plan);
    case Precision::fp32_ieee:
      return std::make_unique<B<Precision::fp32_ieee>>(problem, plan);
    case Precision::fp32:
      return std::make_unique<B<Precision::fp32>>(problem, plan);
    case Precision::tf32:
      return std::make_unique<B<Precision::tf32>>(problem, plan);
    case Precision::fp16_scaled:
      return std::make_unique<B<Precision::fp16_scaled>>(problem, plan);
    case Precision::bf16:
      return std::make_unique<B<Precision::bf16>>(problem, plan);
    case Precision::fp16:
      return std::make_unique<B<Precision::fp16>>(problem, plan);
    case Precision::fp8:
      break;  // not offered by --precision: no CPU has it
  }
  throw std::invalid_argument("precision " + std::string(name(plan.precision)) + " is not offered here");
}

}  // namespace model_head

#pragma once
/// Where a head runs: the CPU executor or a GPU behind one interface, so that the program around it is the
/// same and needs no CUDA.

#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "masthead/core/parameters.hpp"
#include "masthead/core/precision.hpp"
#include "problem.hpp"

namespace model_head {

/// How the head computes.
struct Settings {
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
std::unique_ptr<Backend> make_cpu_backend(const Problem& problem, const Settings& settings);
std::unique_ptr<Backend> make_device_backend(const Problem& problem, const Settings& settings);

/// Why `make_device_backend` would find no GPU; nothing if there is one.
std::optional<std::string> why_no_gpu();

/// Calls body.operator()<precision>() for one of the precisions that --precision offers.
template <class Body>
auto with_precision(masthead::Precision precision, const Body& body) {
  using masthead::Precision;
  switch (precision) {
    case Precision::fp64:
      return body.template operator()<Precision::fp64>();
    case Precision::fp32_ieee:
      return body.template operator()<Precision::fp32_ieee>();
    case Precision::fp32:
      return body.template operator()<Precision::fp32>();
    case Precision::tf32:
      return body.template operator()<Precision::tf32>();
    case Precision::fp16_scaled:
      return body.template operator()<Precision::fp16_scaled>();
    case Precision::bf16:
      return body.template operator()<Precision::bf16>();
    case Precision::fp16:
      return body.template operator()<Precision::fp16>();
    case Precision::fp8:
      break;  // no CPU has it
  }
  throw std::invalid_argument("precision " + std::string(name(precision)) + " is not offered here");
}

/// The backend `B<precision>` of the settings' precision.
template <template <masthead::Precision> class B>
std::unique_ptr<Backend> make_backend(const Problem& problem, const Settings& settings) {
  return with_precision(settings.precision, [&]<masthead::Precision precision>() -> std::unique_ptr<Backend> {
    return std::make_unique<B<precision>>(problem, settings);
  });
}

}  // namespace model_head

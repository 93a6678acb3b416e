/// The error of the head's logits and probabilities in every precision, against float64, beside cuBLASLt's.
///
///     accuracy --json accuracy.json
///
/// The library shows no logits, so they are taken from log-softmax in the accumulator's type, with BatchNorm
/// at the identity and logits scaled by a power of two to a spread of 256 to 512. Feature 0 has a weight of
/// zeros, and with it a logit of exactly 0: another's logit is its logarithm less that of feature 0.
/// cuBLASLt's logits, in float, go through the library's scale_softmax and back the same way, which stands
/// for a float32 softmax such as torch's. What the way there and back costs on its own are the rows
/// `rounded_exact`: float64 logits, in fp8 those of operands quantized with a power of two per row, rounded
/// to float. Exit status 1 if an output has a NaN.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cublaslt_gemm.cuh"
#include "masthead/core/dtype.cuh"
#include "masthead/head.cuh"
#include "masthead/scale_softmax.cuh"
#include "support/accuracy_data.cuh"
#include "support/accuracy_report.hpp"
#include "support/cuda.cuh"
#include "support/environment.cuh"
#include "support/fp8.cuh"
#include "support/head_precisions.hpp"
#include "support/logit_error.hpp"
#include "support/product_f64.cuh"
#include "support/program.cuh"
#include "support/random_fill.cuh"
#include "support/sizes.hpp"
#include "support/softmax_error.cuh"

namespace {

namespace mh = masthead;
using namespace benchmark;

/// One system on one data set. The functions return the sampled rows.
struct Candidate {
  std::string precision, system, detail;
  const SampledMatrix& exact;  ///< logits: the product of the operands it takes
  std::function<SampledMatrix(const DeviceBuffer<float>& scale)> log_probabilities;
  std::optional<SampledMatrix> logits = {};
  mh::Dtype short_dtype = mh::Dtype::f32;  ///< of `short_probabilities`, 16 bit, where there are any
  std::function<SampledMatrix(const DeviceBuffer<float>& scale)> short_probabilities = {};
};

/// One data set: its operands in every type, and what all systems are measured by.
class AccuracyCase {
 public:
  AccuracyCase(DataSet data, const GemmShape& shape, const std::vector<std::int64_t>& rows,
               cudaStream_t stream, AccuracyReport& report)
      : name_(name(data)),
        shape_(shape),
        rows_(rows),
        stream_(stream),
        report_(report),
        data_(data, shape, stream),
        exact_(product(data_.x.data(), data_.weight.data())) {
    const double spread = benchmark::spread(exact_);
    logit_scale_ = std::exp2(9 - std::ceil(std::log2(spread)));
    // The reference problem is left as it is.
    softmax_scale_ = data == DataSet::reference ? 1 : std::exp2(1 - std::ceil(std::log2(spread)));
  }

  void measure_rounded_exact() {
    measure_rounded_exact("fp32", exact_);
    measure_rounded_exact("fp8", row_quantized_product(data_.x, data_.weight));
  }

  /// fp8 is judged by the operands as the head quantizes them: with a power of two per row, of x and of W.
  template <mh::Precision P>
  void measure_head() {
    using T = mh::DeviceElement<mh::operand_dtype(P)>;
    const DeviceBuffer<T> x = rounded<T>(data_.x, stream_), weight = rounded<T>(data_.weight, stream_);
    const SampledMatrix exact =
        name(P) == "fp8" ? row_quantized_product(x, weight) : product(x.data(), weight.data());
    Candidate candidate{.precision = std::string(name(P)),
                        .system = "masthead",
                        .detail = to_string(head<P>(weight, one_).policy(shape_.batch)),
                        .exact = exact,
                        .log_probabilities = [&](const DeviceBuffer<float>& scale) {
                          return forward<P, mh::Accumulator<T>>(x, weight, scale, mh::Output::log_softmax);
                        }};
    if constexpr (sizeof(T) == 2) {
      candidate.short_dtype = mh::dtype_of<T>;
      candidate.short_probabilities = [&](const DeviceBuffer<float>& scale) {
        return forward<P, T>(x, weight, scale, mh::Output::softmax);
      };
    }
    add(candidate);
  }

  /// cuBLASLt with operands of type T, followed by scale_softmax.
  template <class T>
  void measure_cublaslt(const std::string& precision) {
    const DeviceBuffer<T> x = rounded<T>(data_.x, stream_), weight = rounded<T>(data_.weight, stream_);
    add_cublaslt<T>(precision, precision, "cublaslt", product(x.data(), weight.data()), x.data(),
                    weight.data(), {});
  }

  void measure_cublaslt_fp8() {
    using Matrices = std::vector<const DeviceBuffer<float>*>;
    const QuantizedMatrices x(Matrices{&data_.x}, stream_), weight(Matrices{&data_.weight}, stream_);
    SampledMatrix exact = product(x[0], weight[0]);
    const double unit = x.host_scale(stream_) * weight.host_scale(stream_);
    for (double& value : exact.values) value *= unit;
    const GemmScales scales{x.scale(), weight.scale()};
    add_cublaslt<__nv_fp8_e4m3>("fp8", "fp8", "cublaslt", exact, x[0], weight[0], scales);
    add_cublaslt<__nv_fp8_e4m3>("fp8", "fp8_fast", "cublaslt_fast_accumulation", exact, x[0], weight[0],
                                scales);
  }

 private:
  void measure_rounded_exact(const std::string& precision, const SampledMatrix& exact) {
    const auto rows = static_cast<std::int64_t>(rows_.size());
    const DeviceBuffer<float> logits =
        to_device(std::vector<float>(exact.values.begin(), exact.values.end()), stream_);
    add({.precision = precision,
         .system = "rounded_exact",
         .detail = "float64 logits",
         .exact = exact,
         .log_probabilities =
             [&](const DeviceBuffer<float>& scale) {
               const DeviceBuffer<float> y(logits.size());
               poison(y, stream_);
               mh::scale_softmax(mh::Matrix<const float>(logits.data(), rows, shape_.out_features),
                                 mh::ConstVector(scale.data(), 1),
                                 mh::Matrix<float>(y.data(), rows, shape_.out_features),
                                 mh::Output::log_softmax, stream_);
               return SampledMatrix{columns(), to_host(y.data(), y.size(), stream_)};
             },
         .logits = SampledMatrix{columns(), to_host(logits.data(), logits.size(), stream_)}});
  }

  std::size_t columns() const { return static_cast<std::size_t>(shape_.out_features); }

  template <class T>
  SampledMatrix product(const T* x, const T* weight) const {
    const DeviceBuffer<double> y = product_f64(shape_, x, weight, rows_, stream_);
    return {columns(), to_host(y.data(), y.size(), stream_)};
  }

  template <class T>
  SampledMatrix row_quantized_product(const DeviceBuffer<T>& x, const DeviceBuffer<T>& weight) const {
    const DeviceBuffer<float> x_values = quantized_rows(x, shape_.in_features, stream_),
                              weight_values = quantized_rows(weight, shape_.in_features, stream_);
    return product(x_values.data(), weight_values.data());
  }

  /// The sampled rows of a whole output.
  template <class U>
  SampledMatrix sample(const DeviceBuffer<U>& y) const {
    SampledMatrix out{columns(), {}};
    for (const std::int64_t row : rows_) {
      const std::vector<double> values =
          to_host(y.data() + row * shape_.out_features, shape_.out_features, stream_);
      out.values.insert(out.values.end(), values.begin(), values.end());
    }
    return out;
  }

  /// softmax(scale * x W^T): running_var + epsilon is exactly 1.
  template <mh::Precision P, class T>
  mh::Head<P> head(const DeviceBuffer<T>& weight, const DeviceBuffer<float>& scale) const {
    const std::int64_t n = shape_.out_features;
    return mh::Head<P>({.weight = {weight.data(), n, shape_.in_features},
                        .running_mean = {zeros_.data(), n},
                        .running_var = {almost_ones_.data(), n},
                        .scale = {scale.data(), 1},
                        .epsilon = epsilon},
                       stream_);
  }

  template <mh::Precision P, class U, class T>
  SampledMatrix forward(const DeviceBuffer<T>& x, const DeviceBuffer<T>& weight,
                        const DeviceBuffer<float>& scale, mh::Output output) const {
    const auto [batch, in_features, out_features] = shape_;
    const DeviceBuffer<U> y(batch * out_features);
    poison(y, stream_);
    const mh::Head<P> head = this->head<P>(weight, scale);
    head.forward({x.data(), batch, in_features}, {y.data(), batch, out_features}, {.output = output},
                 stream_);
    return sample(y);
  }

  template <class T>
  void add_cublaslt(const std::string& precision, const std::string& types, const std::string& system,
                    const SampledMatrix& exact, const T* x, const T* weight, const GemmScales& scales) {
    const auto [batch, in_features, out_features] = shape_;
    const CublasLtGemm gemm(shape_, GemmTypes::of(types).with_output(CUDA_R_32F), nullptr, scales);
    const DeviceBuffer<float> logits(batch * out_features);
    poison(logits, stream_);
    gemm.run({x, weight, logits.data()}, stream_);
    Candidate candidate{.precision = precision,
                        .system = system,
                        .detail = gemm.description(),
                        .exact = exact,
                        .log_probabilities =
                            [&](const DeviceBuffer<float>& scale) {
                              return softmax<float>(logits, scale, mh::Output::log_softmax);
                            },
                        .logits = sample(logits)};
    if constexpr (sizeof(T) == 2) {
      candidate.short_dtype = mh::dtype_of<T>;
      candidate.short_probabilities = [&](const DeviceBuffer<float>& scale) {
        return softmax<T>(logits, scale, mh::Output::softmax);
      };
    }
    add(candidate);
  }

  template <class U>
  SampledMatrix softmax(const DeviceBuffer<float>& logits, const DeviceBuffer<float>& scale,
                        mh::Output output) const {
    const DeviceBuffer<U> y(logits.size());
    poison(y, stream_);
    mh::scale_softmax(mh::Matrix<const float>(logits.data(), shape_.batch, shape_.out_features),
                      mh::ConstVector(scale.data(), 1),
                      mh::Matrix<U>(y.data(), shape_.batch, shape_.out_features), output, stream_);
    return sample(y);
  }

  void add(const Candidate& of) {
    const auto on_device = [&](double scale) {
      return to_device(std::vector<float>{static_cast<float>(scale)}, stream_);
    };
    AccuracyRow row{.data = name_, .precision = of.precision, .system = of.system, .detail = of.detail};
    const SampledMatrix shown = logits_of(of.log_probabilities(on_device(logit_scale_)), logit_scale_);
    const LogitError error = logit_error(shown, of.exact);
    row.logits_l2 = error.relative_l2;
    row.logits_largest = error.largest;
    row.float_l2 = logit_error(shown, exact_).relative_l2;
    if (of.logits) row.direct_l2 = logit_error(*of.logits, of.exact).relative_l2;
    row.log_difference = largest_difference(of.log_probabilities(on_device(softmax_scale_)),
                                            log_softmax(of.exact, softmax_scale_));
    if (of.short_probabilities) {
      double largest = 0;
      for (const double value : of.exact.values) largest = std::max(largest, std::abs(value));
      const double scale = static_cast<float>(32 / largest);
      row.ulp = largest_ulp_error(of.short_probabilities(on_device(scale)), log_softmax(of.exact, scale),
                                  of.short_dtype);
    }
    report_.add(row);
  }

  static constexpr double epsilon = 0x1p-16;

  static DeviceBuffer<float> constant(std::int64_t size, double value, cudaStream_t stream) {
    return to_device(std::vector<float>(static_cast<std::size_t>(size), static_cast<float>(value)), stream);
  }

  std::string name_;
  GemmShape shape_;
  std::vector<std::int64_t> rows_;
  cudaStream_t stream_;
  AccuracyReport& report_;
  AccuracyData data_;
  SampledMatrix exact_;  // of the float data
  double logit_scale_, softmax_scale_;
  DeviceBuffer<float> one_ = constant(1, 1, stream_);
  DeviceBuffer<float> zeros_ = constant(shape_.out_features, 0, stream_);
  DeviceBuffer<float> almost_ones_ = constant(shape_.out_features, 1 - epsilon, stream_);
};

template <mh::Precision... precisions>
void measure_heads(AccuracyCase& of, Precisions<precisions...>) {
  (of.measure_head<precisions>(), ...);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Errors of masthead's head and of cuBLASLt against float64", "accuracy");
  std::string problem = "1024x8192x8192", json, commit = "unknown";
  std::vector<std::string> wanted;
  int row_count = 64;
  for (const DataSet data : data_sets) wanted.emplace_back(name(data));
  app.add_option("--problem", problem, "batch x in_features x out_features")->capture_default_str();
  app.add_option("--data", wanted, "repeatable")->check(CLI::IsMember(wanted))->capture_default_str();
  app.add_option("--rows", row_count, "rows of every output to measure, all columns each")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_option("--json", json, "write the results to this file");
  app.add_option("--commit", commit, "what was measured, for the file's header")->capture_default_str();

  return run_program(app, argc, argv, [&] {
    const std::vector<std::int64_t> sizes = parse_sizes(problem, 3);
    const GemmShape shape{sizes[0], sizes[1], sizes[2]};
    const std::vector<std::int64_t> rows = sampled_rows(shape.batch, row_count);
    const Stream stream;
    AccuracyReport report(current_environment("accuracy", commit), problem, static_cast<int>(rows.size()));
    for (const DataSet data : data_sets) {
      if (std::find(wanted.begin(), wanted.end(), name(data)) == wanted.end()) continue;
      AccuracyCase of(data, shape, rows, stream, report);
      of.measure_rounded_exact();
      of.measure_cublaslt<float>("fp32");
      of.measure_cublaslt<float>("tf32");
      of.measure_cublaslt<__nv_bfloat16>("bf16");
      of.measure_cublaslt<__half>("fp16");
      of.measure_cublaslt_fp8();
      measure_heads(of, HeadPrecisions());
    }
    report.print_table();
    if (!json.empty()) report.write_json(json, current_clocks());
    return report.complete() ? 0 : 1;
  });
}

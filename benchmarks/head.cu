/// Times the whole head beside the bare GEMM with bias that it cannot do without.
///
///     head --problem 1024x8192x8192 --precision bf16 --mode eval --timing both --json head.json
///     head --suite hopper --json head_hopper.json
///
/// Every system's output is checked against float64 before it is timed; exit status 1 if one is wrong.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "cublaslt_gemm.cuh"
#include "masthead/core/dtype.cuh"
#include "masthead/head.cuh"
#include "support/cache.cuh"
#include "support/cuda.cuh"
#include "support/environment.cuh"
#include "support/gemm_baseline.cuh"
#include "support/head_data.cuh"
#include "support/head_precisions.hpp"
#include "support/head_reference.cuh"
#include "support/program.cuh"
#include "support/random_fill.cuh"
#include "support/report.hpp"
#include "support/sizes.hpp"
#include "support/suites.hpp"
#include "support/timing.cuh"

namespace {

namespace mh = masthead;
using namespace benchmark;

/// How far rounding of the operands may move a log-probability of this program's data: a sanity check.
double operand_error(const std::string& precision) {
  return baseline_precision(precision) == "tf32" ? 0.02 : precision == "fp8" ? 2 : 0;
}

/// What --problem, --precision and --mode, or a suite, ask for.
struct Request {
  std::string problem, precision;
  mh::Mode mode;
  Bar bar = {};

  auto data() const { return std::tie(problem, precision); }
};

/// One problem in one precision.
template <class T>
class HeadBenchmark {
 public:
  HeadBenchmark(const GemmShape& shape, const std::string& precision, cudaStream_t stream)
      : precision_(precision),
        stream_(stream),
        data_(shape, sets(shape, precision), stream),
        quantized_(is_fp8() ? std::optional(QuantizedData::of(data_, stream)) : std::nullopt) {}

  template <mh::Precision P>
  void add_head() {
    auto heads = std::make_shared<std::deque<mh::Head<P>>>();  // one per set; a deque never moves them
    for (const auto& set : data_.sets) heads->emplace_back(data_.parameters(set), stream_);
    const std::int64_t batch = data_.shape.batch;
    workspace_ = DeviceBuffer<char>(std::max<std::int64_t>(
        {1, (*heads)[0].workspace_bytes(batch),
         batch < 2 ? 1 : (*heads)[0].workspace_bytes(batch, {.mode = mh::Mode::training})}));
    policy_ = to_string((*heads)[0].policy(batch));
    forward_ = [this, heads](mh::Mode mode, int index, cudaStream_t stream) {
      const auto i = static_cast<std::size_t>(index);
      const auto [batch, in_features, out_features] = data_.shape;
      const mh::Matrix<const T> x(data_.sets[i].x.data(), batch, in_features);
      const mh::Matrix<T> y(data_.sets[i].y.data(), batch, out_features);
      const mh::ForwardOptions options{.workspace = mh::Workspace{workspace_.data(), workspace_.bytes()},
                                       .running = data_.running()};
      if (mode == mh::Mode::eval) {
        (*heads)[i].forward(x, y, options, stream);
      } else {
        (*heads)[i].forward_training(x, y, options, stream);
      }
    };
  }

  void run(const std::vector<Request>& requests, const CommonOptions& options, const CacheSweep& sweep,
           Report& report) {
    const QuantizedData* quantized = quantized_ ? &*quantized_ : nullptr;
    std::deque<GemmBaseline<T>> baselines;
    std::vector<System> gemms;
    const auto add_baseline = [&](const std::string& system, std::string_view types) {
      const GemmBaseline<T>& gemm = baselines.emplace_back(types, data_, quantized, stream_);
      gemms.push_back({system, [&gemm](int set, cudaStream_t stream) { gemm.run(set, stream); }});
    };
    if (is_fp8()) {
      add_baseline("cublaslt_gemm", "fp8_fast");
      add_baseline("cublaslt_gemm_promoted", "fp8");
    } else {
      add_baseline("cublaslt_gemm", baseline_precision(precision_));
    }

    Sampling sampling = options.sampling;
    sampling.sets = static_cast<int>(data_.sets.size());
    for (const Request& request : requests) {
      const Case of{request.problem, request.precision, std::string(name(request.mode))};
      for (std::size_t i = 0; i < gemms.size(); ++i) {
        report.add(baselines[i].check(of, gemms[i].name, stream_));
      }
      std::vector<System> systems = gemms;
      if (forward_) {
        systems.push_back({"masthead", [&, mode = request.mode](int set, cudaStream_t stream) {
                             forward_(mode, set, stream);
                           }});
        report.add(check_head(of, systems.back(), request.mode));
      } else {
        std::cout << "no head in " << precision_ << ": the baseline alone is timed" << std::endl;
      }
      for (const Timing timing : options.timings()) {
        report.add(of, timing, names(systems), measure(systems, timing, sampling, sweep, stream_),
                   timing == Timing::back_to_back ? request.bar : Bar{});
      }
    }
  }

 private:
  bool is_fp8() const { return precision_ == "fp8"; }

  /// By the bytes of the leanest system.
  static int sets(const GemmShape& shape, const std::string& precision) {
    const auto [batch, in_features, out_features] = shape;
    const std::int64_t operand_bytes = precision == "fp8" ? 1 : precision == "fp16_scaled" ? 2 : sizeof(T);
    return rotation_sets((batch + out_features) * in_features * operand_bytes +
                         batch * out_features * static_cast<std::int64_t>(sizeof(T)));
  }

  Check check_head(const Case& of, const System& system, mh::Mode mode) const {
    const auto& set = data_.sets[0];
    poison(set.y, stream_);
    system.call(0, stream_);
    const std::int64_t unwritten = count_nan(set.y, stream_);
    const SoftmaxError error = head_error(data_.shape, set.x.data(), set.weight.data(), data_.host_vectors(),
                                          mode, set.y.data(), stream_);
    const bool right = unwritten == 0 && error.acceptable(mh::dtype_of<T>, operand_error(precision_));
    return {of,           system.name,
            "max|dlogp|", error.log_difference,
            right,        policy_ + ", " + std::to_string(unwritten) + " NaN"};
  }

  std::string precision_;
  cudaStream_t stream_;
  HeadData<T> data_;
  std::optional<QuantizedData> quantized_;
  DeviceBuffer<char> workspace_;
  std::function<void(mh::Mode, int set, cudaStream_t)> forward_;  // empty: no head in this precision
  std::string policy_;
};

/// Runs requests of one problem and precision. Without a head, fp8 quantizes bf16 data.
template <mh::Precision... heads>
void run_group(Precisions<heads...>, const std::vector<Request>& requests, const CommonOptions& options,
               const CacheSweep& sweep, Report& report, cudaStream_t stream) {
  const std::string& precision = requests[0].precision;
  const std::vector<std::int64_t> sizes = parse_sizes(requests[0].problem, 3);
  const GemmShape shape{sizes[0], sizes[1], sizes[2]};
  bool found = false;
  const auto run_head = [&]<mh::Precision P>() {
    if (precision != name(P)) return;
    found = true;
    HeadBenchmark<mh::DeviceElement<mh::operand_dtype(P)>> benchmark(shape, precision, stream);
    benchmark.template add_head<P>();
    benchmark.run(requests, options, sweep, report);
  };
  (run_head.template operator()<heads>(), ...);
  if (found) return;
  if (precision == "fp8") {
    HeadBenchmark<__nv_bfloat16>(shape, precision, stream).run(requests, options, sweep, report);
  } else {
    HeadBenchmark<float>(shape, precision, stream).run(requests, options, sweep, report);
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Times masthead's head beside the bare cuBLASLt GEMM", "head");
  std::vector<std::string> problems = {"1024x8192x8192"}, precisions = {"fp32", "bf16"};
  std::string mode = "both", suite;
  CommonOptions options;
  auto* const problem_option =
      app.add_option("--problem", problems, "batch x in_features x out_features; repeatable")
          ->capture_default_str();
  auto* const precision_option =
      app.add_option("--precision", precisions, "repeatable")
          ->check(CLI::IsMember({"fp64", "fp32_ieee", "fp32", "tf32", "fp16_scaled", "bf16", "fp16", "fp8"}))
          ->capture_default_str();
  auto* const mode_option = app.add_option("--mode", mode)
                                ->check(CLI::IsMember({"eval", "training", "both"}))
                                ->capture_default_str();
  app.add_option("--suite", suite,
                 "a fixed list of cases with what their ratio must be: bf16, fp16 and tf32, or fp32 and fp8")
      ->check(CLI::IsMember({"hopper", "precisions"}))
      ->excludes(problem_option)
      ->excludes(precision_option)
      ->excludes(mode_option);
  options.add_to(app);

  return run_program(app, argc, argv, [&] {
    std::vector<Request> requests;
    if (!suite.empty()) {
      for (const SuiteCase& of : suite_of(suite)) {
        requests.push_back({std::string(of.problem), std::string(of.precision), of.mode, of.bar});
      }
    } else {
      for (const std::string& problem : problems) {
        (void)parse_sizes(problem, 3);
        for (const std::string& precision : precisions) {
          if (mode != "training") requests.push_back({problem, precision, mh::Mode::eval});
          if (mode != "eval") requests.push_back({problem, precision, mh::Mode::training});
        }
      }
    }

    const Stream stream;
    const CacheSweep sweep(stream);
    Report report(current_environment("head", options.commit), options.sampling);
    // Requests next to each other share the data where they can.
    for (auto first = requests.begin(); first != requests.end();) {
      const auto last = std::find_if(first, requests.end(),
                                     [&](const Request& other) { return other.data() != first->data(); });
      run_group(HeadPrecisions(), {first, last}, options, sweep, report, stream);
      first = last;
    }
    report.print_table();
    if (!options.json.empty()) report.write_json(options.json, current_clocks());
    return report.all_right() ? 0 : 1;
  });
}

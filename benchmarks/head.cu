/// Times the whole head beside the bare GEMM with bias that it cannot do without.
///
///     head --problem 1024x8192x8192 --precision bf16 --mode eval --timing both --json head.json
///
/// Every system's output is checked against float64 before it is timed; exit status 1 if one is wrong.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "cublaslt_gemm.cuh"
#include "masthead/dtype.cuh"
#include "masthead/head.cuh"
#include "support/cache.cuh"
#include "support/cuda.cuh"
#include "support/environment.cuh"
#include "support/gemm_error.cuh"
#include "support/head_reference.cuh"
#include "support/program.cuh"
#include "support/random_fill.cuh"
#include "support/report.hpp"
#include "support/sizes.hpp"
#include "support/timing.cuh"

namespace {

namespace mh = masthead;
using namespace benchmark;

/// One problem in one precision: rotating sets of x, W and y on the device, and the vectors they share.
template <mh::Precision P>
class HeadBenchmark {
 public:
  using Element = mh::DeviceElement<mh::operand_dtype(P)>;
  using Vector = mh::Accumulator<Element>;  // of BatchNorm, which stays float beside 16-bit weights

  HeadBenchmark(const GemmShape& shape, cudaStream_t stream)
      : shape_(shape),
        stream_(stream),
        bias_(shape.out_features),
        gamma_(shape.out_features),
        beta_(shape.out_features),
        mean_(shape.out_features),
        variance_(shape.out_features),
        updated_mean_(shape.out_features),
        updated_variance_(shape.out_features),
        scale_(1) {
    const auto [batch, in_features, out_features] = shape;
    // Logits of a few units, gamma of both signs, nothing at its neutral value.
    random_fill(bias_, Normal{0, 0.5}, 1, stream);
    random_fill(gamma_, Normal{0.5, 1}, 2, stream);
    random_fill(beta_, Normal{0, 0.5}, 3, stream);
    random_fill(mean_, Normal{0, 0.3}, 4, stream);
    random_fill(variance_, Uniform{0.5, 1.5}, 5, stream);
    random_fill(updated_mean_, Normal{}, 6, stream);
    random_fill(updated_variance_, Uniform{0.5, 1.5}, 7, stream);
    random_fill(scale_, Uniform{1.2, 1.3}, 8, stream);
    const std::int64_t elements = batch * in_features + out_features * in_features + batch * out_features;
    const int sets = rotation_sets(elements * static_cast<std::int64_t>(sizeof(Element)));
    for (int i = 0; i < sets; ++i) {
      Set& set = sets_.emplace_back(Set{DeviceBuffer<Element>(batch * in_features),
                                        DeviceBuffer<Element>(out_features * in_features),
                                        DeviceBuffer<Element>(batch * out_features)});
      const auto seed = static_cast<std::uint64_t>(100 + 2 * i);
      random_fill(set.x, Normal{}, seed, stream);
      random_fill(set.weight, Normal{0, 1 / std::sqrt(static_cast<double>(in_features))}, seed + 1, stream);
      poison(set.y, stream);
    }
    for (const Set& set : sets_) heads_.emplace_back(parameters(set), stream);
    workspace_ = DeviceBuffer<char>(
        std::max<std::int64_t>({1, heads_[0].workspace_bytes(batch, mh::Mode::eval),
                                batch < 2 ? 1 : heads_[0].workspace_bytes(batch, mh::Mode::training)}));
  }

  void run(const std::vector<mh::Mode>& modes, const CommonOptions& options, const CacheSweep& sweep,
           Report& report) {
    const auto [batch, in_features, out_features] = shape_;
    const std::string problem =
        std::to_string(batch) + 'x' + std::to_string(in_features) + 'x' + std::to_string(out_features);
    CublasLtGemm gemm(shape_, GemmTypes::of(name(P)), bias_.data());
    std::vector<GemmOperands> operands;
    for (const Set& set : sets_) operands.push_back({set.x.data(), set.weight.data(), set.y.data()});
    gemm.choose_fastest(operands, stream_);

    Sampling sampling = options.sampling;
    sampling.sets = static_cast<int>(sets_.size());
    for (const mh::Mode mode : modes) {
      const Case of{problem, std::string(name(P)), std::string(name(mode))};
      const std::vector<System> systems = {
          {"cublaslt_gemm",
           [&](int set, cudaStream_t stream) { gemm.run(operands[static_cast<std::size_t>(set)], stream); }},
          {"masthead", [&, mode](int set, cudaStream_t stream) { forward(mode, set, stream); }}};
      report.add(check_gemm(of, systems[0], gemm));
      report.add(check_head(of, systems[1], mode));
      for (const Timing timing : options.timings()) {
        report.add(of, timing, names(systems), measure(systems, timing, sampling, sweep, stream_));
      }
    }
  }

 private:
  struct Set {
    DeviceBuffer<Element> x, weight, y;
  };

  static constexpr double epsilon = 1e-5;

  mh::Parameters<Element> parameters(const Set& set) const {
    const std::int64_t n = shape_.out_features;
    return {.weight = {set.weight.data(), n, shape_.in_features},
            .bias = {bias_.data(), n},
            .gamma = {gamma_.data(), n},
            .beta = {beta_.data(), n},
            .running_mean = {mean_.data(), n},
            .running_var = {variance_.data(), n},
            .scale = {scale_.data(), 1},
            .epsilon = epsilon};
  }

  void forward(mh::Mode mode, int index, cudaStream_t stream) {
    const auto i = static_cast<std::size_t>(index);
    const std::int64_t n = shape_.out_features;
    const mh::Matrix<const Element> x(sets_[i].x.data(), shape_.batch, shape_.in_features);
    const mh::Matrix<Element> y(sets_[i].y.data(), shape_.batch, n);
    const mh::Workspace workspace{workspace_.data(), workspace_.bytes()};
    if (mode == mh::Mode::eval) {
      heads_[i].forward(x, y, workspace, stream);
    } else {
      const mh::RunningStatistics running{.mean = {updated_mean_.data(), n},
                                          .var = {updated_variance_.data(), n}};
      heads_[i].forward_training(x, y, running, workspace, stream);
    }
  }

  Check check_gemm(const Case& of, const System& system, const CublasLtGemm& gemm) const {
    const Set& set = sets_[0];
    poison(set.y, stream_);
    system.call(0, stream_);
    const double error = sampled_gemm_error(shape_, set.x.data(), set.weight.data(),
                                            gemm.adds_bias() ? bias_.data() : nullptr, set.y.data(), stream_);
    const bool right = error <= gemm_tolerance(GemmTypes::of(name(P)));
    return {of, system.name, "max error / sum|x w|", error, right, gemm.description()};
  }

  Check check_head(const Case& of, const System& system, mh::Mode mode) const {
    const Set& set = sets_[0];
    poison(set.y, stream_);
    system.call(0, stream_);
    const std::int64_t unwritten = count_nan(set.y, stream_);
    const HeadVectors vectors{host(bias_),     host(gamma_),    host(beta_), host(mean_),
                              host(variance_), host(scale_)[0], epsilon};
    const SoftmaxError error =
        head_error(shape_, set.x.data(), set.weight.data(), vectors, mode, set.y.data(), stream_);
    const bool right = unwritten == 0 && error.acceptable(mh::dtype_of<Element>);
    const std::string policy = to_string(heads_[0].policy(shape_.batch));
    return {of,           system.name,
            "max|dlogp|", error.log_difference,
            right,        policy + ", " + std::to_string(unwritten) + " NaN"};
  }

  template <class T>
  std::vector<double> host(const DeviceBuffer<T>& buffer) const {
    return to_host(buffer.data(), buffer.size(), stream_);
  }

  GemmShape shape_;
  cudaStream_t stream_;
  DeviceBuffer<Element> bias_;  // of the output's dtype, as cuBLASLt's epilogue wants it
  DeviceBuffer<Vector> gamma_, beta_, mean_, variance_, updated_mean_, updated_variance_, scale_;
  std::vector<Set> sets_;
  std::deque<mh::Head<P>> heads_;  // one a set; a deque never moves them
  DeviceBuffer<char> workspace_;
};

template <mh::Precision... precisions>
void run_named(const std::string& precision, const GemmShape& shape, const std::vector<mh::Mode>& modes,
               const CommonOptions& options, const CacheSweep& sweep, Report& report, cudaStream_t stream) {
  const auto run = [&]<mh::Precision P>() {
    if (precision == name(P)) HeadBenchmark<P>(shape, stream).run(modes, options, sweep, report);
  };
  (run.template operator()<precisions>(), ...);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Times masthead's head beside the bare cuBLASLt GEMM", "head");
  std::vector<std::string> problems = {"1024x8192x8192"}, precisions = {"fp32", "bf16"};
  std::string mode = "both";
  CommonOptions options;
  app.add_option("--problem", problems, "batch x in_features x out_features; repeatable")
      ->capture_default_str();
  app.add_option("--precision", precisions, "repeatable")
      ->check(CLI::IsMember({"fp64", "fp32_ieee", "fp32", "bf16", "fp16"}))
      ->capture_default_str();
  app.add_option("--mode", mode)->check(CLI::IsMember({"eval", "training", "both"}))->capture_default_str();
  options.add_to(app);

  return run_program(app, argc, argv, [&] {
    std::vector<mh::Mode> modes;
    if (mode != "training") modes.push_back(mh::Mode::eval);
    if (mode != "eval") modes.push_back(mh::Mode::training);
    std::vector<GemmShape> shapes;
    for (const std::string& problem : problems) {
      const std::vector<std::int64_t> sizes = parse_sizes(problem, 3);
      shapes.push_back({sizes[0], sizes[1], sizes[2]});
    }

    const Stream stream;
    const CacheSweep sweep(stream);
    Report report(current_environment("head", options.commit), options.sampling);
    for (const GemmShape& shape : shapes) {
      for (const std::string& precision : precisions) {
        using enum mh::Precision;
        run_named<fp64, fp32_ieee, fp32, bf16, fp16>(precision, shape, modes, options, sweep, report, stream);
      }
    }
    report.print_table();
    if (!options.json.empty()) report.write_json(options.json, current_clocks());
    return report.all_right() ? 0 : 1;
  });
}

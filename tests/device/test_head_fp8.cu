#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "../support/head_calls.cuh"
#include "../support/head_hard.cuh"
#include "../support/quantized.hpp"
#include "masthead/linear_batch_norm_softmax.cuh"

using namespace masthead;
using test::at;
using test::DeviceMatrix;
using test::DeviceProblem;
using test::DeviceVector;
using test::DeviceWorkspace;
using test::Findings;
using test::HeadCase;
using test::HeadProblem;
using test::Stream;

namespace {

using T = __nv_bfloat16;
constexpr Precision fp8 = Precision::fp8;
// How exactly the tensor cores sum e4m3: between half and bfloat16 in one k-block, and k-blocks are added in
// float.
constexpr Dtype sums = Dtype::f16;

bool runs_fp8() {
  if (!detail::check_compiled_for_sm90a(detail::shipped_wgmma(MathMode::e4m3, Dtype::bf16).m128,
                                        detail::Device::current(cudaStream_t{}))) {
    return true;
  }
  test::skip("fp8: not sm_90a");
  return false;
}

/// The problem as the head computes it: exact products of quantized operands.
HeadProblem quantized(HeadProblem p) {
  p.x = test::quantized_rows(p.x, p.in_features).values;
  p.weight = test::quantized_rows(p.weight, p.in_features).values;
  return p;
}

void check_values(const HeadCase& c) {
  CAPTURE(c);
  const HeadProblem p = test::problem_of(c, Dtype::bf16);
  DeviceProblem<T> problem(p, c);
  const Stream stream;
  const Head<fp8> head(problem.parameters(), stream);
  Findings findings;
  for (const Mode mode : {Mode::eval, Mode::training}) {
    if (mode == Mode::training && p.batch == 1) continue;
    CAPTURE(name(mode));
    const auto reference = test::head_reference(quantized(p), mode == Mode::training).softmax;
    for (const Output output : {Output::softmax, Output::log_softmax}) {
      CAPTURE(name(output));
      const auto narrow = test::forward<T>(head, problem.x.view(), p.out_features, mode, stream, findings,
                                           output, {}, c.pad, c.shift)
                              .values();
      const auto wide = test::forward<float>(head, problem.x.view(), p.out_features, mode, stream, findings,
                                             output, {}, c.pad, c.shift)
                            .values();
      CHECK(test::compare(reference, narrow, sums, Dtype::bf16, output, 0.75));
      CHECK(test::compare(reference, wide, sums, Dtype::f32, output));
      for (const auto& [what, bad] : test::corruptions(wide, p.batch, p.out_features)) {
        CAPTURE(what);
        if (what == "the largest magnitude 2% off") continue;  // within the tolerance
        CHECK_FALSE(test::compare(reference, bad, sums, Dtype::f32, output));
      }
    }
  }
  for (const test::Finding& f : findings) CHECK_MESSAGE(f.good, f.text);
}

}  // namespace

TEST_SUITE("device head fp8") {
  TEST_CASE("both modes, outputs and dtypes of y against the exact product of the quantized operands") {
    if (!runs_fp8()) return;
    const std::int64_t n = test::small_sizes() ? 136 : 1000;
    check_values({.shape = {70, 100, n}, .scale = test::scale_per_feature(n, 3)});
    check_values(
        {.shape = {1, 5, 65}, .scale = {-3}, .dtypes = test::VectorDtypes::mixed(), .pad = 5, .shift = 1});
    check_values({.shape = {257, 64, 7}, .scale = {}, .pad = 8, .affine = false});
    check_values({.shape = {130, 528, 513}, .data = test::Data::uniform, .seed = 4});
    check_values({.shape = {64, 1000, 264}, .data = test::Data::log_uniform, .seed = 5});
  }
  TEST_CASE("logits up to the largest float") { test::test_huge_logits<fp8>(); }
  TEST_CASE("means far from 0 beside the deviation") { test::test_far_means<fp8>(); }
  TEST_CASE("the same bits over 20 runs and in any batch") {
    if (runs_fp8()) test::test_bits<fp8>();
  }
  TEST_CASE("streams, threads and stream-ordered allocation") {
    if (runs_fp8()) test::test_concurrency<fp8>();
  }
  TEST_CASE("a pending error of the caller's stays pending") {
    if (runs_fp8()) test::test_pending_error<fp8>();
  }

  TEST_CASE("rows with NaN and infinities, and only those, are NaN") {
    if (!runs_fp8()) return;
    const HeadCase c{.shape = {6, 24, 70}, .seed = 8};
    HeadProblem p = test::problem_of(c, Dtype::bf16);
    p.x[test::at(1, 24, 3)] = std::nan("");
    p.x[test::at(4, 24, 0)] = -std::numeric_limits<double>::infinity();
    DeviceProblem<T> problem(p, c);
    const Stream stream;
    const Head<fp8> head(problem.parameters(), stream);
    Findings findings;
    const auto y = test::forward<T>(head, problem.x.view(), 70, Mode::eval, stream, findings).values();
    for (std::int64_t m = 0; m < 6; ++m) {
      for (std::int64_t j = 0; j < 70; ++j) CHECK(std::isnan(y[test::at(m, 70, j)]) == (m == 1 || m == 4));
    }
  }

  TEST_CASE("a graph that updates the weight and multiplies; without an update the old weight serves") {
    if (!runs_fp8()) return;
    const HeadCase c{.shape = {70, 64, 136}, .seed = 15}, other{.shape = c.shape, .seed = 16};
    DeviceProblem<T> problem(c);
    const Stream stream;
    Head<fp8> head(problem.parameters(), stream);
    Findings findings;
    const auto before = test::forward<T>(head, problem.x.view(), 136, Mode::eval, stream, findings).bytes;
    DeviceMatrix<T> y(70, 136);
    const DeviceWorkspace workspace(head.workspace_bytes(70));
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    test::succeed(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    head.update(stream);
    head.forward(problem.x.view(), y.view(), {.workspace = workspace.view()}, stream);
    test::succeed(cudaStreamEndCapture(stream, &graph));
    test::succeed(cudaGraphInstantiate(&executable, graph, 0));
    problem.weight.set(test::problem_of(other, Dtype::bf16).weight);
    CHECK(test::forward<T>(head, problem.x.view(), 136, Mode::eval, stream, findings).bytes == before);
    test::succeed(cudaGraphLaunch(executable, stream));
    stream.synchronize();
    const auto after = test::forward<T>(head, problem.x.view(), 136, Mode::eval, stream, findings).bytes;
    CHECK(after != before);
    CHECK(y.download().bytes == after);
    test::succeed(cudaGraphExecDestroy(executable));
    test::succeed(cudaGraphDestroy(graph));
    test::succeed(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    CHECK_THROWS_AS(Head<fp8>(problem.parameters(), stream), Error);
    test::succeed(cudaStreamEndCapture(stream, &graph));
    test::succeed(cudaGraphDestroy(graph));
  }

  TEST_CASE("ready e4m3 operands with their scales give the bits of a head that quantizes") {
    if (!runs_fp8()) return;
    using Ready = PolicyFor<detail::shipped_wgmma(MathMode::e4m3, Dtype::e4m3).m128>;
    const HeadCase c{.shape = {70, 208, 300}, .scale = test::scale_per_feature(300, 3), .seed = 21};
    const HeadProblem p = test::problem_of(c, Dtype::bf16);
    DeviceProblem<T> problem(p, c);
    const Stream stream;
    const Head<fp8> head(problem.parameters(), stream);
    const auto x = test::quantized_rows(p.x, 208), w = test::quantized_rows(p.weight, 208);
    DeviceMatrix<__nv_fp8_e4m3> device_x(70, 208), device_w(300, 208);
    const auto numbers = [](const std::vector<E4M3>& elements) {
      std::vector<double> values;
      for (const E4M3 element : elements) values.push_back(widen(element));
      return values;
    };
    device_x.set(numbers(x.codes)), device_w.set(numbers(w.codes));
    const DeviceVector x_scale(x.scale, Dtype::f32), w_scale(w.scale, Dtype::f32);
    Parameters<__nv_fp8_e4m3> parameters;
    const Parameters<T> of_head = problem.parameters();
    parameters.weight = device_w.view();
    parameters.bias = of_head.bias, parameters.gamma = of_head.gamma, parameters.beta = of_head.beta;
    parameters.running_mean = of_head.running_mean, parameters.running_var = of_head.running_var;
    parameters.scale = of_head.scale, parameters.epsilon = of_head.epsilon;
    Findings findings;
    for (const Mode mode : {Mode::eval, Mode::training}) {
      CAPTURE(name(mode));
      DeviceMatrix<T> y(70, 300);
      QuantizedArguments<T> arguments{
          {device_x.view(), parameters, y.view()}, x_scale.view(), w_scale.view()};
      const DeviceWorkspace workspace(workspace_bytes<Ready>(arguments, mode));
      if (mode == Mode::eval) {
        linear_batch_norm_softmax<Ready>(arguments, workspace.view(), stream);
      } else {
        linear_batch_norm_softmax_training<Ready>(arguments, {}, workspace.view(), stream);
      }
      stream.synchronize();
      CHECK(workspace.intact());
      CHECK(y.download().bytes ==
            test::forward<T>(head, problem.x.view(), 300, mode, stream, findings).bytes);
      arguments.x_scale.size = 69;
      CHECK_THROWS_AS(linear_batch_norm_softmax<Ready>(arguments, workspace.view(), stream), Error);
      arguments.x_scale = {x_scale.view().data, Dtype::f64, 70};
      CHECK_THROWS_AS(linear_batch_norm_softmax<Ready>(arguments, workspace.view(), stream), Error);
    }
  }
}

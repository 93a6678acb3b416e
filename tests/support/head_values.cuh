#pragma once
/// The results of Head, of every precision: grids of sizes, extremes, running statistics, explicit policies.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "device_problem.cuh"
#include "masthead/linear_batch_norm_softmax.cuh"

namespace test {

/// The head's cases: every edge of a tile in every place, rows of one cluster and of parts, then a random
/// sample; scales, dtypes, strides and alignments rotate through them.
inline std::vector<HeadCase> head_cases(Dtype operands) {
  std::vector<Shape> shapes = {
      {1, 1, 1},        {1, 7, 65},     {7, 1, 1},       {2, 63, 64},      {63, 65, 64},   {64, 129, 63},
      {65, 64, 1},      {129, 64, 7},   {2, 129, 1000},  {7, 1000, 65},    {65, 64, 1000}, {1000, 7, 129},
      {257, 65, 257},   {1, 8191, 257}, {2, 8191, 129},  {129, 64, 1000},  {8191, 7, 2},   {1, 1000, 8191},
      {257, 7, 8191},   {64, 64, 64},   {128, 128, 128}, {256, 64, 256},   {1, 8, 8},      {2, 8, 8191},
      {1000, 257, 129}, {130, 64, 512}, {1, 1024, 512},  {33, 8, 449},     {65, 128, 320}, {3, 2056, 192},
      {300, 72, 129},   {17, 72, 513},  {16, 64, 1025},  {129, 136, 2048}, {5, 8, 1800}};
  Random random(seed());
  const std::vector<std::int64_t> edges = {1,   2,   3,   7,   8,   31,  33,   63,   64,   65,   127, 128,
                                           129, 255, 257, 511, 512, 513, 1000, 1024, 1025, 8191, 8192};
  const auto draw = [&] { return edges[at(random.integer(0, static_cast<std::int64_t>(edges.size()) - 1))]; };
  const std::int64_t products = small_sizes() ? 1'000'000 : 150'000'000;
  const std::int64_t outputs = small_sizes() ? 20'000 : 1'000'000;
  const auto affordable = [&](const Shape& s) {
    return s.batch * s.in_features * s.out_features <= products && s.batch * s.out_features <= outputs &&
           s.in_features * s.out_features <= products / 10;
  };
  if (small_sizes()) std::erase_if(shapes, [&](const Shape& s) { return !affordable(s); });
  const std::size_t count = shapes.size() + (small_sizes() ? 3 : 80);
  while (shapes.size() < count) {
    const Shape shape{draw(), draw(), draw()};
    if (affordable(shape)) shapes.push_back(shape);
  }
  const Dtype sums = masthead::accumulator_dtype(operands);
  std::vector<HeadCase> cases;
  for (const Shape& shape : shapes) {
    const auto number = static_cast<int>(cases.size());
    const std::vector<double> scales[] = {{},  {1},    {-3},
                                          {0}, {12.5}, scale_per_feature(shape.out_features, 77)};
    const VectorDtypes dtypes[] = {VectorDtypes::all(operands), VectorDtypes::all(sums),
                                   VectorDtypes::mixed()};
    HeadCase c{.shape = shape, .seed = random.integer(1, 1'000'000) + std::uint64_t{0}};
    c.scale = scales[number % 6];
    c.dtypes = dtypes[number / 2 % 3];
    c.data = static_cast<Data>(number / 3 % 3);
    c.pad = number / 5 % 3 == 0 ? 0 : number / 5 % 3 == 1 ? 8 : 5;
    c.shift = number / 4 % 3 == 2;
    c.affine = number % 7 != 3;
    cases.push_back(c);
  }
  return cases;
}

/// A case in both modes, both outputs and both dtypes of y, with running statistics.
template <Precision precision>
void check_head_case(const HeadCase& c, Findings& findings) {
  using T = ElementOf<precision>;
  using Sum = masthead::Accumulator<T>;
  const HeadProblem p = problem_of<precision>(c);
  DeviceProblem<T> problem(p, c);
  const Stream stream;
  const Head<precision> head(problem.parameters(), stream);
  const auto run = [&]<class U>(U, Mode mode, Output output, const HeadReference& reference) {
    constexpr Dtype stored = masthead::dtype_of<U>;
    const std::string what =
        std::string(name(mode)) + ' ' + std::string(name(output)) + " to " + std::string(name(stored));
    const Dtype kept = output == Output::softmax ? Dtype::f32 : masthead::dtype_of<T>;
    const RunningReference before = running_start(p.out_features, kept);
    const DeviceRunning running(before, kept);
    const auto y = forward<U>(head, problem.x.view(), p.out_features, mode, stream, findings, output,
                              running.view(0.1), c.pad, c.shift);
    compare_into(findings, what, reference.softmax, y.values(), masthead::dtype_of<Sum>, stored, output,
                 c.scale.size() > 1, stored_ulps(head.policy(p.batch)));
    if (mode == Mode::eval) {
      findings.push_back({running.mean.untouched() && running.var.untouched() && running.tracked.untouched(),
                          what + ": running statistics changed"});
      return;
    }
    const RunningReference after = running_reference(before, reference, p.batch, 0.1);
    const auto mean = compare_features(after.mean, reference.mean_condition, running.mean.values(),
                                       masthead::dtype_of<Sum>, kept);
    const auto var = compare_features(after.var, reference.var_condition, running.var.values(),
                                      masthead::dtype_of<Sum>, kept);
    findings.push_back({mean.accepted, what + ": running mean " + mean.first_rejected});
    findings.push_back({var.accepted, what + ": running var " + var.first_rejected});
    findings.push_back({running.batches_tracked() == 5, what + ": batches_tracked"});
    findings.push_back({running.intact(), what + ": writes beyond the running statistics"});
  };
  for (const Mode mode : {Mode::eval, Mode::training}) {
    if (mode == Mode::training && p.batch == 1) continue;
    const HeadReference reference = head_reference(p, mode == Mode::training);
    for (const Output output : {Output::softmax, Output::log_softmax}) {
      run(T{}, mode, output, reference);
      if constexpr (!std::is_same_v<T, Sum>) run(Sum{}, mode, output, reference);
    }
  }
}

template <Precision precision>
void test_grid() {
  MESSAGE(name(precision), ": MASTHEAD_TEST_SEED=", seed());
  check_cases(
      head_cases(operand_dtype(precision)), [](const HeadCase& c) { return to_string(c); },
      check_head_case<precision>);
}

/// Shapes that fill the GPU: in eval mode rows of the reference, in training mode all of it.
template <Precision precision>
void test_large() {
  using T = ElementOf<precision>;
  struct Large {
    HeadCase c;
    Mode mode;
  };
  std::vector<Large> cases;
  const auto add = [&](const Shape& full, const Shape& small, Mode mode) {
    const Shape shape = small_sizes() ? small : full;
    cases.push_back({{.shape = shape, .scale = scale_per_feature(shape.out_features, 5), .seed = 3}, mode});
  };
  add({1000, 1032, 8200}, {130, 72, 264}, Mode::eval);
  add({1024, 64, 8192}, {128, 64, 256}, Mode::eval);
  add({4100, 136, 1000}, {257, 40, 70}, Mode::eval);
  add({257, 8192, 1032}, {65, 520, 72}, Mode::eval);
  add({1000, 40, 4100}, {140, 40, 136}, Mode::training);
  add({1024, 64, 8192}, {256, 64, 128}, Mode::training);
  add({1000, 136, 8200}, {513, 8, 8200},
      Mode::training);  // on chip in either size, some blocks with two tiles
  check_cases(
      cases, [](const Large& l) { return std::string(name(l.mode)) + ' ' + to_string(l.c); },
      [](const Large& l, Findings& findings) {
        const HeadProblem p = problem_of<precision>(l.c);
        DeviceProblem<T> problem(p, l.c);
        const Stream stream;
        const Head<precision> head(problem.parameters(), stream);
        const RunningReference before = running_start(p.out_features, Dtype::f32);
        const DeviceRunning running(before, Dtype::f32);
        const auto y = forward<T>(head, problem.x.view(), p.out_features, l.mode, stream, findings,
                                  Output::softmax, running.view(std::nullopt));
        std::vector<std::int64_t> rows = {0, p.batch / 2, p.batch - 1};
        for (std::int64_t m = 7; m < p.batch; m += p.batch / 9) rows.push_back(m);
        const std::vector<double> all = y.values();
        std::vector<double> got = all;
        if (l.mode == Mode::eval) {
          got.clear();
          for (const std::int64_t m : rows) {
            const auto row = all.begin() + m * p.out_features;
            got.insert(got.end(), row, row + p.out_features);
          }
        }
        const auto reference =
            head_reference(l.mode == Mode::eval ? rows_of(p, rows) : p, l.mode == Mode::training);
        compare_into(findings, "sampled", reference.softmax, got,
                     masthead::accumulator_dtype(masthead::dtype_of<T>), masthead::dtype_of<T>,
                     Output::softmax, l.mode == Mode::eval, stored_ulps(head.policy(p.batch)));
        if (l.mode == Mode::training) {
          const RunningReference after =
              running_reference(before, reference, p.batch, 0.2);  // the fifth batch
          const Dtype sums = masthead::accumulator_dtype(masthead::dtype_of<T>);
          const auto mean =
              compare_features(after.mean, reference.mean_condition, running.mean.values(), sums, Dtype::f32);
          const auto var =
              compare_features(after.var, reference.var_condition, running.var.values(), sums, Dtype::f32);
          findings.push_back({mean.accepted, "running mean " + mean.first_rejected});
          findings.push_back({var.accepted, "running var " + var.first_rejected});
          findings.push_back({running.batches_tracked() == 5, "batches_tracked"});
          findings.push_back({running.intact(), "writes beyond the running statistics"});
        }
        // Nothing of any row was left out.
        bool written = true;
        for (const double v : all) written = written && !std::isnan(v);
        findings.push_back({written, "some outputs were not written"});
      });
}

/// Logits of up to 1e4, and rows with NaN and infinities: those alone become NaN.
template <Precision precision>
void test_extremes() {
  using T = ElementOf<precision>;
  for (const std::int64_t k : {20, 24}) {
    for (const double scale : {2500.0, -2500.0}) {
      Findings findings;
      const HeadCase c{.shape = {16, k, 300}, .scale = {scale}, .seed = 6};
      check_head_case<precision>(c, findings);
      for (const Finding& f : findings) CHECK_MESSAGE(f.good, c, ": ", f.text);
    }
    for (const Mode mode : {Mode::eval, Mode::training}) {
      CAPTURE(name(mode));
      const HeadCase c{.shape = {6, k, 70}, .data = Data::uniform, .seed = 8};
      HeadProblem p = problem_of<precision>(c);
      const double inf = std::numeric_limits<double>::infinity();
      if (mode == Mode::eval) {
        p.x[at(1, k, 3)] = std::nan("");
        p.x[at(2, k, 0)] = inf;
        p.x[at(4, k, k - 1)] = -inf;
      }
      // Feature 66 is -inf in every finite row, or in training mode NaN.
      for (std::int64_t j = 0; j < k; ++j) p.weight[at(66, k, j)] = -inf;
      p.gamma[66] = 1;
      const HeadReference reference = head_reference(p, mode == Mode::training);
      if (mode == Mode::eval) {
        REQUIRE(reference.softmax.probability[66] == 0);
        REQUIRE(reference.softmax.probability[0] > 0);
        REQUIRE(std::isnan(reference.softmax.probability[70]));
        REQUIRE(reference.softmax.probability[at(5, 70, 0)] > 0);
      }
      DeviceProblem<T> problem(p, c);
      const Stream stream;
      const Head<precision> head(problem.parameters(), stream);
      for (const Output output : {Output::softmax, Output::log_softmax}) {
        Findings findings;
        const auto y = forward<T>(head, problem.x.view(), 70, mode, stream, findings, output);
        compare_into(findings, "NaN and infinities", reference.softmax, y.values(),
                     masthead::accumulator_dtype(masthead::dtype_of<T>), masthead::dtype_of<T>, output, false,
                     stored_ulps(head.policy(6)));
        for (const Finding& f : findings) CHECK_MESSAGE(f.good, f.text);
      }
    }
  }
}

/// Running statistics over three batches: momentum, cumulative average, absent.
template <Precision precision>
void test_running_statistics() {
  using T = ElementOf<precision>;
  constexpr Dtype sums = masthead::accumulator_dtype(masthead::dtype_of<T>);
  const std::int64_t features = 77;
  const Stream stream;
  for (const std::optional<double> momentum : {std::optional<double>(0.1), std::optional<double>(1.0),
                                               std::optional<double>(0.0), std::optional<double>()}) {
    for (const Dtype stored : {masthead::dtype_of<T>, sums}) {
      CAPTURE(momentum.value_or(-1));
      CAPTURE(name(stored));
      RunningReference expected = running_start(features, stored);
      const DeviceRunning running(expected, stored);
      for (std::uint64_t batch = 0; batch < 3; ++batch) {
        const HeadCase c{.shape = {65, 40, features}, .seed = 20 + batch};
        const HeadProblem p = problem_of<precision>(c);
        const HeadReference reference = head_reference(p, true);
        // Each step starts from what is stored: its rounding is not this step's error.
        expected.mean = running.mean.values();
        expected.var = running.var.values();
        const RunningReference before = expected;
        expected = running_reference(expected, reference, p.batch, momentum);
        DeviceProblem<T> problem(p, c);
        const Head<precision> head(problem.parameters(), stream);
        Findings findings;
        forward<T>(head, problem.x.view(), features, Mode::training, stream, findings, Output::softmax,
                   running.view(momentum));
        const auto features_match = [&](const std::vector<double>& should_be,
                                        const std::vector<double>& condition, const std::vector<double>& is) {
          return compare_features(should_be, condition, is, sums, stored);
        };
        const auto mean = features_match(expected.mean, reference.mean_condition, running.mean.values());
        const auto var = features_match(expected.var, reference.var_condition, running.var.values());
        CHECK_MESSAGE(mean, mean);
        CHECK_MESSAGE(var, var);
        CHECK(running.batches_tracked() == 5 + static_cast<std::int64_t>(batch));
        CHECK(running.intact());
        if (momentum == 0.0) {
          CHECK(running.mean.values() == before.mean);
        } else {
          // The comparison sees an update that was left out, and one with the biased variance.
          CHECK_FALSE(features_match(expected.mean, reference.mean_condition, before.mean));
          CHECK_FALSE(features_match(expected.var, reference.var_condition, before.var));
        }
        if (momentum == 1.0 && stored != Dtype::bf16) {
          CHECK_FALSE(features_match(expected.var, reference.var_condition, reference.batch_var));
        }
      }
    }
  }
  const HeadCase c{.shape = {5, 6, 7}, .seed = 30};
  DeviceProblem<T> problem(c);
  const Head<precision> head(problem.parameters(), stream);
  const DeviceRunning counted(running_start(7, Dtype::f32), Dtype::f32);
  Findings findings;
  masthead::RunningStatistics only_counter = counted.view(0.1);
  only_counter.mean = only_counter.var = {};
  const auto with_counter =
      forward<T>(head, problem.x.view(), 7, Mode::training, stream, findings, Output::softmax, only_counter);
  CHECK(counted.batches_tracked() == 5);
  CHECK(counted.mean.untouched());
  const auto without = forward<T>(head, problem.x.view(), 7, Mode::training, stream, findings);
  CHECK(with_counter.bytes == without.bytes);
  for (const Finding& f : findings) CHECK_MESSAGE(f.good, f.text);
}

/// Features far from 0: K = 1 and a weight of 1 make sums exact, so far more exact than the forward bound.
template <Precision precision>
void test_distant_features() {
  using T = ElementOf<precision>;
  const HeadCase c{.shape = {400, 1, 5}, .seed = 31};
  HeadProblem p = problem_of<precision>(c);
  const double mean = masthead::dtype_of<T> == Dtype::bf16 ? 20 : 500;
  for (double& x : p.x) x = mean + 0.5 * x;
  p.x = rounded(p.x, masthead::dtype_of<T>);
  p.x = multiplied<precision>(p.x, p.in_features);
  p.weight.assign(5, 1.0);
  const HeadReference reference = head_reference(p, true);
  DeviceProblem<T> problem(p, c);
  const Stream stream;
  const Head<precision> head(problem.parameters(), stream);
  Findings findings;
  const auto got =
      forward<masthead::Accumulator<T>>(head, problem.x.view(), 5, Mode::training, stream, findings).values();
  double error = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    error = std::max(error, std::abs(std::log(got[i]) - reference.softmax.log_probability[i]));
  }
  CHECK(error < 2e-3);  // the addend of about 1000 is rounded to float
  for (const Finding& f : findings) CHECK_MESSAGE(f.good, f.text);
}

/// The shipped policies by hand: right, and those that a batch selects among with the same bits.
template <Precision precision>
void test_policies() {
  using T = ElementOf<precision>;
  constexpr auto simt = masthead::detail::shipped_simt(operand_dtype(precision));
  [[maybe_unused]] const bool runs_wgmma =
      masthead::detail::Device::current(cudaStream_t{}).limits.architecture == 90;
  if (masthead::detail::has_wgmma(precision) && !runs_wgmma) skip("wgmma policies: the GPU is not sm_90");
  std::vector<Shape> shapes = {{300, 72, 200}, {65, 33, 129}, {70, 72, 1100}, {20, 1544, 1100}};
  if (!small_sizes()) shapes.push_back({20, 1032, 16500});
  for (const Shape& shape : shapes) {
    const HeadCase c{.shape = shape, .scale = scale_per_feature(shape.out_features, 3), .seed = 12};
    const HeadProblem p = problem_of<precision>(c);
    DeviceProblem<T> problem(p, c);
    const Stream stream;
    for (const Mode mode : {Mode::eval, Mode::training}) {
      const HeadReference reference = head_reference(p, mode == Mode::training);
      std::vector<unsigned char> bits;  // of the policies that must agree
      const auto run = [&]<class Policy>() {
        CAPTURE(Policy::spec);
        CAPTURE(name(mode));
        DeviceMatrix<T> y(shape.batch, shape.out_features);
        const masthead::HeadArguments<T, T> arguments{problem.x.view(), problem.parameters(), y.view()};
        const DeviceWorkspace workspace(masthead::workspace_bytes<Policy>(arguments, mode));
        if constexpr (masthead::detail::is_packed(Policy::spec.math_mode)) {
          const auto weight = masthead::PackedWeight::of<Policy::spec.math_mode>(
              problem.parameters().weight, masthead::detail::Device::current(stream), stream);
          if (mode == Mode::eval) {
            masthead::linear_batch_norm_softmax<Policy>(arguments, weight, workspace.view(), stream);
          } else {
            masthead::linear_batch_norm_softmax_training<Policy>(arguments, weight, {}, workspace.view(),
                                                                 stream);
          }
        } else if (mode == Mode::eval) {
          masthead::linear_batch_norm_softmax<Policy>(arguments, workspace.view(), stream);
        } else {
          masthead::linear_batch_norm_softmax_training<Policy>(arguments, {}, workspace.view(), stream);
        }
        stream.synchronize();
        CHECK(workspace.intact());
        CHECK(y.download().intact());
        Findings findings;
        compare_into(findings, "policy", reference.softmax, y.download().values(),
                     masthead::accumulator_dtype(masthead::dtype_of<T>), masthead::dtype_of<T>,
                     Output::softmax, true, stored_ulps(Policy::spec));
        for (const Finding& f : findings) CHECK_MESSAGE(f.good, f.text);
        if (bits.empty()) bits = y.download().bytes;
        CHECK(bits == y.download().bytes);
      };
      run.template operator()<masthead::PolicyFor<simt.m32n64>>();
      run.template operator()<masthead::PolicyFor<simt.m128n128>>();
      run.template operator()<masthead::PolicyFor<simt.m256n128>>();
      if constexpr (masthead::detail::is_packed(masthead::math_mode_of(precision))) {
        constexpr auto packed =
            masthead::detail::shipped_wgmma(masthead::math_mode_of(precision), operand_dtype(precision));
        if (!runs_wgmma) continue;
        bits.clear();
        run.template operator()<masthead::PolicyFor<packed.m128>>();
        // Batch statistics are merged over tiles of another height.
        if (mode == Mode::training) bits.clear();
        run.template operator()<masthead::PolicyFor<packed.m64>>();
      }
      if constexpr (masthead::detail::has_wgmma(precision)) {
        constexpr auto wgmma =
            masthead::detail::shipped_wgmma(masthead::math_mode_of(precision), operand_dtype(precision));
        constexpr auto swap_ab = masthead::detail::shipped_swap_ab(operand_dtype(precision));
        if (!runs_wgmma || !masthead::detail::is_tensor_map(problem.x.view())) continue;
        bits.clear();
        [&]<std::size_t... i>(std::index_sequence<i...>) {
          (run.template operator()<masthead::PolicyFor<swap_ab.all()[i]>>(), ...);
        }
        (std::make_index_sequence<swap_ab.all().size()>());
        // Rows that do not fit a cluster are quantized as m128n256 quantizes them. Batch statistics are
        // summed in another order.
        const bool quantized =
            shape.out_features > masthead::detail::sm90_swap_ab_layout(swap_ab.m64n128k2).cluster_features();
        if (!quantized || mode == Mode::training) bits.clear();
        run.template operator()<masthead::PolicyFor<wgmma.m128>>();
        bits.clear();
        run.template operator()<masthead::PolicyFor<wgmma.m64>>();
      }
    }
  }
}

}  // namespace test

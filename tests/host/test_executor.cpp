#include <doctest/doctest.h>

#include <atomic>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "../support/compare.hpp"
#include "../support/hard_problems.hpp"
#include "../support/problem.hpp"
#include "../support/reference.hpp"
#include "masthead/cpu/executor.hpp"
#include "masthead/cpu/head.hpp"

using namespace masthead;
using test::at;
using test::FencedMatrix;
using test::HeadProblem;
using test::HostProblem;
using test::Shape;

namespace {

template <Precision value>
using Of = std::integral_constant<Precision, value>;

const Shape edge_shapes[] = {{1, 1, 1},     {1, 7, 65},     {7, 1, 1},      {63, 65, 64},
                             {64, 129, 63}, {65, 63, 1},    {129, 64, 7},   {2, 129, 1000},
                             {7, 1000, 65}, {65, 64, 1000}, {1000, 7, 129}, {1010, 7, 33}};

/// The scales of the issue; `features` of them where per feature.
std::vector<std::vector<double>> scales(std::int64_t features) {
  return {{}, {1}, {-3}, {0}, {12.5}, test::scale_per_feature(features, 77)};
}

struct Options {
  Mode mode = Mode::eval;
  Output output = Output::softmax;
  int threads = 2;
};

/// Runs a head into a fenced, poisoned matrix of U with rows a little longer than needed.
template <Precision precision, class U, class Problem>
FencedMatrix<U> run(const Problem& problem, const Options& options, const RunningStatistics& running = {}) {
  const cpu::Executor executor(options.threads);
  const cpu::Head<precision> head(problem.parameters(), executor);
  FencedMatrix<U> y(problem.shape.batch, problem.shape.out_features, problem.shape.out_features + 5, 1);
  if (options.mode == Mode::eval) {
    head.forward(problem.x_view(), y.view(), {.output = options.output}, executor);
  } else {
    head.forward_training(problem.x_view(), y.view(), {.output = options.output, .running = running},
                          executor);
  }
  return y;
}

template <Precision precision, class U>
void check_against(const test::HeadReference& reference,
                   const HostProblem<HostElement<operand_dtype(precision)>>& problem, Mode mode,
                   bool with_corruptions) {
  constexpr Dtype accumulator = accumulator_dtype(operand_dtype(precision));
  for (const Output output : {Output::softmax, Output::log_softmax}) {
    CAPTURE(name(output));
    const auto y = run<precision, U>(problem, {mode, output});
    const std::vector<double> got = y.values();
    const test::Comparison comparison =
        test::compare(reference.softmax, got, accumulator, dtype_of<U>, output);
    CHECK_MESSAGE(comparison, comparison);
    CHECK(y.intact());
    if (!with_corruptions) continue;
    for (const auto& [corruption, bad] :
         test::corruptions(got, problem.shape.batch, problem.shape.out_features)) {
      CAPTURE(corruption);
      CHECK_FALSE(test::compare(reference.softmax, bad, accumulator, dtype_of<U>, output));
    }
  }
}

}  // namespace

TEST_SUITE("host executor") {
  TEST_CASE("an executor has at least one thread") {
    CHECK(cpu::Executor().threads() >= 1);
    CHECK(cpu::Executor(3).threads() == 3);
    CHECK_THROWS_WITH(cpu::Executor(0), "masthead: executor.threads = 0: must be at least 1");
    CHECK_THROWS_WITH(cpu::Executor(-2), "masthead: executor.threads = -2: must be at least 1");
  }

  TEST_CASE("parallel_for calls the body once an index, and no worker twice at a time") {
    for (const int threads : {1, 2, 7}) {
      for (const std::int64_t count : {0, 1, 2, 1000}) {
        std::vector<std::atomic<int>> calls(at(count));
        std::atomic<int> busy[7] = {};
        std::atomic<bool> good{true};
        cpu::Executor(threads).parallel_for(count, [&](std::int64_t index, int worker) {
          if (worker < 0 || worker >= threads || busy[worker]++ != 0) good = false;
          ++calls[at(index)];
          --busy[worker];
        });
        CHECK(good);
        for (const auto& c : calls) CHECK(c == 1);
      }
    }
  }

  TEST_CASE("parallel_for rethrows a worker's exception in the caller, once the others have stopped") {
    for (const int threads : {1, 4}) {
      std::atomic<int> running{0};
      const auto body = [&](std::int64_t index, int) {
        ++running;
        if (index == 37) {
          --running;
          throw std::runtime_error("index 37");
        }
        --running;
      };
      CHECK_THROWS_WITH_AS(cpu::Executor(threads).parallel_for(1000, body), "index 37", std::runtime_error);
      CHECK(running == 0);
    }
  }
}

TEST_SUITE("host head") {
  TEST_CASE_TEMPLATE("every precision, mode, output and scale, at sizes around the edges of blocks", P,
                     Of<Precision::fp64>, Of<Precision::fp32>, Of<Precision::fp32_ieee>, Of<Precision::tf32>,
                     Of<Precision::fp16_scaled>, Of<Precision::fp16>, Of<Precision::bf16>) {
    constexpr Precision precision = P::value;
    using T = typename cpu::Head<precision>::Element;
    using A = Accumulator<T>;
    int number = 0;
    for (const Shape& shape : edge_shapes) {
      for (const std::vector<double>& scale : scales(shape.out_features)) {
        ++number;
        // BatchNorm's vectors as wide as the sums, or as narrow as the operands.
        const Dtype vectors = number % 3 == 0 ? dtype_of<T> : dtype_of<A>;
        const auto data = static_cast<test::Data>(number % 3);
        const HeadProblem p = test::random_problem(shape, dtype_of<T>, vectors, scale,
                                                   1000 + static_cast<std::uint64_t>(number), data);
        const HostProblem<T> problem(p, vectors);
        for (const Mode mode : {Mode::eval, Mode::training}) {
          if (mode == Mode::training && shape.batch == 1) continue;
          CAPTURE(shape);
          CAPTURE(number);
          CAPTURE(name(mode));
          const auto reference = test::head_reference(p, mode == Mode::training);
          const bool with_corruptions = scale.size() > 1;
          check_against<precision, T>(reference, problem, mode, with_corruptions);
          if constexpr (!std::is_same_v<T, A>)
            check_against<precision, A>(reference, problem, mode, with_corruptions);
        }
      }
    }
  }

  TEST_CASE("absent vectors have their neutral values") {
    HeadProblem p = test::random_problem({9, 33, 21}, Dtype::f32, Dtype::f32, {}, 5);
    p.bias.clear();
    p.gamma.clear();
    p.beta.clear();
    const HostProblem<float> problem(p, Dtype::f32);
    for (const Mode mode : {Mode::eval, Mode::training}) {
      check_against<Precision::fp32, float>(test::head_reference(p, mode == Mode::training), problem, mode,
                                            true);
    }
  }

  TEST_CASE("logits up to 1e4 in magnitude") {
    for (const double scale : {2500.0, -2500.0}) {
      const HeadProblem p = test::random_problem({16, 64, 300}, Dtype::f32, Dtype::f32, {scale}, 6);
      const HostProblem<float> problem(p, Dtype::f32);
      check_against<Precision::fp32, float>(test::head_reference(p, false), problem, Mode::eval, true);
      check_against<Precision::fp32, float>(test::head_reference(p, true), problem, Mode::training, true);
    }
  }

  TEST_CASE("row strides of x and the weight, and data off alignment") {
    const HeadProblem p = test::random_problem({13, 37, 29}, Dtype::bf16, Dtype::f32, {2}, 7);
    const HostProblem<BFloat16> problem(p, Dtype::f32);
    FencedMatrix<BFloat16> x(13, 37, 41, 1), weight(29, 37, 64, 3);
    x.set(p.x);
    weight.set(p.weight);
    Parameters<BFloat16> parameters = problem.parameters();
    parameters.weight = weight.view();
    FencedMatrix<float> y(13, 29, 30);
    const cpu::Executor executor(2);
    cpu::Head<Precision::bf16>(parameters, executor).forward(x.view(), y.view(), executor);
    CHECK(y.intact());
    CHECK(test::compare(test::head_reference(p, false).softmax, y.values(), Dtype::f32, Dtype::f32));
    // The padding was not read into any result.
    CHECK(y.values() == run<Precision::bf16, float>(problem, {}).values());
  }

  TEST_CASE("NaN, +inf and -inf give what torch gives, in their rows alone") {
    for (const Mode mode : {Mode::eval, Mode::training}) {
      HeadProblem p = test::random_problem({6, 20, 70}, Dtype::f32, Dtype::f32, {1}, 8, test::Data::uniform);
      if (mode == Mode::eval) {
        p.x[at(1, 20, 3)] = NAN;
        p.x[at(2, 20, 0)] = INFINITY;
        p.x[at(4, 20, 19)] = -INFINITY;
      }
      // Feature 66 is -inf in every finite row, or in training mode NaN.
      for (std::int64_t k = 0; k < 20; ++k) p.weight[at(66, 20, k)] = -INFINITY;
      p.gamma[66] = 1;
      const auto reference = test::head_reference(p, mode == Mode::training);
      if (mode == Mode::eval) {
        REQUIRE(reference.softmax.probability[66] == 0);
        REQUIRE(reference.softmax.probability[0] > 0);
        REQUIRE(std::isnan(reference.softmax.probability[70]));
      }
      check_against<Precision::fp32, float>(reference, HostProblem<float>(p, Dtype::f32), mode, false);
    }
  }

  TEST_CASE("a row that is all -inf is NaN, a row with one +inf too") {
    HeadProblem p = test::random_problem({3, 4, 9}, Dtype::f64, Dtype::f64, {}, 9);
    p.gamma.clear();
    for (double& w : p.weight) w = std::abs(w) + 1;
    for (std::int64_t k = 0; k < 4; ++k) p.x[at(0, 4, k)] = -INFINITY, p.x[at(2, 4, k)] = INFINITY;
    const auto reference = test::head_reference(p, false);
    const HostProblem<double> problem(p, Dtype::f64);
    for (const Output output : {Output::softmax, Output::log_softmax}) {
      const auto got = run<Precision::fp64, double>(problem, {Mode::eval, output}).values();
      CHECK(test::compare(reference.softmax, got, Dtype::f64, Dtype::f64, output));
      CHECK(std::isnan(got[0]));
      CHECK_FALSE(std::isnan(got[9]));
      CHECK(std::isnan(got[18]));
    }
  }

  TEST_CASE_TEMPLATE("results are bitwise the same over 20 runs and any number of threads", P,
                     Of<Precision::fp64>, Of<Precision::fp32>, Of<Precision::fp16>) {
    using T = typename cpu::Head<P::value>::Element;
    const HeadProblem p = test::random_problem({530, 300, 150}, dtype_of<T>, Dtype::f32, {3}, 10);
    const HostProblem<T> problem(p, Dtype::f32);
    for (const Mode mode : {Mode::eval, Mode::training}) {
      const auto first = run<P::value, T>(problem, {mode, Output::softmax, 1});
      REQUIRE_FALSE(first.untouched());
      for (int i = 0; i < 20; ++i) {
        CHECK(run<P::value, T>(problem, {mode, Output::softmax, 1 + i % 5}).bytes == first.bytes);
      }
    }
  }

  TEST_CASE_TEMPLATE("a row's bits do not depend on its batch or its place in it", P, Of<Precision::fp32>,
                     Of<Precision::bf16>) {
    using T = typename cpu::Head<P::value>::Element;
    const Shape shape{521, 300, 150};
    HeadProblem p = test::random_problem(shape, dtype_of<T>, Dtype::f32, {3}, 11);
    const auto all = run<P::value, T>(HostProblem<T>(p, Dtype::f32), {});
    const std::vector<double> x = p.x;
    for (const std::int64_t count : {1, 7, 64}) {
      for (const std::int64_t first :
           {std::int64_t{0}, std::int64_t{250}, std::int64_t{500}, shape.batch - count}) {
        if (first + count > shape.batch) continue;
        p.batch = count;
        p.x.assign(x.begin() + first * shape.in_features, x.begin() + (first + count) * shape.in_features);
        const auto part = run<P::value, T>(HostProblem<T>(p, Dtype::f32), {});
        bool same = true;
        for (std::int64_t m = 0; m < count; ++m) same = same && part.row_bytes(m) == all.row_bytes(first + m);
        CHECK(same);
      }
    }
  }

  TEST_CASE_TEMPLATE("running statistics: momentum and cumulative average over three batches", P,
                     Of<Precision::fp64>, Of<Precision::fp32>, Of<Precision::bf16>) {
    using T = typename cpu::Head<P::value>::Element;
    const std::int64_t features = 77;
    for (const std::optional<double> momentum : {std::optional<double>(0.1), std::optional<double>(1.0),
                                                 std::optional<double>(0.0), std::optional<double>()}) {
      for (const Dtype stored : {dtype_of<T>, dtype_of<Accumulator<T>>}) {
        CAPTURE(momentum.value_or(-1));
        CAPTURE(name(stored));
        test::RunningReference expected{test::rounded(std::vector<double>(at(features), 0.5), stored),
                                        test::rounded(std::vector<double>(at(features), 2.0), stored), 4};
        test::Elements mean = test::to_elements(expected.mean, stored),
                       var = test::to_elements(expected.var, stored);
        std::int64_t tracked = expected.batches_tracked;
        for (std::uint64_t batch = 0; batch < 3; ++batch) {
          const HeadProblem p =
              test::random_problem({65, 40, features}, dtype_of<T>, Dtype::f32, {1}, 20 + batch);
          const auto reference = test::head_reference(p, true);
          // Each step starts from what is stored: its rounding is not this step's error.
          expected.mean = test::to_doubles(mean);
          expected.var = test::to_doubles(var);
          const auto before = expected;
          expected = test::running_reference(expected, reference, p.batch, momentum);
          run<P::value, T>(
              HostProblem<T>(p, Dtype::f32), {Mode::training},
              {.mean = mean.view(), .var = var.view(), .batches_tracked = &tracked, .momentum = momentum});
          constexpr Dtype accumulator = accumulator_dtype(dtype_of<T>);
          const auto mean_comparison = test::compare_features(expected.mean, reference.mean_condition,
                                                              test::to_doubles(mean), accumulator, stored);
          const auto var_comparison = test::compare_features(expected.var, reference.var_condition,
                                                             test::to_doubles(var), accumulator, stored);
          CHECK_MESSAGE(mean_comparison, mean_comparison);
          CHECK_MESSAGE(var_comparison, var_comparison);
          CHECK(tracked == 5 + static_cast<std::int64_t>(batch));
          if (momentum == 0.0) {
            CHECK(test::to_doubles(mean) == before.mean);
          } else {
            // The comparison sees an update that was left out, and one with the biased variance.
            CHECK_FALSE(test::compare_features(expected.mean, reference.mean_condition, before.mean,
                                               accumulator, stored));
            CHECK_FALSE(test::compare_features(expected.var, reference.var_condition, before.var, accumulator,
                                               stored));
          }
          if (momentum == 1.0 && stored != Dtype::bf16) {
            CHECK_FALSE(test::compare_features(expected.var, reference.var_condition, reference.batch_var,
                                               accumulator, stored));
          }
        }
      }
    }
  }

  TEST_CASE("running statistics that are absent are left alone, batches are still counted") {
    const HeadProblem p = test::random_problem({5, 6, 7}, Dtype::f32, Dtype::f32, {}, 30);
    const HostProblem<float> problem(p, Dtype::f32);
    std::int64_t tracked = 41;
    run<Precision::fp32, float>(problem, {Mode::training}, {.batches_tracked = &tracked});
    CHECK(tracked == 42);
    CHECK_NOTHROW(run<Precision::fp32, float>(problem, {Mode::training}, {}));
  }

  TEST_CASE("the variance of features far from 0 survives in training mode") {
    HeadProblem p = test::random_problem({400, 1, 5}, Dtype::f32, Dtype::f32, {1}, 31);
    for (double& x : p.x) x = 3000 + 0.5 * x;
    p.x = test::rounded(p.x, Dtype::f32);
    p.weight.assign(5, 1.0);
    const auto reference = test::head_reference(p, true);
    const auto got =
        run<Precision::fp32, float>(HostProblem<float>(p, Dtype::f32), {Mode::training}).values();
    // K = 1 and a weight of 1: sums are exact, so far tighter than the forward bound.
    double error = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      error = std::max(error, std::abs(std::log(got[i]) - reference.softmax.log_probability[i]));
    }
    CHECK(error < 4e-3);  // the addend of about 6000 is rounded to float
    CHECK(test::compare(reference.softmax, got, Dtype::f32, Dtype::f32));
  }

  TEST_CASE_TEMPLATE("the caller's workspace: as many bytes as asked for, none beyond", P,
                     Of<Precision::fp32>, Of<Precision::fp16>) {
    using T = typename cpu::Head<P::value>::Element;
    const Shape shape{530, 17, 45};
    const HeadProblem p = test::random_problem(shape, dtype_of<T>, Dtype::f32, {2}, 12);
    const HostProblem<T> problem(p, Dtype::f32);
    const cpu::Executor executor(2);
    const cpu::Head<P::value> head(problem.parameters(), executor);
    for (const Mode mode : {Mode::eval, Mode::training}) {
      const std::int64_t bytes = head.workspace_bytes(shape.batch, {.mode = mode});
      REQUIRE(bytes > 0);
      CHECK(head.workspace_bytes(problem.x_view(), {.mode = mode}) == bytes);
      constexpr std::int64_t fence = 512;
      const cpu::AlignedBuffer<unsigned char> memory(bytes + fence);
      std::memset(memory.data(), 0xff, at(bytes + fence));
      FencedMatrix<T> y(shape.batch, shape.out_features, shape.out_features + 5, 1);
      const Workspace workspace{memory.data(), bytes};
      if (mode == Mode::eval) {
        head.forward(problem.x_view(), y.view(), {.workspace = workspace}, executor);
      } else {
        head.forward_training(problem.x_view(), y.view(), {.workspace = workspace}, executor);
      }
      CHECK(y.bytes == run<P::value, T>(problem, {mode}).bytes);
      int overwritten = 0;
      for (std::int64_t i = bytes; i < bytes + fence; ++i) overwritten += memory.data()[i] != 0xff;
      CHECK(overwritten == 0);

      y.poison();
      const Workspace small{memory.data(), bytes - 1};
      CHECK_THROWS_AS(head.forward_training(problem.x_view(), y.view(),
                                            {.workspace = Workspace{memory.data(), 0}}, executor),
                      Error);
      if (mode == Mode::eval)
        CHECK_THROWS_AS(head.forward(problem.x_view(), y.view(), {.workspace = small}, executor), Error);
      CHECK(y.untouched());
    }
  }

  TEST_CASE("workspace sizes that overflow are refused") {
    const HeadProblem p = test::random_problem({1, 1, 3}, Dtype::f16, Dtype::f32, {}, 13);
    const HostProblem<Half> problem(p, Dtype::f32);
    const cpu::Head<Precision::fp16> head(problem.parameters(), cpu::Executor(1));
    CHECK_THROWS_AS(head.workspace_bytes(INT64_MAX / 4, {.mode = Mode::training}), Error);
    CHECK(head.workspace_bytes(INT64_MAX / 4, {.mode = Mode::eval}) > 0);  // slices of bounded size
  }

  TEST_CASE("bad arguments throw with y and the running statistics untouched") {
    const HeadProblem p = test::random_problem({4, 5, 6}, Dtype::f32, Dtype::f32, {}, 14);
    const HostProblem<float> problem(p, Dtype::f32);
    const cpu::Executor executor(2);
    const cpu::Head<Precision::fp32> head(problem.parameters(), executor);
    FencedMatrix<float> y(4, 6);
    std::vector<float> mean(6, 1), var(6, 2);
    std::int64_t tracked = 3;
    const RunningStatistics running{
        .mean = {mean.data(), 6}, .var = {var.data(), 6}, .batches_tracked = &tracked};

    CHECK_THROWS_WITH_AS(head.forward({problem.x.data<float>(), 4, 4}, y.view(), executor),
                         "masthead: x.columns = 4: must equal weight.columns, 5", Error);
    CHECK_THROWS_WITH_AS(head.forward({nullptr, 4, 5}, y.view(), executor),
                         "masthead: x.data = null: must point to the elements", Error);
    CHECK_THROWS_WITH_AS(
        head.forward_training({problem.x.data<float>(), 1, 5}, Matrix<float>(y.view().data, 1, 6),
                              {.running = running}, executor),
        "masthead: x.rows = 1: training mode needs more than 1 value per feature", Error);
    RunningStatistics bad = running;
    bad.momentum = 2;
    CHECK_THROWS_WITH_AS(head.forward_training(problem.x_view(), y.view(), {.running = bad}, executor),
                         "masthead: running.momentum = 2.000000: must be in [0, 1]", Error);
    bad = running;
    bad.var.size = 5;
    CHECK_THROWS_WITH_AS(head.forward_training(problem.x_view(), y.view(), {.running = bad}, executor),
                         "masthead: running.var.size = 5: must be 6", Error);

    Parameters<float> parameters = problem.parameters();
    parameters.running_mean = {};
    const cpu::Head<Precision::fp32> without_statistics(parameters, executor);
    CHECK_THROWS_WITH_AS(
        without_statistics.forward(problem.x_view(), y.view(), executor),
        "masthead: running_mean.data = null: must point to the elements: eval mode and "
        "fold_batch_norm normalize with running_mean and running_var; only training mode does "
        "without",
        Error);
    CHECK_THROWS_WITH_AS(
        head.forward_training(problem.x_view(), y.view(),
                              {.running = {.mean = {const_cast<float*>(parameters.weight.data) + 2, 6},
                                           .var = {var.data(), 6}}},
                              executor),
        ("masthead: running.mean.data = " + masthead::detail::address(parameters.weight.data + 2) +
         ": must not overlap weight")
            .c_str(),
        Error);
    alignas(256) unsigned char memory[1024];
    const Matrix<float> in_workspace(reinterpret_cast<float*>(memory), 4, 6);
    CHECK_THROWS_WITH_AS(
        head.forward(problem.x_view(), in_workspace, {.workspace = Workspace{memory, sizeof(memory)}},
                     executor),
        ("masthead: workspace.data = " + masthead::detail::address(memory) + ": must not overlap y").c_str(),
        Error);
    CHECK_THROWS_WITH_AS(
        head.forward_training(problem.x_view(), y.view(),
                              {.workspace = Workspace{y.view().data, 1024}, .running = running}, executor),
        ("masthead: workspace.data = " + masthead::detail::address(y.view().data) + ": must not overlap y")
            .c_str(),
        Error);
    parameters.weight.rows = 0;
    CHECK_THROWS_WITH_AS(cpu::Head<Precision::fp32>(parameters, executor),
                         "masthead: weight.rows = 0: must be at least 1", Error);

    CHECK(y.untouched());
    CHECK(mean == std::vector<float>(6, 1));
    CHECK(var == std::vector<float>(6, 2));
    CHECK(tracked == 3);
  }

  TEST_CASE("a head sees parameters that change, and serves threads at once") {
    HeadProblem p = test::random_problem({40, 64, 50}, Dtype::f32, Dtype::f32, {1}, 15);
    HostProblem<float> problem(p, Dtype::f32);
    const cpu::Executor executor(2);
    const cpu::Head<Precision::fp32> head(problem.parameters(), executor);
    FencedMatrix<float> a(40, 50), b(40, 50);
    std::thread other([&] { head.forward(problem.x_view(), b.view(), executor); });
    head.forward(problem.x_view(), a.view(), executor);
    other.join();
    CHECK(a.bytes == b.bytes);
    CHECK(test::compare(test::head_reference(p, false).softmax, a.values(), Dtype::f32, Dtype::f32));

    p.scale = {-2};
    const float scale = -2;
    std::memcpy(problem.scale.bytes.data(), &scale, sizeof scale);
    head.forward(problem.x_view(), a.view(), executor);
    CHECK(test::compare(test::head_reference(p, false).softmax, a.values(), Dtype::f32, Dtype::f32));
    CHECK_FALSE(test::compare(test::head_reference(p, false).softmax, b.values(), Dtype::f32, Dtype::f32));
  }

  TEST_CASE("a head without running statistics trains") {
    const HeadProblem p = test::random_problem({5, 4, 6}, Dtype::f32, Dtype::f32, {}, 18);
    const HostProblem<float> problem(p, Dtype::f32);
    const cpu::Executor executor(2);
    Parameters<float> parameters = problem.parameters();
    parameters.running_mean = parameters.running_var = {};
    FencedMatrix<float> y(5, 6);
    cpu::Head<Precision::fp32>(parameters, executor)
        .forward_training(problem.x_view(), y.view(), {}, executor);
    CHECK(test::compare(test::head_reference(p, true).softmax, y.values(), Dtype::f32, Dtype::f32));
  }

  TEST_CASE("the policy names dtype, tile and instruction set") {
    const HeadProblem p = test::random_problem({1, 1, 1}, Dtype::bf16, Dtype::f32, {}, 16);
    const HostProblem<BFloat16> problem(p, Dtype::f32);
    const auto kernel = cpu::gemm_kernels<float>().front();
    CHECK(cpu::Head<Precision::bf16>(problem.parameters(), cpu::Executor(1)).policy(1) ==
          "host_bf16_" + std::to_string(kernel.rows) + "x" + std::to_string(kernel.columns) + "_" +
              kernel.name);
  }
}

TEST_SUITE("heads of any magnitude on the CPU") {
  TEST_CASE_TEMPLATE("logits up to the largest float", P, Of<Precision::fp64>, Of<Precision::fp32>,
                     Of<Precision::bf16>) {
    using T = HostElement<operand_dtype(P::value)>;
    using Sum = Accumulator<T>;
    for (const std::vector<double>& pattern :
         {std::vector<double>{3e38, 1e38, 3e38}, {3e38, 2.5e38}, {-3e38, -2.5e38}, {2.4e38, 3.25e38, 0}}) {
      const HeadProblem p = test::huge_logits(4, 7, pattern);
      const HostProblem<T> problem(p, Dtype::f32);
      const auto y = run<P::value, Sum>(problem, {}).values();
      const test::HeadReference reference = test::head_reference(p, false);
      for (std::size_t i = 0; i < y.size(); ++i) {
        CAPTURE(i);
        CHECK(y[i] == doctest::Approx(reference.softmax.probability[i]).epsilon(1e-6));
      }
    }
  }

  TEST_CASE_TEMPLATE("means far from 0 beside the deviation", P, Of<Precision::fp64>, Of<Precision::fp32>,
                     Of<Precision::bf16>) {
    using T = HostElement<operand_dtype(P::value)>;
    using Sum = Accumulator<T>;
    for (const Mode mode : {Mode::eval, Mode::training}) {
      for (const test::Far far : {test::Far::bias, test::Far::sum}) {
        for (const double ratio : {1.0, 10.0, 1e2, 1e3, 1e4, 1e5}) {
          for (const bool exact_var : {true, false}) {
            const HeadProblem p = test::far_means(37, 50, ratio, far, exact_var, 5);
            const HostProblem<T> problem(p, Dtype::f32);
            const auto y = run<P::value, Sum>(problem, {mode, Output::log_softmax}).values();
            const test::LogError worst =
                test::log_error(test::head_reference(p, mode == Mode::training).softmax, y, sizeof(Sum) == 8);
            CHECK_MESSAGE(worst.error <= worst.bound, name(mode), " ratio ", ratio, " error ", worst.error,
                          " bound ", worst.bound, " at ", worst.where);
          }
        }
      }
    }
  }

  TEST_CASE("a constant column in training mode") {
    HeadProblem p = test::far_means(37, 6, 100, test::Far::sum, true, 9);
    for (std::int64_t k = 1; k < 8; ++k) p.weight[at(2, 8, k)] = 0;
    p.weight[at(2, 8, 0)] = 100.25;
    const HostProblem<float> problem(p, Dtype::f32);
    const auto y = run<Precision::fp32, float>(problem, {Mode::training, Output::log_softmax}).values();
    const test::LogError worst = test::log_error(test::head_reference(p, true).softmax, y, false);
    CHECK_MESSAGE(worst.error <= worst.bound, worst.error, " bound ", worst.bound, " at ", worst.where);
  }
}

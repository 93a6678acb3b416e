#include <doctest/doctest.h>

#include <vector>

#include "../support/compare.hpp"
#include "../support/problem.hpp"
#include "masthead/cpu/fold_batch_norm.hpp"

using namespace masthead;
using test::at;

TEST_SUITE("host fold_batch_norm") {
  TEST_CASE_TEMPLATE("the folded layer is the head without BatchNorm and scale", T, double, float) {
    const std::int64_t n = 65, k = 33;
    for (const auto& scale : {std::vector<double>{}, {-3}, test::scale_per_feature(n, 1)}) {
      const test::HeadProblem p = test::random_problem({10, k, n}, dtype_of<T>, dtype_of<T>, scale, 2);
      const test::HostProblem<T> problem(p, dtype_of<T>);
      test::FencedMatrix<T> weight(n, k, k + 3), bias(1, n);
      cpu::fold_batch_norm(problem.parameters(), weight.view(), MutableVector(bias.view().data, n),
                           cpu::Executor(2));
      CHECK(weight.intact());
      CHECK(bias.intact());

      test::HeadProblem folded{10, k, n, p.x, weight.values(), bias.values(), {}, {}, {}, {}, {}};
      folded.epsilon = 0;
      const auto reference = test::head_reference(p, false);
      const auto got = test::head_reference(folded, false).softmax.probability;
      const auto comparison = test::compare(reference.softmax, got, dtype_of<T>, dtype_of<T>);
      CHECK_MESSAGE(comparison, comparison);
      for (const auto& [corruption, bad] : test::corruptions(got, 10, n)) {
        CAPTURE(corruption);
        CHECK_FALSE(test::compare(reference.softmax, bad, dtype_of<T>, dtype_of<T>));
      }
    }
  }

  TEST_CASE_TEMPLATE("16-bit weights are rounded once", T, Half, BFloat16) {
    const std::int64_t n = 7, k = 65;
    const test::HeadProblem p = test::random_problem({1, k, n}, dtype_of<T>, Dtype::f32, {0.7}, 3);
    const test::HostProblem<T> problem(p, Dtype::f32);
    test::FencedMatrix<T> weight(n, k);
    test::FencedMatrix<float> bias(1, n);
    cpu::fold_batch_norm(problem.parameters(), weight.view(), MutableVector(bias.view().data, n),
                         cpu::Executor(1));
    const auto got = weight.values(), got_bias = bias.values();
    for (std::int64_t i = 0; i < n; ++i) {
      const double slope = p.scale[0] * p.gamma[at(i)] / std::sqrt(p.running_var[at(i)] + p.epsilon);
      for (std::int64_t j = 0; j < k; ++j) {
        const double exact = slope * p.weight[at(i, k, j)];
        CHECK(std::abs(got[at(i, k, j)] - exact) <=
              1.01 * test::unit_roundoff(dtype_of<T>) * std::abs(exact) + test::absolute_error(dtype_of<T>));
      }
      const double exact = slope * (p.bias[at(i)] - p.running_mean[at(i)]) + p.scale[0] * p.beta[at(i)];
      CHECK(std::abs(got_bias[at(i)] - exact) <= 0x1p-22 * (std::abs(exact) + 1));
    }
  }

  TEST_CASE("the weight may be folded in place, and the bias too") {
    const std::int64_t n = 20, k = 11;
    const test::HeadProblem p = test::random_problem({1, k, n}, Dtype::f32, Dtype::f32, {2}, 4);
    test::HostProblem<float> problem(p, Dtype::f32);
    test::FencedMatrix<float> weight(n, k), bias(1, n);
    const cpu::Executor executor(2);
    cpu::fold_batch_norm(problem.parameters(), weight.view(), MutableVector(bias.view().data, n), executor);
    const Matrix<float> own(reinterpret_cast<float*>(problem.weight.bytes.data()), n, k);
    cpu::fold_batch_norm(problem.parameters(), own, problem.bias.view(), executor);
    CHECK(test::to_doubles(problem.weight) == weight.values());
    CHECK(test::to_doubles(problem.bias) == bias.values());
  }

  TEST_CASE("bad arguments throw with both outputs untouched") {
    const test::HeadProblem p = test::random_problem({1, 3, 5}, Dtype::f32, Dtype::f32, {}, 5);
    const test::HostProblem<float> problem(p, Dtype::f32);
    test::FencedMatrix<float> weight(5, 3), bias(1, 5);
    const cpu::Executor executor(1);
    CHECK_THROWS_WITH_AS(cpu::fold_batch_norm(problem.parameters(), Matrix<float>(weight.view().data, 3, 5),
                                              MutableVector(bias.view().data, 5), executor),
                         "masthead: folded weight.shape = (3, 5): must be that of weight, (5, 3)", Error);
    CHECK_THROWS_WITH_AS(cpu::fold_batch_norm(problem.parameters(), weight.view(),
                                              MutableVector(bias.view().data, 4), executor),
                         "masthead: folded bias.size = 4: must be 5", Error);
    CHECK(weight.untouched());
    CHECK(bias.untouched());
  }
}

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "../support/head_tests.cuh"

using masthead::Dtype;
using masthead::Head;
using masthead::Matrix;
using masthead::Mode;
using masthead::Output;
using masthead::Path;
using masthead::Precision;
using test::at;
using test::DeviceProblem;
using test::Findings;
using test::HeadCase;
using test::HeadProblem;
using test::PrecisionOf;
using test::Stream;

MASTHEAD_HEAD_TESTS(PrecisionOf<Precision::tf32>);

namespace {

constexpr Precision tf32 = Precision::tf32;

/// The value cut off after 11 significant bits: what the tensor cores make of a float by themselves.
double truncated(double value) {
  const double unit = std::ldexp(1.0, std::max(std::ilogb(value) - 10, -136));
  return value == 0 ? value : std::trunc(value / unit) * unit;
}

template <class Rounding>
HeadProblem with_operands(HeadProblem p, const Rounding& rounding) {
  std::transform(p.x.begin(), p.x.end(), p.x.begin(), rounding);
  std::transform(p.weight.begin(), p.weight.end(), p.weight.begin(), rounding);
  return p;
}

}  // namespace

TEST_SUITE("device head tf32") {
  TEST_CASE("the same bits over 1000 launches and 100 graph replays") {
    test::test_repeats<tf32>(
        {{{1024, 128, 8192}, Mode::eval, Path::logits}, {{1024, 128, 8192}, Mode::training, Path::training}});
  }

  TEST_CASE("operands are rounded to the nearest tf32, ties to even") {
    for (const std::int64_t features : {200, 600, 1100}) {
      CAPTURE(features);
      const HeadCase c{.shape = {260, 136, features}, .seed = 41};
      HeadProblem p = test::problem_of(c, Dtype::f32);
      DeviceProblem<float> problem(p, c);
      const Stream stream;
      if (!test::runs_math_mode(Head<tf32>(problem.parameters(), stream))) return;
      // Ties towards both neighbours, what lies next to them, and subnormal numbers.
      const double half = 0x1p-11, next = 0x1p-23, smallest = 0x1p-149;
      const std::vector<double> special = {
          1 + half,        1 + 3 * half,        -1 - half,          -1 - 3 * half,
          1 + half + next, 1 + 3 * half - next, 2 - next,           4096 * smallest,
          4097 * smallest, 3 * 4096 * smallest, 0x1p-126 - smallest};
      for (std::size_t i = 0; i < special.size(); ++i) {
        p.x[at(static_cast<std::int64_t>(i), 136, 5)] = special[i];
        p.weight[at(static_cast<std::int64_t>(i), 136, 7)] = special[i];
      }
      for (const Mode mode : {Mode::eval, Mode::training}) {
        CAPTURE(name(mode));
        const auto bits = test::bits_of<tf32>(p, c, mode);
        CHECK(bits == test::bits_of<tf32>(with_operands(p, test::rounded_to_tf32), c, mode));
        CHECK(bits != test::bits_of<tf32>(with_operands(p, truncated), c, mode));
      }
    }
  }

  TEST_CASE("the error of sums of one sign is that of rounding, not of truncating") {
    const std::int64_t k = 8192, features = test::small_sizes() ? 40 : 600;
    const HeadCase c{.shape = {20, k, features}, .data = test::Data::uniform, .affine = false, .seed = 42};
    HeadProblem p = test::problem_of(c, Dtype::f32);
    for (double& w : p.weight) w = static_cast<float>(std::abs(w));
    // Logits are the products alone, and feature 0 has a logit of 0: the others' are their logarithms less
    // its own.
    std::fill(p.weight.begin(), p.weight.begin() + k, 0.0);
    p.running_mean.assign(at(features), 0.0);
    p.running_var.assign(at(features), 1.0);
    p.epsilon = 0;
    DeviceProblem<float> problem(p, c);
    const Stream stream;
    const Head<tf32> head(problem.parameters(), stream);
    if (!test::runs_math_mode(head)) return;
    Findings findings;
    const auto y = test::forward<float>(head, problem.x.view(), features, Mode::eval, stream, findings,
                                        Output::log_softmax)
                       .values();
    const HeadProblem cut = with_operands(p, truncated);
    double largest = 0, largest_truncated = 0;
    for (std::int64_t m = 0; m < 20; ++m) {
      for (std::int64_t n = 1; n < features; ++n) {
        double exact = 0, of_truncated = 0;
        for (std::int64_t i = 0; i < k; ++i) {
          exact += p.x[at(m, k, i)] * p.weight[at(n, k, i)];
          of_truncated += cut.x[at(m, k, i)] * cut.weight[at(n, k, i)];
        }
        const double logit = y[at(m, features, n)] - y[at(m, features, 0)];
        largest = std::max(largest, std::abs(logit / exact - 1));
        largest_truncated = std::max(largest_truncated, std::abs(of_truncated / exact - 1));
      }
    }
    MESSAGE("largest relative error ", largest, ", of truncated operands ", largest_truncated);
    constexpr double bound = 1.5e-4;
    CHECK(largest < bound);
    CHECK(largest_truncated > 2 * bound);
    for (const test::Finding& f : findings) CHECK_MESSAGE(f.good, f.text);
  }
}

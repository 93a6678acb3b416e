#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "../support/head_tests.cuh"

using masthead::Dtype;
using masthead::Head;
using masthead::Mode;
using masthead::Precision;
using test::at;
using test::DeviceProblem;
using test::Findings;
using test::HeadCase;
using test::HeadProblem;
using test::PrecisionOf;
using test::Stream;

MASTHEAD_HEAD_TESTS(PrecisionOf<Precision::fp16_scaled>);

constexpr Precision fp16_scaled = Precision::fp16_scaled;

TEST_SUITE("device head scaled fp16") {
  TEST_CASE("operands are rounded to the nearest half of their row's scale") {
    for (const std::int64_t batch : {20, 260}) {
      CAPTURE(batch);
      const HeadCase c{.shape = {batch, 136, 600}, .seed = 51};
      HeadProblem p = test::problem_of(c, Dtype::f32);
      DeviceProblem<float> problem(p, c);
      const Stream stream;
      if (!test::runs_math_mode(Head<fp16_scaled>(problem.parameters(), stream))) return;
      // Ties towards both neighbours, what lies next to them, and what is small beside the rest of its row.
      const double half = 0x1p-11, next = 0x1p-23;
      const std::vector<double> special = {
          1 + half, 1 + 3 * half, -1 - half, 1 + half + next, 1 + 3 * half - next,
          2 - next, 0x1p-30,      -0x1p-39,  0x1p-60};
      for (std::size_t i = 0; i < special.size(); ++i) {
        p.x[at(static_cast<std::int64_t>(i), 136, 5)] = special[i];
        p.weight[at(static_cast<std::int64_t>(i), 136, 7)] = special[i];
      }
      HeadProblem rounded = p, other = p;
      rounded.x = test::multiplied<fp16_scaled>(p.x, 136);
      rounded.weight = test::multiplied<fp16_scaled>(p.weight, 136);
      for (double& x : other.x) x = static_cast<float>(x * (1 + 0x1p-10));
      for (const Mode mode : {Mode::eval, Mode::training}) {
        CAPTURE(name(mode));
        const auto bits = test::bits_of<fp16_scaled>(p, c, mode);
        CHECK(bits == test::bits_of<fp16_scaled>(rounded, c, mode));
        CHECK(bits != test::bits_of<fp16_scaled>(other, c, mode));
      }
    }
  }

  TEST_CASE("rows of every magnitude a float has give what the same rows give at 1") {
    const HeadCase c{.shape = {6, 72, 300}, .affine = false, .seed = 52};
    HeadProblem p = test::problem_of<fp16_scaled>(c);
    p.running_mean.assign(300, 0.0);
    DeviceProblem<float> problem(p, c);
    const Stream stream;
    if (!test::runs_math_mode(Head<fp16_scaled>(problem.parameters(), stream))) return;
    const auto bits = test::bits_of<fp16_scaled>(p, c, Mode::eval);
    for (const int exponent : {-100, -30, 60, 120}) {
      CAPTURE(exponent);
      HeadProblem scaled = p;
      for (double& x : scaled.x) x = std::ldexp(x, exponent);
      for (double& w : scaled.weight) w = std::ldexp(w, -exponent);
      CHECK(bits == test::bits_of<fp16_scaled>(scaled, c, Mode::eval));
    }
  }
}

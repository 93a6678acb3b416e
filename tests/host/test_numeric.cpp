#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "../support/random.hpp"
#include "masthead/numeric/affine.hpp"
#include "masthead/numeric/logit_unit.hpp"
#include "masthead/numeric/moments.hpp"
#include "masthead/numeric/rounding.hpp"
#include "masthead/numeric/softmax_state.hpp"

using namespace masthead;
using namespace masthead::detail;

namespace {

constexpr float inf = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

/// The value of a 16-bit pattern by the definition of the format.
double defined_value(std::uint16_t bits, int exponent_bits) {
  const int fraction_bits = 15 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = (bits >> fraction_bits) & ((1 << exponent_bits) - 1);
  const int fraction = bits & ((1 << fraction_bits) - 1);
  const double sign = bits >> 15 ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1) {
    return fraction == 0 ? sign * std::numeric_limits<double>::infinity() : std::nan("");
  }
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias - fraction_bits);
  return sign * std::ldexp((1 << fraction_bits) + fraction, exponent - bias - fraction_bits);
}

template <class T>
T from_bits(std::uint32_t bits) {
  return T{static_cast<std::uint16_t>(bits)};
}

template <class T>
void check_all_patterns(int exponent_bits) {
  int wrong_values = 0, wrong_round_trips = 0, wrong_signs = 0;
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const T value = from_bits<T>(bits);
    const float wide = widen(value);
    const double defined = defined_value(value.bits, exponent_bits);
    if (std::isnan(defined)) {
      wrong_values += !std::isnan(wide);
      wrong_round_trips += !std::isnan(widen(round_to<T>(wide)));
      continue;
    }
    wrong_values += static_cast<double>(wide) != defined;
    wrong_signs += std::signbit(wide) != (bits >> 15 != 0);
    wrong_round_trips += round_to<T>(wide) != value;
    wrong_round_trips += round_to<T>(static_cast<double>(wide)) != value;
  }
  CHECK(wrong_values == 0);
  CHECK(wrong_signs == 0);
  CHECK(wrong_round_trips == 0);
}

/// Between any two neighbors: just below the middle rounds down, the middle to the even one, just above up.
template <class T>
void check_nearest_even(std::uint32_t infinity_bits) {
  int wrong = 0;
  for (std::uint32_t bits = 0; bits + 1 < infinity_bits; ++bits) {
    const float low = widen(from_bits<T>(bits)), high = widen(from_bits<T>(bits + 1));
    const float middle = low + (high - low) / 2;  // exact: one more bit than T has
    const std::uint32_t even = bits % 2 == 0 ? bits : bits + 1;
    for (const std::uint32_t sign : {0u, 0x8000u}) {
      const float factor = sign != 0 ? -1.0f : 1.0f;
      wrong += round_to<T>(factor * middle).bits != (even | sign);
      wrong += round_to<T>(factor * std::nextafter(middle, 0.0f)).bits != (bits | sign);
      wrong += round_to<T>(factor * std::nextafter(middle, inf)).bits != ((bits + 1) | sign);
    }
  }
  CHECK(wrong == 0);
}

/// (max, sum) of values one by one.
template <class T>
SoftmaxState<T> state_of(const std::vector<T>& values, T unit) {
  SoftmaxState<T> state;
  for (const T value : values) {
    state = SoftmaxStateMerge<T>{unit}(
        state, {value, exp2_of((value - SoftmaxState<T>{value, T(0)}.shift()) * unit)});
  }
  return state;
}

}  // namespace

TEST_SUITE("host numeric") {
  TEST_CASE("every half and every bfloat16 widens to its value and rounds back to itself") {
    check_all_patterns<Half>(5);
    check_all_patterns<BFloat16>(8);
  }

  TEST_CASE("rounding is to nearest, ties to even, over every gap") {
    check_nearest_even<Half>(0x7c00);
    check_nearest_even<BFloat16>(0x7f80);
  }

  TEST_CASE("rounding at the ends of the range") {
    CHECK(round_to<Half>(65519.996f) == Half{0x7bff});
    CHECK(round_to<Half>(65520.0f) == Half{0x7c00});
    CHECK(round_to<Half>(-1e30f) == Half{0xfc00});
    CHECK(round_to<Half>(inf) == Half{0x7c00});
    CHECK(round_to<Half>(0x1p-25f) == Half{0});  // a tie between 0 and 2^-24
    CHECK(round_to<Half>(std::nextafter(0x1p-25f, 1.0f)) == Half{1});
    CHECK(round_to<Half>(-0.0f) == Half{0x8000});
    CHECK(round_to<BFloat16>(std::numeric_limits<float>::max()) == BFloat16{0x7f80});
    CHECK(round_to<BFloat16>(-inf) == BFloat16{0xff80});
    CHECK(std::isnan(widen(round_to<Half>(not_a_number))));
    // A NaN whose payload lies in the bits that are dropped must not become an infinity.
    CHECK(std::isnan(widen(round_to<BFloat16>(std::bit_cast<float>(0x7f800001u)))));
    CHECK(std::isnan(widen(round_to<Half>(std::bit_cast<float>(0x7f800001u)))));
  }

  TEST_CASE("random floats round to the nearest multiple of their quantum, as float arithmetic has it") {
    test::Random random(11);
    int wrong = 0;
    for (int i = 0; i < 200000; ++i) {
      const float value = static_cast<float>(random.log_uniform(-30, 15.9));
      const int exponent = std::ilogb(value);
      const float half_quantum = std::ldexp(1.0f, std::max(exponent, -14) - 10);
      wrong += widen(round_to<Half>(value)) != std::nearbyint(value / half_quantum) * half_quantum;
      const float bfloat_quantum = std::ldexp(1.0f, exponent - 7);
      wrong += widen(round_to<BFloat16>(value)) != std::nearbyint(value / bfloat_quantum) * bfloat_quantum;
    }
    CHECK(wrong == 0);
  }

  TEST_CASE("online softmax: combining in any split gives the direct sum") {
    test::Random random(3);
    for (const double spread : {1.0, 30.0, 1e4}) {
      for (const double unit : {1.0, log2e}) {
        const std::vector<double> values = random.normals(200, 0, spread);
        double max = -std::numeric_limits<double>::infinity(), sum = 0;
        for (const double v : values) max = std::max(max, v);
        for (const double v : values) sum += std::exp2((v - max) * unit);
        for (const std::size_t split : {0, 1, 77, 199, 200}) {
          const auto middle = values.begin() + static_cast<std::ptrdiff_t>(split);
          const auto a = state_of(std::vector<double>(values.begin(), middle), unit);
          const auto b = state_of(std::vector<double>(middle, values.end()), unit);
          for (const auto& merged :
               {SoftmaxStateMerge<double>{unit}(a, b), SoftmaxStateMerge<double>{unit}(b, a)}) {
            CHECK(merged.max == max);
            CHECK(std::abs(merged.sum - sum) <= 1e-12 * sum);
          }
        }
      }
    }
  }

  TEST_CASE("online softmax: empty sets and sets of -inf are neutral and make no NaN") {
    const SoftmaxStateMerge<float> combine{1};
    const SoftmaxState<float> empty, some{3, 2}, minus_inf{-inf, 0};
    for (const auto& neutral : {empty, minus_inf}) {
      CHECK(combine(neutral, some).max == 3);
      CHECK(combine(neutral, some).sum == 2);
      CHECK(combine(some, neutral).sum == 2);
      CHECK(combine(neutral, neutral).max == -inf);
      CHECK(combine(neutral, neutral).sum == 0);
      CHECK(neutral.shift() == 0);
    }
    CHECK(state_of<float>({-inf, 1, -inf}, 1).sum == 1);
  }

  TEST_CASE("online softmax: NaN and +inf reach the sum from either side") {
    const SoftmaxStateMerge<float> combine{1};
    const SoftmaxState<float> some{3, 2};
    for (const auto& bad : {state_of<float>({1, not_a_number}, 1), state_of<float>({not_a_number}, 1),
                            state_of<float>({inf, 1}, 1), state_of<float>({-inf, not_a_number}, 1)}) {
      CHECK(std::isnan(bad.sum));
      CHECK(std::isnan(combine(bad, some).sum));
      CHECK(std::isnan(combine(some, bad).sum));
      CHECK(std::isnan(combine(SoftmaxState<float>{}, bad).sum));
    }
  }

  TEST_CASE("online softmax: magnitudes near the end of the range do not overflow") {
    const float huge = 3e38f;
    const auto state = state_of<float>({-huge, huge, huge, 0}, 1);
    CHECK(state.max == huge);
    CHECK(state.sum == 2);
  }

  TEST_CASE("larger() is a maximum that prefers numbers to NaN") {
    CHECK(larger(1.0f, 2.0f) == 2);
    CHECK(larger(2.0f, 1.0f) == 2);
    CHECK(larger(not_a_number, -1.0f) == -1);
    CHECK(larger(-1.0f, not_a_number) == -1);
    CHECK(std::isnan(larger(not_a_number, not_a_number)));
    CHECK(larger(-inf, inf) == inf);
  }

  TEST_CASE("logit units agree with each other") {
    CHECK(LogitUnit<double>::natural().to_log2 == doctest::Approx(std::log2(std::exp(1.0))).epsilon(1e-15));
    CHECK(LogitUnit<double>::log4().to_natural == doctest::Approx(std::log(4.0)).epsilon(1e-15));
    CHECK(LogitUnit<float>::natural().to_natural == 1);
    CHECK(LogitUnit<float>::log4().to_log2 == 2);
  }

  TEST_CASE("moments keep the variance of data far from 0, where E[z^2] - E[z]^2 loses it") {
    test::Random random(5);
    const std::int64_t count = 1000;
    std::vector<float> values;
    for (std::int64_t i = 0; i < count; ++i) values.push_back(static_cast<float>(random.normal(10000, 0.5)));
    double mean = 0, var = 0;
    for (const float v : values) mean += v;
    mean /= count;
    for (const float v : values) var += (v - mean) * (v - mean);
    var /= count;

    float sum = 0, squares = 0;
    for (const float v : values) sum += v, squares += v * v;
    const float naive = squares / count - (sum / count) * (sum / count);
    CHECK(std::abs(naive - var) > 0.5 * var);  // the data is hard enough

    for (const std::int64_t part : {1, 8, 33, 64}) {
      CAPTURE(part);
      Moments<float> merged;
      for (std::int64_t first = 0; first < count; first += part) {
        float buffer[64] = {};
        const int present = static_cast<int>(std::min(part, count - first));
        for (int i = 0; i < present; ++i) buffer[i] = values[static_cast<std::size_t>(first + i)];
        merged = merge(merged, moments_of(buffer, present));
      }
      CHECK(merged.count == count);
      CHECK(std::abs(merged.mean - mean) <= 1e-6 * mean);
      CHECK(std::abs(merged.biased_variance() - var) <= 1e-2 * var);
      CHECK(merged.unbiased_variance() == doctest::Approx(merged.biased_variance() * count / (count - 1)));
    }
  }

  TEST_CASE("moments: empty sets are neutral, single values have no variance") {
    const Moments<double> empty, one = Moments<double>::of(3), two = Moments<double>::of(7);
    CHECK(merge(empty, one).mean == 3);
    CHECK(merge(one, empty).count == 1);
    CHECK(merge(empty, empty).count == 0);
    CHECK(one.m2 == 0);
    const Moments<double> both = merge(one, two);
    CHECK(both.count == 2);
    CHECK(both.mean == 5);
    CHECK(both.biased_variance() == 4);
    CHECK(both.unbiased_variance() == 8);
    const double values[4] = {1, 2, 3, 100};
    CHECK(moments_of(values, 0).count == 0);
    CHECK(moments_of(values, 3).mean == 2);
    CHECK(moments_of(values, 3).m2 == 2);
  }

  TEST_CASE("fold() is scale * BatchNorm(accumulator + bias), with the scale on bias and beta too") {
    test::Random random(9);
    for (int i = 0; i < 1000; ++i) {
      const Feature f{.bias = random.normal(),
                      .gamma = random.normal(),
                      .beta = random.normal(),
                      .mean = random.normal(),
                      .variance = random.uniform(0.01, 4),
                      .scale = random.uniform(-3, 3)};
      const double accumulator = random.normal(0, 10), epsilon = 1e-3;
      const double direct =
          f.scale * ((accumulator + f.bias - f.mean) / std::sqrt(f.variance + epsilon) * f.gamma + f.beta);
      for (const double unit : {1.0, log2e}) {
        const Affine affine = fold(f, epsilon, unit);
        CHECK(std::abs(affine.multiplier * accumulator + affine.addend - unit * direct) <= 1e-11);
      }
    }
    const Affine neutral = fold(Feature{}, 0, 1);
    CHECK(neutral.multiplier == 1);
    CHECK(neutral.addend == 0);
  }

  TEST_CASE("running_update") {
    CHECK(running_update(1, 3, 0) == 1);
    CHECK(running_update(1, 3, 1) == 3);
    CHECK(running_update(1, 3, 0.25) == 1.5);
  }
}

#include <doctest/doctest.h>

#include <cfloat>
#include <cmath>
#include <cstdint>
#include <limits>

#include "../support/random.hpp"
#include "masthead/numeric/split.hpp"
#include "masthead/tile/packed_layout.hpp"

using namespace masthead;
using namespace masthead::detail;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

double value_of(const HalfPair& pair) { return double{half_value(pair.hi)} + double{half_value(pair.lo)}; }

}  // namespace

TEST_SUITE("host split") {
  TEST_CASE(
      "e4m3: every bit pattern is its own value, and what lies between two goes to the nearer, ties to "
      "even") {
    static_assert(round_to<E4M3>(1.0f).bits == 0x38 && round_to<E4M3>(-448.0f).bits == 0xfe);
    for (int bits = 0; bits < 256; ++bits) {
      CAPTURE(bits);
      const E4M3 e{static_cast<std::uint8_t>(bits)};
      if ((bits & 0x7f) == 0x7f) {
        CHECK(std::isnan(widen(e)));
        continue;
      }
      CHECK(round_to<E4M3>(widen(e)) == e);
      if ((bits & 0x7f) == 0x7e) continue;
      const E4M3 next{static_cast<std::uint8_t>(bits + 1)};
      const float low = widen(e), high = widen(next), middle = (low + high) / 2;
      CHECK(round_to<E4M3>(middle) == (bits % 2 == 0 ? e : next));
      CHECK(round_to<E4M3>(std::nextafter(middle, low)) == e);
      CHECK(round_to<E4M3>(std::nextafter(middle, high)) == next);
    }
    CHECK(widen(E4M3{0x7e}) == 448);
    CHECK(widen(E4M3{0x01}) == 0x1p-9f);
    CHECK(widen(round_to<E4M3>(464.0f)) == 448);  // the tie goes to even
    for (const float beyond : {464.1f, FLT_MAX, infinity, std::nanf("")}) {
      CHECK(std::isnan(widen(round_to<E4M3>(beyond))));
      CHECK(std::isnan(widen(round_to<E4M3>(-beyond))));
    }
  }

  TEST_CASE("the scale of a row brings its largest magnitude to where the math mode wants it") {
    for (int exponent = -149; exponent <= 127; ++exponent) {
      for (const float mantissa : {1.0f, 1.25f, 1.75f, 1.7500001f, 1.9999999f}) {
        const float largest = std::ldexp(mantissa, exponent);
        if (largest == 0 || std::isinf(largest)) continue;
        CAPTURE(largest);
        const int half = row_exponent(MathMode::f16x3, float_bits(largest));
        CHECK(row_exponent(MathMode::f16, float_bits(largest)) == half - 1);
        const int quarter = row_exponent(MathMode::e4m3, float_bits(largest));
        const float as_half = PowerPair::of(-half).times(largest);
        CHECK((as_half >= 0x1p13f && as_half < 0x1p14f));
        CHECK(as_half == std::ldexp(largest, -half));
        const double as_quarter = std::ldexp(double{largest}, -quarter);
        CHECK((as_quarter > 224 && as_quarter <= 448));
        CHECK(PowerPair::of(half).times(as_half) == largest);
        // Undoing two rows at once, as the epilogue does, neither overflows nor vanishes on the way.
        const PowerPair up = PowerPair::of(half), other = PowerPair::of(-exponent);
        CHECK(as_half * (up.first * other.first) * (up.second * other.second) ==
              doctest::Approx(std::ldexp(double{largest}, -exponent)));
      }
    }
    CHECK(row_exponent(MathMode::f16x3, 0) == 0);
    CHECK(row_exponent(MathMode::f16, 0) == 0);
    CHECK(row_exponent(MathMode::e4m3, 0) == 0);
    CHECK(finite_magnitude(-2.5f) == float_bits(2.5f));
    CHECK(finite_magnitude(-infinity) == 0);
    CHECK(finite_magnitude(std::nanf("")) == 0);
  }

  TEST_CASE("two halves hold 23 bits of a value, down to 2^-15 of the largest") {
    test::Random random(4);
    double worst = 0, worst_keeping = 0;
    bool signs = true;
    for (int i = 0; i < 200000; ++i) {
      const auto value = static_cast<float>(random.normals(1)[0] * std::ldexp(2000.0, -i % 40));
      const double error = std::abs(value_of(split(value)) - double{value});
      worst = std::max(worst, error / std::max(0x1p-23 * std::abs(value), 0x1p-25));
      const HalfPair keeping = split_keeping_sign(value, value);
      const double keeping_error = std::abs(value_of(keeping) - double{value});
      worst_keeping = std::max(worst_keeping, keeping_error / std::max(0x1p-21 * std::abs(value), 0x1p-22));
      signs = signs && (keeping.hi ^ keeping.lo) < 0x8000 && (keeping.lo & 0x7fff) != 0 &&
              (keeping.hi >> 15 != 0) == (value < 0);
    }
    CHECK(worst <= 1);
    CHECK(worst > 0.5);
    CHECK(worst_keeping <= 1);
    CHECK(signs);
  }

  TEST_CASE("zero, infinity and NaN keep what they are") {
    CHECK(value_of(split(0.0f)) == 0);
    CHECK(split_keeping_sign(-0.0f, -0.0f).lo == 0x8000);
    CHECK(value_of(split_keeping_sign(1e-40f, 0.0f)) == 0x1p-23);
    for (const auto& pair : {split(-infinity), split_keeping_sign(-infinity, -infinity)}) {
      CHECK(half_value(pair.hi) == -infinity);
      CHECK(half_value(pair.lo) == -0x1p-24f);
    }
    CHECK(std::isnan(half_value(split(std::nanf("")).hi)));
    CHECK(std::isnan(half_value(split_keeping_sign(std::nanf(""), std::nanf("")).hi)));
    CHECK(value_of(split(std::ldexp(FLT_MAX, -114))) == std::ldexp(double{FLT_MAX}, -114));
  }

  TEST_CASE("f16: eleven significant bits down to 2^-28 of a row's largest, and nothing but 0 becomes 0") {
    test::Random random(11);
    const std::vector<double> mantissas = random.normals(2000);
    for (const int exponent : {-149, -126, -3, 0, 90, 125}) {
      CAPTURE(exponent);
      const float largest = std::ldexp(1.5f, exponent);
      const int of_row = row_exponent(MathMode::f16, float_bits(largest));
      const double rows_largest = largest;
      std::int64_t wrong = 0;
      for (std::size_t i = 0; i < mantissas.size(); ++i) {
        const auto value = static_cast<float>(
            std::ldexp(std::remainder(mantissas[i], 1.5), exponent - static_cast<int>(i % 50)));
        const float scaled = PowerPair::of(-of_row).times(value);
        const double kept = std::ldexp(double{half_value(half_bits(kept_from_zero(value, scaled)))}, of_row);
        const double error = std::abs(kept - value), magnitude = std::abs(double{value});
        wrong += error > std::max(magnitude * 0x1p-11, rows_largest * 0x1p-38);
        wrong += (kept == 0) != (value == 0) || std::signbit(kept) != std::signbit(value);
      }
      CHECK(wrong == 0);
      CHECK(kept_from_zero(largest, PowerPair::of(-of_row).times(largest)) == std::ldexp(largest, -of_row));
    }
    CHECK(kept_from_zero(0.0f, 0.0f) == 0);
    CHECK(kept_from_zero(-0x1p-140f, -0.0f) == -0x1p-24f);
    CHECK(kept_from_zero(-infinity, -infinity) == -infinity);
    CHECK(std::isnan(kept_from_zero(std::nanf(""), std::nanf(""))));
  }

  TEST_CASE(
      "a packed operand's rows, scales and flag do not overlap, and sizes that do not fit are nothing") {
    for (const MathMode math_mode : {MathMode::f16, MathMode::f16x3, MathMode::e4m3}) {
      for (const std::int64_t columns : {1, 7, 8, 100, 8192}) {
        const PackedLayout layout{math_mode, 13, columns};
        CHECK(layout.part_bytes() % 16 == 0);
        CHECK(layout.part_bytes() >= columns * layout.element_bytes());
        CHECK(layout.part_bytes() < columns * layout.element_bytes() + 16);
        CHECK(layout.row_bytes() == layout.parts() * layout.part_bytes());
        CHECK(layout.scale_offset() >= 13 * layout.row_bytes());
        CHECK(layout.flag_offset() >= layout.scale_offset() + 13 * scale_bytes(math_mode));
        CHECK(*layout.bytes() == layout.flag_offset() + 256);
      }
      CHECK_FALSE(PackedLayout{math_mode, std::int64_t{1} << 40, std::int64_t{1} << 30}.bytes());
    }
  }
}

#pragma once
/// The numbers of packed operands: rows scaled by a power of two each, and their elements as one or two fp16
/// parts or as e4m3.
///
/// Powers of two make scaling and dequantizing exact. The power of a row of x or of the weight is chosen from
/// its largest finite magnitude.

#include <cstdint>

#include "masthead/core/precision.hpp"
#include "masthead/numeric/rounding.hpp"

#if defined(__CUDACC__)
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#endif

namespace masthead::inline v0::detail {

inline constexpr std::uint32_t float_infinity_bits = 0x7f800000u;

MASTHEAD_HOST_DEVICE constexpr std::uint32_t float_bits(float value) {
  return __builtin_bit_cast(std::uint32_t, value);
}

/// 2^exponent for -126 <= exponent <= 127.
MASTHEAD_HOST_DEVICE constexpr float power_of_two(int exponent) {
  return __builtin_bit_cast(float, static_cast<std::uint32_t>(exponent + 127) << 23);
}

/// floor(log2) of a positive finite float, given by its bits; denormals included.
MASTHEAD_HOST_DEVICE constexpr int floor_log2(std::uint32_t bits) {
  if (bits >= 0x00800000u) return static_cast<int>(bits >> 23) - 127;
  return static_cast<int>(float_bits(static_cast<float>(bits)) >> 23) - 127 - 149;
}

/// The bits of |value|, or 0 when value is not finite: their maximum over a row is that of its finite
/// magnitudes.
MASTHEAD_HOST_DEVICE constexpr std::uint32_t finite_magnitude(float value) {
  const std::uint32_t magnitude = float_bits(value) & 0x7fffffffu;
  return magnitude < float_infinity_bits ? magnitude : 0u;
}

/// The exponent e of a row whose largest finite magnitude has these bits; its elements are divided by 2^e.
/// f16x3: the largest comes to lie in [2^13, 2^14), so that low parts of elements down to 2^-15 of it are
/// normal fp16 numbers, while sums of 2^31 products stay below 2^60. f16: in [2^14, 2^15), so that elements
/// down to 2^-28 of it are normal. e4m3: in (224, 448], 448 being the largest e4m3. A row of zeros has 0.
MASTHEAD_HOST_DEVICE constexpr int row_exponent(MathMode math_mode, std::uint32_t largest) {
  if (largest == 0) return 0;
  const int magnitude = floor_log2(largest);
  if (math_mode == MathMode::f16x3) return magnitude - 13;
  if (math_mode == MathMode::f16) return magnitude - 14;
  // largest = m * 2^magnitude with 1 <= m < 2, and 448 = 1.75 * 2^8.
  const bool above = largest < 0x00800000u
                         ? static_cast<float>(largest) > 1.75f * power_of_two(magnitude + 149)
                         : (largest & 0x007fffffu) > 0x00600000u;
  return magnitude - 8 + (above ? 1 : 0);
}

/// 2^exponent as two factors, for exponents that one float does not reach: value * first * second is exact
/// unless the result is denormal or overflows. -252 <= exponent <= 254.
struct alignas(8) PowerPair {
  float first, second;

  MASTHEAD_HOST_DEVICE static constexpr PowerPair of(int exponent) {
    const int half = exponent >> 1;
    return {power_of_two(half), power_of_two(exponent - half)};
  }
  MASTHEAD_HOST_DEVICE constexpr float times(float value) const { return value * first * second; }
};

/// The bits of the fp16 number nearest to `value`, ties to even.
MASTHEAD_HOST_DEVICE constexpr std::uint16_t half_bits(float value) {
#if defined(__CUDA_ARCH__)
  return __half_as_ushort(__float2half_rn(value));
#else
  return round_to<Half>(value).bits;
#endif
}
/// The fp16 number with these bits.
MASTHEAD_HOST_DEVICE constexpr float half_value(std::uint16_t bits) {
#if defined(__CUDA_ARCH__)
  return __half2float(__ushort_as_half(bits));
#else
  return widen(Half{bits});
#endif
}

/// Returns `scaled`, the value divided by its row's power of two, ready to be rounded to fp16: what would
/// become 0 becomes the smallest number of its sign, because infinity * 0 is NaN where the product of the
/// values is infinite.
MASTHEAD_HOST_DEVICE constexpr float kept_from_zero(float value, float scaled) {
  constexpr float least = 0x1p-24f;
  const float magnitude = scaled < 0 ? -scaled : scaled;
  return value != 0 && magnitude < least ? (value < 0 ? -least : least) : scaled;
}

/// The two fp16 parts of a value, as bits: value = hi + lo.
struct HalfPair {
  std::uint16_t hi, lo;
};

/// Splits a scaled element, |value| < 2^14 or not finite: |hi + lo - value| <= max(2^-23 |value|, 2^-25). NaN
/// and infinity stay in hi; lo is then the smallest number of the same sign.
// Not 0: infinity * 0 would be NaN where the product of the values is infinite.
MASTHEAD_HOST_DEVICE constexpr HalfPair split(float value) {
  const std::uint16_t hi = half_bits(value);
  if ((hi & 0x7c00u) == 0x7c00u) return {hi, static_cast<std::uint16_t>((hi & 0x8000u) | 1u)};
  return {hi, half_bits(value - half_value(hi))};
}

/// Splits `scaled`, the value divided by its row's power of two, into parts that both have the sign of
/// `value` and, unless it is 0, are not 0: multiplied by an infinity and added up they give what `value`
/// gives. |hi + lo - scaled| <= max(2^-21 |scaled|, 2^-22).
MASTHEAD_HOST_DEVICE constexpr HalfPair split_keeping_sign(float value, float scaled) {
  const auto sign = static_cast<std::uint16_t>(float_bits(value) >> 16 & 0x8000u);
  const auto least = static_cast<std::uint16_t>(sign | 1u);
  std::uint16_t hi = half_bits(scaled);
  if (value == 0 || (hi & 0x7c00u) == 0x7c00u) return {hi, value == 0 ? sign : least};
  const float magnitude = scaled < 0 ? -scaled : scaled;
  if (half_value(hi & 0x7fffu) > magnitude) --hi;  // towards 0
  if ((hi & 0x7fffu) == 0) return {least, least};
  const std::uint16_t lo = half_bits(magnitude - half_value(hi & 0x7fffu));
  return {hi, static_cast<std::uint16_t>(lo == 0 ? least : sign | lo)};
}

/// The bits of a scaled element, |value| <= 448 or not finite, as e4m3, to nearest even. NaN and infinity are
/// NaN: e4m3 has no infinity.
MASTHEAD_HOST_DEVICE constexpr std::uint8_t e4m3_bits(float value) {
#if defined(__CUDA_ARCH__)
  return __nv_cvt_float_to_fp8(value, __NV_NOSAT, __NV_E4M3);
#else
  return round_to<E4M3>(value).bits;
#endif
}

}  // namespace masthead::inline v0::detail

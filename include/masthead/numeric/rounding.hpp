#pragma once
/// Conversions between float and the 16-bit storage types, in constexpr integer arithmetic: any host
/// compiler, no CUDA toolkit. Rounding is to nearest even, as `__float2half_rn` and `__float2bfloat16_rn`
/// round.

#include <bit>
#include <cstdint>

#include "masthead/core/dtype.hpp"

namespace masthead::inline v0 {

/// The value as a float, exactly: bfloat16 is the upper half of one.
constexpr float widen(BFloat16 value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16);
}

/// The value as a float, exactly, subnormals included (IEEE 754-2019, 3.4: binary16 has bias 15 and 10
/// fraction bits).
constexpr float widen(Half value) {
  const std::uint32_t sign = static_cast<std::uint32_t>(value.bits & 0x8000u) << 16;
  const std::uint32_t exponent = (value.bits >> 10) & 0x1fu;
  const std::uint32_t fraction = value.bits & 0x3ffu;
  if (exponent == 0x1fu) return std::bit_cast<float>(sign | 0x7f800000u | (fraction << 13));
  if (exponent == 0) {  // fraction * 2^-24
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
  }
  return std::bit_cast<float>(sign | ((exponent + 112u) << 23) | (fraction << 13));
}

/// The value as a float, exactly (OCP 8-bit floating point specification: e4m3 has bias 7, subnormals, and
/// NaN in place of the largest magnitude).
constexpr float widen(E4M3 value) {
  const int exponent = value.bits >> 3 & 0xf, fraction = value.bits & 7;
  if ((value.bits & 0x7f) == 0x7f) return std::bit_cast<float>(0x7fc00000u);
  const float magnitude = exponent == 0
                              ? static_cast<float>(fraction) * 0x1p-9f
                              : std::bit_cast<float>((static_cast<std::uint32_t>(exponent) + 120u) << 23 |
                                                     static_cast<std::uint32_t>(fraction) << 20);
  return (value.bits & 0x80) != 0 ? -magnitude : magnitude;
}

template <class To>
constexpr To round_to(double value);

namespace detail {

/// `value` as e4m3; what rounds beyond 448 is NaN.
constexpr E4M3 round_e4m3(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value), magnitude = bits & 0x7fffffffu;
  const auto sign = static_cast<std::uint8_t>(bits >> 24 & 0x80u);
  if (magnitude > 0x43e80000u) return E4M3{static_cast<std::uint8_t>(sign | 0x7fu)};  // 464, half way to 480
  if (magnitude < 0x3c800000u) {  // below 2^-6: count units of 2^-9; adding 2^14 rounds to nearest even
    const float shifted = std::bit_cast<float>(magnitude) + 0x1p14f;
    return E4M3{static_cast<std::uint8_t>(sign | (std::bit_cast<std::uint32_t>(shifted) & 0xffu))};
  }
  const std::uint32_t rounded = magnitude + 0x7ffffu + ((magnitude >> 20) & 1u);
  return E4M3{static_cast<std::uint8_t>(sign | ((rounded - 0x3c000000u) >> 20))};
}

constexpr BFloat16 round_bfloat16(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return BFloat16{0x7fff};  // NaN, in CUDA's canonical form
  return BFloat16{static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

constexpr Half round_half(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint16_t sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return Half{0x7fff};
  if (magnitude >= 0x477ff000u)
    return Half{static_cast<std::uint16_t>(sign | 0x7c00u)};  // >= 65520 rounds to inf
  if (magnitude < 0x38800000u) {  // below 2^-14: count units of 2^-24; adding 0.5 rounds to nearest even
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return Half{static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3f000000u))};
  }
  const std::uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return Half{static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13))};
}

}  // namespace detail

/// `value` rounded to `To`. A double goes through float first: callers that need one rounding pass a float.
template <class To>
constexpr To round_to(float value) {
  if constexpr (std::is_same_v<To, BFloat16>) {
    return detail::round_bfloat16(value);
  } else if constexpr (std::is_same_v<To, Half>) {
    return detail::round_half(value);
  } else if constexpr (std::is_same_v<To, E4M3>) {
    return detail::round_e4m3(value);
  } else {
    return static_cast<To>(value);
  }
}

template <class To>
constexpr To round_to(double value) {
  if constexpr (std::is_same_v<To, double>) {
    return value;
  } else {
    return round_to<To>(static_cast<float>(value));
  }
}

}  // namespace masthead::inline v0

#pragma once
/// 16-bit codes of logits on their way to a 16-bit softmax.
///
/// Between the sum over a row and its use, a logit t (log2 units) is kept as the distance d = reference - t
/// >= 0 from an integer reference that is at least the largest logit around, in fixed point: a quantum q
/// costs exp2(-d) a relative error of at most q/2 * ln(2), the same at every magnitude, where a 16-bit float
/// would either lack range or err by up to twice as much just above each power of two. References being
/// integers, the grid of logits is the same whatever the reference.
///
/// A code in flight is the float 2^23 + code: encoding is one multiply-add (which rounds), and its low 16
/// bits are what is stored. Codes saturate at 65535, whose exponential rounds to 0 in every output type.

#include <cmath>
#include <cstdint>

#include "masthead/dtype.hpp"

#if defined(__CUDACC__)
#include "masthead/ptx/exp2.cuh"
#endif

namespace masthead::inline v0 {

/// 2^value, results below 2^-126 flushed to 0.
MASTHEAD_HOST_DEVICE float exp2_flushed(float value) {
#if defined(__CUDA_ARCH__)
  return ptx::exp2(value);
#else
  const float result = std::exp2(value);
  return result < 0x1p-126f ? 0.0f : result;
#endif
}

inline constexpr float logit_code_origin = 0x1p23f;
inline constexpr float logit_code_limit = 65535.0f;

/// `encode`: distance -> 2^23 + code, not yet saturated. `log2_of`: coded -> 1 - distance, exactly.
template <Dtype out>
struct LogitCode;

/// bfloat16: distances to 128, as many as it has binades, in steps of 2^-9: at most 0.00068 relative, where
/// rounding to bfloat16 costs 0.0039.
template <>
struct LogitCode<Dtype::bf16> {
  MASTHEAD_HOST_DEVICE static float encode(float distance) {
    return fmaf(distance, 0x1p9f, logit_code_origin);
  }
  MASTHEAD_HOST_DEVICE static float log2_of(float coded) {
    return fmaf(coded, -0x1p-9f, logit_code_origin * 0x1p-9f + 1);
  }
};

/// half: steps of 2^-12 to a distance of 15, which is where its normal numbers end, then 2^-8 to 31.
template <>
struct LogitCode<Dtype::f16> {
  static constexpr float coarse_shift = 15 * 0x1p12f - 15 * 0x1p8f;

  MASTHEAD_HOST_DEVICE static float encode(float distance) {
    return fminf(fmaf(distance, 0x1p12f, logit_code_origin),
                 fmaf(distance, 0x1p8f, logit_code_origin + coarse_shift));
  }
  MASTHEAD_HOST_DEVICE static float log2_of(float coded) {
    return fminf(fmaf(coded, -0x1p-12f, logit_code_origin * 0x1p-12f + 1),
                 fmaf(coded, -0x1p-8f, (logit_code_origin + coarse_shift) * 0x1p-8f + 1));
  }
};

/// Twice the exponential a code stands for, relative to its reference. A code that is not saturated yet gives
/// the same probability as the saturated one: none.
// Twice: 1 / sum may be 2, and an exponential that is flushed for being below 2^-126 must not stand for a
// probability that is not.
template <Dtype out>
MASTHEAD_HOST_DEVICE float coded_exponential(float coded) {
  return exp2_flushed(LogitCode<out>::log2_of(coded));
}

/// The 16 bits to store, in the low half; NaN saturates (a row with a NaN has a NaN sum, which makes all of
/// it NaN).
MASTHEAD_HOST_DEVICE std::uint32_t logit_code_bits(float coded) {
  const float saturated = fminf(coded, logit_code_origin + logit_code_limit);
#if defined(__CUDA_ARCH__)
  return __float_as_uint(saturated);
#else
  return static_cast<std::uint32_t>(saturated - logit_code_origin);
#endif
}

/// The coded float back from its 16 bits.
MASTHEAD_HOST_DEVICE float logit_code_from_bits(std::uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(0x4b000000u | bits);
#else
  return logit_code_origin + static_cast<float>(bits);
#endif
}

}  // namespace masthead::inline v0

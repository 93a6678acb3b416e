#pragma once
/// Quantized logits: 16-bit fixed-point distances of logits from an integer shift, on the way to a 16-bit
/// softmax.
///
/// Between the sum over a row and its use, a logit t (in log2 units) is stored as the distance d = shift - t
/// >= 0 from an integer shift that is at least the largest of the logits that share it, in fixed point: a
/// step of s costs exp2(-d) a relative error of at most s/2 * ln(2), the same at every magnitude, where a
/// 16-bit float would either lack range or err by up to twice as much just above each power of two. Because
/// shifts are integers, the grid of logits is the same whatever the shift.
///
/// In registers, a quantized logit q is the float 2^23 + q: encoding is one multiply-add (which rounds), and
/// the low 16 bits of the float are what is stored. Quantized logits saturate at 65535, whose exponential
/// rounds to 0 in every output type.

#include <cmath>
#include <cstdint>

#include "masthead/core/dtype.hpp"
#include "masthead/numeric/exp2.hpp"

namespace masthead::inline v0::detail {

inline constexpr float quantized_logit_origin = 0x1p23f;
inline constexpr float quantized_logit_limit = 65535.0f;

/// The fixed point of an output type. `encode`: distance -> 2^23 + quantized logit, not yet saturated.
/// `log2_of`: from that float -> 1 - distance, exactly.
template <Dtype out>
struct QuantizedLogit;

/// The fixed point for bfloat16: distances to 128, as many as it has binades, in steps of 2^-9: at most
/// 0.00068 relative, where rounding to bfloat16 costs 0.0039.
template <>
struct QuantizedLogit<Dtype::bf16> {
  MASTHEAD_HOST_DEVICE static float encode(float distance) {
    return fmaf(distance, 0x1p9f, quantized_logit_origin);
  }
  MASTHEAD_HOST_DEVICE static float log2_of(float quantized) {
    return fmaf(quantized, -0x1p-9f, quantized_logit_origin * 0x1p-9f + 1);
  }
};

/// The fixed point for half: steps of 2^-12 to a distance of 15, which is where its normal numbers end, then
/// 2^-8 to 31.
template <>
struct QuantizedLogit<Dtype::f16> {
  static constexpr float coarse_shift = 15 * 0x1p12f - 15 * 0x1p8f;

  MASTHEAD_HOST_DEVICE static float encode(float distance) {
    return fminf(fmaf(distance, 0x1p12f, quantized_logit_origin),
                 fmaf(distance, 0x1p8f, quantized_logit_origin + coarse_shift));
  }
  MASTHEAD_HOST_DEVICE static float log2_of(float quantized) {
    return fminf(fmaf(quantized, -0x1p-12f, quantized_logit_origin * 0x1p-12f + 1),
                 fmaf(quantized, -0x1p-8f, (quantized_logit_origin + coarse_shift) * 0x1p-8f + 1));
  }
};

/// Twice the exponential that a quantized logit stands for, relative to its shift. One that is not saturated
/// yet gives the same probability as the saturated one: none.
// Twice: 1 / sum may be 2, and an exponential that is flushed for being below 2^-126 must not stand for a
// probability that is not.
template <Dtype out>
MASTHEAD_HOST_DEVICE float quantized_exponential(float quantized) {
  return exp2_flushed(QuantizedLogit<out>::log2_of(quantized));
}

/// The 16 bits of a quantized logit to store, in the low half; NaN saturates (a row with a NaN has a NaN sum,
/// which makes all of it NaN).
MASTHEAD_HOST_DEVICE std::uint32_t quantized_logit_bits(float quantized) {
  const float saturated = fminf(quantized, quantized_logit_origin + quantized_logit_limit);
#if defined(__CUDA_ARCH__)
  return __float_as_uint(saturated);
#else
  return static_cast<std::uint32_t>(saturated - quantized_logit_origin);
#endif
}

/// The float 2^23 + q of a quantized logit q, back from its 16 bits.
MASTHEAD_HOST_DEVICE float quantized_logit_from_bits(std::uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(0x4b000000u | bits);
#else
  return quantized_logit_origin + static_cast<float>(bits);
#endif
}

}  // namespace masthead::inline v0::detail

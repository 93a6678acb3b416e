#pragma once
/// The precisions a head can run in, and how each multiplies.

#include <cstdint>
#include <ostream>
#include <string_view>

#include "masthead/core/dtype.hpp"

namespace masthead::inline v0 {

/// How a head computes: the operands' dtype and what happens between operand and accumulator.
enum class Precision : std::uint8_t {
  fp64,       ///< double operands, double accumulation
  fp32_ieee,  ///< float operands, fp32 FMA accumulation in ascending k
  fp32,  ///< float operands as three products of fp16 parts in fp32 sums: at least SGEMM's accuracy, on the
         ///< tensor cores of sm_90; `fp32_ieee` elsewhere
  tf32,  ///< float operands rounded to the nearest tf32 (11 significant bits), fp32 accumulation on the
         ///< tensor cores of sm_90; `fp32_ieee` elsewhere
  fp16_scaled,  ///< float operands scaled by a power of two per row and rounded to fp16: the significant bits
                ///< of tf32 at twice its rate on the tensor cores of sm_90; `fp32_ieee` elsewhere
  bf16,         ///< bfloat16 operands, fp32 accumulation
  fp16,         ///< IEEE half operands, fp32 accumulation
  fp8,          ///< bfloat16 operands quantized to e4m3 with a power of two per row, fp32 sums; sm_90 only
};

/// How operands are multiplied: what happens to a pair of them between memory and the sum.
enum class MathMode : std::uint8_t {
  plain,  ///< they are multiplied as they are
  tf32,   ///< each is rounded to the nearest tf32 by the copy to shared memory
  f16,    ///< each is scaled by a power of two per row and rounded to fp16
  f16x3,  ///< each is scaled by a power of two per row and split into two fp16 parts: hi hi + hi lo + lo hi
  e4m3,   ///< each is scaled by a power of two per row and rounded to e4m3
};

constexpr std::string_view name(Precision precision) {
  constexpr std::string_view names[] = {"fp64",        "fp32_ieee", "fp32", "tf32",
                                        "fp16_scaled", "bf16",      "fp16", "fp8"};
  return names[static_cast<int>(precision)];
}

constexpr std::string_view name(MathMode math_mode) {
  constexpr std::string_view names[] = {"plain", "tf32", "f16", "f16x3", "e4m3"};
  return names[static_cast<int>(math_mode)];
}

inline std::ostream& operator<<(std::ostream& out, Precision precision) { return out << name(precision); }

/// The dtype of x and of the weight in `precision`.
constexpr Dtype operand_dtype(Precision precision) {
  switch (precision) {
    case Precision::fp64:
      return Dtype::f64;
    case Precision::bf16:
    case Precision::fp8:
      return Dtype::bf16;
    case Precision::fp16:
      return Dtype::f16;
    default:
      return Dtype::f32;
  }
}

/// The math mode of a precision's fastest engine.
constexpr MathMode math_mode_of(Precision precision) {
  return precision == Precision::fp32          ? MathMode::f16x3
         : precision == Precision::tf32        ? MathMode::tf32
         : precision == Precision::fp16_scaled ? MathMode::f16
         : precision == Precision::fp8         ? MathMode::e4m3
                                               : MathMode::plain;
}

}  // namespace masthead::inline v0

namespace masthead::inline v0::detail {

/// Whether a math mode multiplies packed operands: the weight is packed once, x by every call.
MASTHEAD_HOST_DEVICE constexpr bool is_packed(MathMode math_mode) {
  return math_mode == MathMode::f16 || math_mode == MathMode::f16x3 || math_mode == MathMode::e4m3;
}

/// Whether the tensor core's sums are promoted: taken over k-blocks, which ordinary additions sum.
MASTHEAD_HOST_DEVICE constexpr bool is_promoted(MathMode math_mode) {
  return math_mode == MathMode::f16x3 || math_mode == MathMode::e4m3;
}

/// Whether packed operands are fp16 numbers. The scale of a row is then a PowerPair (numeric/split.hpp),
/// which reaches the range of any row of floats; for e4m3 it is a float.
MASTHEAD_HOST_DEVICE constexpr bool has_f16_parts(MathMode math_mode) {
  return math_mode == MathMode::f16 || math_mode == MathMode::f16x3;
}

/// The number of parts a packed operand consists of, each a matrix of its own.
MASTHEAD_HOST_DEVICE constexpr int parts_of(MathMode math_mode) {
  return math_mode == MathMode::f16x3 ? 2 : 1;
}
/// Bytes of an element of a part.
MASTHEAD_HOST_DEVICE constexpr int part_element_bytes(MathMode math_mode) {
  return has_f16_parts(math_mode) ? 2 : 1;
}

}  // namespace masthead::inline v0::detail

#pragma once
/// 2^x on the special function unit (PTX ISA, "ex2").

#include "masthead/config.hpp"

namespace masthead::inline v0::ptx {

/// Relative error at most 2^-22; subnormal arguments and results are kept.
// NOTES: inline PTX, because exp2f becomes ex2.approx.ftz under the caller's -ftz=true or -use_fast_math.
__device__ __forceinline__ float exp2(float value) {
  float result;
  asm("ex2.approx.f32 %0, %1;" : "=f"(result) : "f"(value));
  return result;
}

__device__ __forceinline__ double exp2(double value) { return ::exp2(value); }

}  // namespace masthead::inline v0::ptx

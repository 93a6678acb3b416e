#pragma once
/// 2^x on the special function unit (PTX ISA, "ex2").

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include "masthead/core/config.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::ptx {

/// 2^value with a relative error of at most 2^-22; results below 2^-126 are 0.
// NOTES: inline PTX, because exp2f becomes this only under the caller's -ftz=true, and takes three more
// instructions to keep subnormal results otherwise. Softmax takes exponentials relative to a maximum: what is
// flushed here contributes less than 2^-126 of a row.
__device__ __forceinline__ float exp2(float value) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(value));
  return result;
}

__device__ __forceinline__ double exp2(double value) { return ::exp2(value); }

}  // namespace masthead::inline v0::ptx
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

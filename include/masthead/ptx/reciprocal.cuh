#pragma once
/// 1 / x on the special function unit (PTX ISA, "rcp").

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include "masthead/core/config.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::ptx {

/// 1 / value, at most 1 ulp off; 1/0 is inf.
// NOTES: an IEEE division calls a subroutine for subnormal divisors, and the call spills what the caller
// holds.
__device__ __forceinline__ float reciprocal(float value) {
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(value));
  return result;
}

__device__ __forceinline__ double reciprocal(double value) { return 1 / value; }

}  // namespace masthead::inline v0::ptx
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

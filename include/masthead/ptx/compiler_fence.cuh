#pragma once
/// A fence for the compiler alone.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include "masthead/core/config.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::ptx {

/// Values that were loaded before are loaded again where they are used after: they are in no register
/// between. Costs no instruction, and orders no memory for other threads.
__device__ __forceinline__ void compiler_fence() { asm volatile("" ::: "memory"); }

}  // namespace masthead::inline v0::ptx
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

#pragma once
/// Moving registers between warpgroups (PTX ISA, "setmaxnreg").

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include "masthead/core/config.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::ptx {

/// Gives up registers down to `count` per thread. All warps of a warpgroup call it.
// NOTES: takes effect only under __launch_bounds__(threads, 1) and with one if/else for the roles.
template <int count>
__device__ __forceinline__ void release_registers() {
  static_assert(count >= 24 && count <= 256 && count % 8 == 0);
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count));
}

/// Waits for registers and takes them up to `count` per thread. All warps of a warpgroup call it.
template <int count>
__device__ __forceinline__ void acquire_registers() {
  static_assert(count >= 24 && count <= 256 && count % 8 == 0);
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count));
}

}  // namespace masthead::inline v0::ptx
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

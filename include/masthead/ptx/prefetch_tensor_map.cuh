#pragma once
/// Fetching a tensor map ahead of its first use (PTX ISA, "prefetch.tensormap").

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include "masthead/core/config.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::ptx {

/// Fetches `map`, which is a kernel parameter (`const __grid_constant__`) or lies in global memory.
__device__ __forceinline__ void prefetch_tensor_map(const void* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

}  // namespace masthead::inline v0::ptx
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

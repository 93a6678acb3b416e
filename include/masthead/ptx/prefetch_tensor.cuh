#pragma once
/// Fetching a box of a tensor into L2 (PTX ISA, "cp.async.bulk.prefetch.tensor").

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include "masthead/core/config.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::ptx {

/// Asks for the box at `column`, `row` of a two-dimensional tensor; nothing waits for it.
__device__ __forceinline__ void prefetch_tensor(const void* map, int column, int row) {
  asm volatile("cp.async.bulk.prefetch.tensor.2d.L2.global.tile [%0, {%1, %2}];" ::"l"(map), "r"(column),
               "r"(row)
               : "memory");
}

}  // namespace masthead::inline v0::ptx
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

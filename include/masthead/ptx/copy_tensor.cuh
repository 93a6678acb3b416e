#pragma once
/// TMA loads under a cache policy (PTX ISA, "cp.async.bulk.tensor", "createpolicy"), which cuda::ptx lacks.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/core/config.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::ptx {

/// The cache policy for data that is read once: it leaves L2 before anything else does.
__device__ __forceinline__ std::uint64_t evict_first_policy() {
  std::uint64_t policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  return policy;
}

/// The cache policy of loads that name none.
__device__ __forceinline__ std::uint64_t evict_normal_policy() {
  std::uint64_t policy;
  asm("createpolicy.fractional.L2::evict_normal.b64 %0, 1.0;" : "=l"(policy));
  return policy;
}

/// Loads the box at `column`, `row` of a two-dimensional tensor to `target` in shared memory; its bytes count
/// on `barrier`.
__device__ __forceinline__ void copy_tensor(void* target, const void* map, int column, int row,
                                            std::uint64_t* barrier, std::uint64_t policy) {
  const auto to = static_cast<std::uint32_t>(__cvta_generic_to_shared(target));
  const auto counted = static_cast<std::uint32_t>(__cvta_generic_to_shared(barrier));
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint [%0], "
      "[%1, {%2, %3}], [%4], %5;" ::"r"(to),
      "l"(map), "r"(column), "r"(row), "r"(counted), "l"(policy)
      : "memory");
}

}  // namespace masthead::inline v0::ptx
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

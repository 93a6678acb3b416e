#pragma once
/// Arriving at another block's mbarrier (PTX ISA, "mapa", "mbarrier.arrive").

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/core/config.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::ptx {

/// Arrives at `barrier` (an object in this block's shared memory) of block `cta_rank` of the cluster.
// NOTES: without a scope. The `.release.cluster` form, which cuda::ptx::mbarrier_arrive emits, becomes
// MEMBAR.ALL.GPU in the mainloop and made a GEMM 1.5 times slower. What must be ordered here are reads of
// wgmma, complete before the arrive, against TMA writes issued after the wait.
__device__ __forceinline__ void mbarrier_arrive_remote(std::uint64_t* barrier, int cta_rank) {
  const auto local = static_cast<std::uint32_t>(__cvta_generic_to_shared(barrier));
  asm volatile(
      "{\n"
      ".reg .b32 remote;\n"
      "mapa.shared::cluster.u32 remote, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [remote];\n"
      "}\n" ::"r"(local),
      "r"(cta_rank)
      : "memory");
}

}  // namespace masthead::inline v0::ptx
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

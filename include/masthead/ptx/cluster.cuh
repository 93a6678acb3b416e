#pragma once
/// Thread block clusters (PTX ISA, "barrier.cluster", "mapa", "st.async", "mbarrier"), through CUDA's
/// intrinsics and cuda::ptx. Below sm_90 a cluster is one block, and what takes a second one does nothing.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>
#include <cuda/ptx>

#include "masthead/core/config.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::ptx {

/// Blocks in this block's cluster.
__device__ __forceinline__ int cluster_size() {
#if __CUDA_ARCH__ >= 900
  return static_cast<int>(__clusterSizeInBlocks());
#else
  return 1;
#endif
}

/// This block's CTA rank in its cluster.
__device__ __forceinline__ int cluster_cta_rank() {
#if __CUDA_ARCH__ >= 900
  return static_cast<int>(__clusterRelativeBlockRank());
#else
  return 0;
#endif
}

/// The index of this block's cluster in the grid, of one-dimensional clusters: in grids of fewer than 2^24
/// blocks.
// NOTES: ptxas of CUDA 13.0 makes %clusterid.x the block's index times the reciprocal of the cluster's size,
// in float: from 2^24 on indices are rounded to even ones, clusters of one block included.
__device__ __forceinline__ unsigned cluster_index() {
#if __CUDA_ARCH__ >= 900
  return __clusterIdx().x;
#else
  return blockIdx.x;
#endif
}

/// Initializes a barrier of this block for phases of `cluster_store`. One thread calls it, then every
/// thread of the cluster passes cluster_arrive_relaxed and cluster_wait.
__device__ __forceinline__ void cluster_barrier_init(std::uint64_t* barrier) {
#if __CUDA_ARCH__ >= 900
  cuda::ptx::mbarrier_init(barrier, 1);
  cuda::ptx::fence_mbarrier_init(cuda::ptx::sem_release, cuda::ptx::scope_cluster);
#else
  (void)barrier;
#endif
}

/// The barrier's phase completes when `bytes` have been stored by `cluster_store`, some of them maybe
/// already. The thread that initialized the barrier calls it, once a phase.
// NOTES: behind cluster_wait where its warp has more than that to do: the initialization is a warp-wide
// instruction, and racecheck warns of what the warp's threads do without a barrier after it.
__device__ __forceinline__ void cluster_barrier_expect(std::uint64_t* barrier, int bytes) {
#if __CUDA_ARCH__ >= 900
  cuda::ptx::mbarrier_arrive_expect_tx(cuda::ptx::sem_release, cuda::ptx::scope_cta, cuda::ptx::space_shared,
                                       barrier, static_cast<std::uint32_t>(bytes));
#else
  (void)barrier, (void)bytes;
#endif
}

/// Arrives at the barrier of the cluster, without ordering memory. Every thread of the cluster calls it, then
/// cluster_wait.
// NOTES: relaxed, because the fence in cluster_barrier_init is all that peers need to see; the releasing form
// compiles to MEMBAR.ALL.GPU.
__device__ __forceinline__ void cluster_arrive_relaxed() {
#if __CUDA_ARCH__ >= 900
  __cluster_barrier_arrive_relaxed();
#endif
}

/// Returns when every thread of the cluster has arrived.
__device__ __forceinline__ void cluster_wait() {
#if __CUDA_ARCH__ >= 900
  __cluster_barrier_wait();
#endif
}

/// Returns when every thread of the cluster has called it; what each has read and written before comes before
/// what any does after.
__device__ __forceinline__ void cluster_synchronize() {
#if __CUDA_ARCH__ >= 900
  __cluster_barrier_arrive();
  __cluster_barrier_wait();
#endif
}

/// Stores 2 or 4 values at `target` in block `cta_rank` of the cluster and counts their bytes on that block's
/// `barrier`; both pointers name this block's own copies.
template <class T, int count>
__device__ __forceinline__ void cluster_store(T* target, const T (&values)[count], std::uint64_t* barrier,
                                              int cta_rank) {
#if __CUDA_ARCH__ >= 900
  const auto in_block = [cta_rank](void* shared) {
    return __cluster_map_shared_rank(shared, static_cast<unsigned>(cta_rank));
  };
  cuda::ptx::st_async(static_cast<T*>(in_block(target)), values,
                      static_cast<std::uint64_t*>(in_block(barrier)));
#else
  (void)target, (void)values, (void)barrier, (void)cta_rank;
#endif
}

/// Returns when phase `phase` of the barrier, 0 or 1, is complete; what was stored under it is then visible.
__device__ __forceinline__ void cluster_barrier_wait(std::uint64_t* barrier, unsigned phase = 0) {
#if __CUDA_ARCH__ >= 900
  while (!cuda::ptx::mbarrier_try_wait_parity(cuda::ptx::sem_acquire, cuda::ptx::scope_cluster, barrier,
                                              phase)) {
  }
#else
  (void)barrier, (void)phase;
#endif
}

}  // namespace masthead::inline v0::ptx
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

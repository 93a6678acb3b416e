#pragma once
/// A ring of shared-memory stages between producers and consumers, under mbarriers. The only place that knows
/// their arithmetic.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cuda/ptx>

#include <cstdint>

#include "masthead/ptx/mbarrier_remote.cuh"
#include "masthead/tile/pipeline_state.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Each stage is in turn empty (producers may write) and full (consumers may read). There is one
/// SharedStorage per block, at the same offset in all blocks of a cluster. One thread calls `init`, then
/// fence_mbarrier_init; then comes a cluster barrier.
template <int stages>
class StageRing {
  static constexpr auto release_order = cuda::ptx::sem_release;
  static constexpr auto block = cuda::ptx::scope_cta;
  static constexpr auto shared = cuda::ptx::space_shared;

 public:
  using State = PipelineState<stages>;
  struct SharedStorage {
    std::uint64_t full[stages];   // (stage)
    std::uint64_t empty[stages];  // (stage)
  };

  __device__ explicit StageRing(SharedStorage& storage) : storage_(storage) {}

  /// Initializes the barriers with how many arrivals make a stage full (besides TMA's bytes) and empty.
  __device__ void init(std::uint32_t full_arrivals, std::uint32_t empty_arrivals) const {
    for (int stage = 0; stage < stages; ++stage) {
      cuda::ptx::mbarrier_init(&storage_.full[stage], full_arrivals);
      cuda::ptx::mbarrier_init(&storage_.empty[stage], empty_arrivals);
    }
  }

  /// Producer: returns when the stage may be overwritten.
  __device__ __forceinline__ void wait_empty(const State& state) const {
    wait(&storage_.empty[state.stage], state.parity ^ 1u);
  }
  /// Producer by TMA: arrives, and the stage is full once `bytes` have landed. Copies complete on `barrier`.
  __device__ __forceinline__ void expect_bytes(const State& state, std::uint32_t bytes) const {
    cuda::ptx::mbarrier_arrive_expect_tx(release_order, block, shared, &storage_.full[state.stage], bytes);
  }
  __device__ __forceinline__ std::uint64_t* barrier(const State& state) const {
    return &storage_.full[state.stage];
  }
  /// Producer by stores: this thread has written its share of the stage.
  __device__ __forceinline__ void arrive_full(const State& state) const {
    cuda::ptx::mbarrier_arrive(release_order, block, shared, &storage_.full[state.stage]);
  }

  /// Consumer: returns when the stage may be read.
  __device__ __forceinline__ void wait_full(const State& state) const {
    wait(&storage_.full[state.stage], state.parity);
  }
  /// Consumer: whether `wait_full` would return at once.
  __device__ __forceinline__ bool is_full(const State& state) const {
    return cuda::ptx::mbarrier_test_wait_parity(&storage_.full[state.stage], state.parity);
  }
  /// Consumer: done with the stage, towards this block's producers.
  __device__ __forceinline__ void arrive_empty(const State& state) const {
    cuda::ptx::mbarrier_arrive(release_order, block, shared, &storage_.empty[state.stage]);
  }
  /// Consumer: done with the stage, towards the producers of block `cta_rank` of the cluster, who write here.
  __device__ __forceinline__ void arrive_empty(const State& state, int cta_rank) const {
    ptx::mbarrier_arrive_remote(&storage_.empty[state.stage], cta_rank);
  }

  /// A consumer warp: done with the stage, here and at every block of a cluster of `cluster_m` that
  /// multicasts into it.
  template <int cluster_m>
  __device__ __forceinline__ void release(const State& state, int lane) const {
    if constexpr (cluster_m == 1) {
      if (lane == 0) arrive_empty(state);
    } else {
      if (lane < cluster_m) arrive_empty(state, lane);
    }
  }

 private:
  __device__ __forceinline__ static void wait(std::uint64_t* barrier, std::uint32_t parity) {
    while (!cuda::ptx::mbarrier_try_wait_parity(barrier, parity)) {
    }
  }

  SharedStorage& storage_;
};

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

#pragma once
/// The Hopper mainloop: wgmma from shared memory, one warpgroup for 64 rows of the tile.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include "masthead/gemm/descriptor.cuh"
#include "masthead/gemm/loader_sm90.cuh"
#include "masthead/ptx/wgmma.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// acc = x W^T over `k_steps` slices in ascending k. All threads of each consumer warpgroup call `multiply`;
/// the warpgroups need not be in step.
template <Sm90Layout layout, class LoaderOf = LoaderSm90<layout>>
struct MainloopSm90 {
  using Loader = LoaderOf;
  using Ring = typename Loader::Ring;
  using Accumulators = float[layout.accumulators()];

  __device__ __forceinline__ static void multiply(typename Loader::SharedStorage& storage, const Ring& ring,
                                                  typename Ring::State& state, int k_steps, int warpgroup,
                                                  int lane, Accumulators& acc) {
    const std::uint64_t x = descriptor_of(storage.x[0] + warpgroup * 64 * swizzle_row_bytes);
    const std::uint64_t w = descriptor_of(storage.w[0]);
    typename Ring::State previous = state;
#pragma unroll 1
    for (int step = 0; step < k_steps; ++step) {
      ring.wait_full(state);
      const std::uint64_t x_stage = x + state.stage * wgmma_descriptor_step(layout.x_bytes());
      const std::uint64_t w_stage = w + state.stage * wgmma_descriptor_step(layout.w_bytes());
      ptx::wgmma_fence_registers(acc);
      ptx::wgmma_fence();
#pragma unroll
      for (int i = 0; i < layout.tile.k / layout.instruction_k(); ++i) {
        ptx::wgmma<layout.multiplied_dtype()>(acc, x_stage + i * wgmma_descriptor_step(32),
                                              w_stage + i * wgmma_descriptor_step(32), step > 0 || i > 0);
      }
      ptx::wgmma_commit();
      ptx::wgmma_fence_registers(acc);
      // The previous slice is done once only this one is in flight: its stage goes back, here and at every
      // block that multicasts into it.
      ptx::wgmma_wait<1>();
      if (step > 0) ring.template release<layout.cluster_m>(previous, lane);
      previous = state;
      state.advance();
    }
    ptx::wgmma_wait<0>();
    ptx::wgmma_fence_registers(acc);
    ring.template release<layout.cluster_m>(previous, lane);
  }
};

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

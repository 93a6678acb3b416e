#pragma once
/// The Hopper kernel for large 16-bit outputs: the general one, which finalises rows that are complete while
/// other tiles are multiplied.

#include "masthead/kernel/finalise_early_sm90.cuh"

namespace masthead::inline v0 {

/// Ends a tile with partials, and codes in the panel, which a producer warp stores.
template <Sm90Layout layout, class U>
struct StagedTileSm90 {
  using Epilogue = EpilogueSm90<layout, dtype_of<U>>;

  template <class Params>
  __device__ __forceinline__ static void finish(const Params& p, const BlockSm90<layout>& block,
                                                const StageRing<1>& ring,
                                                typename Epilogue::Accumulators& acc,
                                                const AffineColumn* affine, const ClusterTile& tile,
                                                int turn) {
    const StageRing<1>::State state{0, static_cast<std::uint32_t>(turn % 2)};
    const int warp = block.consumer_warp();
    RowPartial partial[2];
    ring.wait_empty(state);
    Epilogue::to_staged_softmax(acc, affine, block.lane, partial,
                                block.storage.panel + warp * WarpPanel::bytes(layout.tile.n));
    cuda::ptx::fence_proxy_async(cuda::ptx::space_shared);
    // The tile is read here, from shared memory, and neither it nor addresses take registers before. Behind
    // the fence, which would wait for these stores.
    const int lane = ptx::opaque(block.lane);
    Epilogue::publish(partial, p.partials, p.schedule.grid.tiles_n, tile.n,
                      first_row_anew<layout>(tile) + warp * WgmmaFragment::warp_rows, p.y.matrix.rows, lane);
    ring.arrive_full(state);
  }
};

/// Grid: any multiple of the cluster size; the schedule's `clusters` says how many there are. y is 16-bit and
/// stored by TMA. Shared memory: Policy::spec.shared_bytes().
template <class Policy, class U>
__global__ void __launch_bounds__(Policy::spec.block_threads, 1) linear_softmax_early_sm90_kernel(
    const __grid_constant__ LinearSoftmaxSm90Params<DeviceElement<Policy::spec.dtype>, U, PersistentSchedule>
        p) {
  constexpr Sm90Layout layout = Policy::spec.sm90();
  if constexpr (ptx::compiled_for_sm90a) {
    extern __shared__ __align__(16) unsigned char dynamic[];
    __shared__ EarlyStorageSm90 early;
    const StageRing<1> panel(early.panel);
    if (threadIdx.x == 0) {
      panel.init(32 * layout.consumer_warps(), 32);
      StageRing<1>(early.last_tile).init(1, 1);
    }
    // Its barrier and fence are for these rings too.
    const BlockSm90<layout> block(dynamic, p, 32);
    if (block.warpgroup == 0) {
      ptx::release_registers<layout.producer_registers()>();
      produce_and_finalise<layout, U>(block, early, p);
    } else {
      ptx::acquire_registers<layout.consumer_registers()>();
      using Mainloop = typename EngineSm90<layout>::Mainloop;
      typename Mainloop::Ring::State state;
      typename Mainloop::Accumulators acc;
#pragma unroll 1
      for (int turn = 0; p.schedule.has(block.cluster, turn); ++turn) {
        Mainloop::multiply(block.storage.operands, block.ring, state, p.k_steps, block.warpgroup - 1,
                           block.lane, acc);
        // What a turn can tell is not kept across the mainloop: there are no registers to spare.
        const typename BlockSm90<layout>::AffineLoader::Ring::State affine{
            turn % 2, static_cast<std::uint32_t>(turn / 2 % 2)};
        block.affine_ring.wait_full(affine);
        StagedTileSm90<layout, U>::finish(p, block, panel, acc, block.storage.affine.column[affine.stage],
                                          early.tile[affine.stage], turn);
        block.affine_ring.arrive_empty(affine);
      }
      ptx::grid_dependency_trigger();
    }
    BlockSm90<layout>::leave();
  } else {
    not_compiled_for_sm90a();
  }
}

}  // namespace masthead::inline v0

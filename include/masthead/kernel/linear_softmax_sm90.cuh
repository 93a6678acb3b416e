#pragma once
/// The general Hopper kernel: any number of tiles; what needs the whole row is left to a second kernel.

#include <type_traits>

#include "masthead/kernel/roles_sm90.cuh"

namespace masthead::inline v0 {

/// Ends a tile with codes in y and partials.
template <Sm90Layout layout, class U>
struct CodedTileSm90 {
  using Epilogue = EpilogueSm90<layout, dtype_of<U>>;
  using Store = StoreSm90<layout, U>;

  template <class Params>
  __device__ __forceinline__ static void finish(const Params& p, typename Epilogue::Accumulators& acc,
                                                const AffineColumn* affine, unsigned char* panel,
                                                std::int64_t row, const ClusterTile& tile, int lane) {
    RowPartial partial[2];
    Epilogue::to_softmax(acc, affine, lane, partial);
    Epilogue::publish(partial, p.partials, p.schedule.grid.tiles_n, tile.n, row, p.y.matrix.rows, lane);
    Store::wait_panel_read(lane);
    Epilogue::stage_codes(acc, panel, lane);
    Store::panel(p.y, panel, row, std::int64_t{tile.n} * layout.tile.n, lane, [](int) {});
  }
};

/// Ends a tile with logits in log2 units, or with x W^T alone in training mode; y is float.
template <Sm90Layout layout>
struct LogitsTileSm90 {
  template <class Params, int count>
  __device__ __forceinline__ static void finish(const Params& p, float (&acc)[count],
                                                const AffineColumn* affine, unsigned char*, std::int64_t row,
                                                const ClusterTile& tile, int lane) {
    EpilogueSm90<layout, Dtype::f32>::apply_affine(acc, affine, lane);
    StoreSm90<layout, float>::registers(p.y.matrix, acc, row, std::int64_t{tile.n} * layout.tile.n, lane);
  }
};

/// The tile's end for y of type U.
template <Sm90Layout layout, class U>
using TileEndSm90 =
    std::conditional_t<dtype_of<U> == Dtype::f32, LogitsTileSm90<layout>, CodedTileSm90<layout, U>>;

/// Grid: any multiple of the cluster size; the schedule's `clusters` says how many there are. Shared memory:
/// Policy::spec.shared_bytes().
template <class Policy, class U>
__global__ void __launch_bounds__(Policy::spec.block_threads, 1) linear_softmax_sm90_kernel(
    const __grid_constant__ LinearSoftmaxSm90Params<DeviceElement<Policy::spec.dtype>, U, PersistentSchedule>
        p) {
  constexpr Sm90Layout layout = Policy::spec.sm90();
  if constexpr (ptx::compiled_for_sm90a) {
    extern __shared__ __align__(16) unsigned char dynamic[];
    const BlockSm90<layout> block(dynamic, p);
    if (block.warpgroup == 0) {
      ptx::release_registers<layout.producer_registers()>();
      block.produce(p);
    } else {
      ptx::acquire_registers<layout.consumer_registers()>();
      using Mainloop = MainloopSm90<layout>;
      const int consumer = block.warpgroup - 1, warp = consumer * 4 + block.warp;
      unsigned char* panel = block.storage.panel + warp * WarpPanel::bytes(layout.tile.n);
      typename Mainloop::Ring::State state;
      typename AffineLoaderSm90<layout>::Ring::State affine_state;
      typename Mainloop::Accumulators acc;
      ClusterTile tile;
#pragma unroll 1
      for (int turn = 0; p.schedule.get(block.cluster, turn, tile); ++turn) {
        Mainloop::multiply(block.storage.operands, block.ring, state, p.k_steps, consumer, block.lane, acc);
        block.affine_ring.wait_full(affine_state);
        TileEndSm90<layout, U>::finish(p, acc, block.storage.affine.column[affine_state.stage], panel,
                                       block.first_row(tile) + warp * WgmmaFragment::warp_rows, tile,
                                       block.lane);
        block.affine_ring.arrive_empty(affine_state);
        affine_state.advance();
      }
      ptx::grid_dependency_trigger();
      StoreSm90<layout, U>::wait_panel_read(block.lane);
    }
    BlockSm90<layout>::leave();
  } else {
    not_compiled_for_sm90a();
  }
}

}  // namespace masthead::inline v0

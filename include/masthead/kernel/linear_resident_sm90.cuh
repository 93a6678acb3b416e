#pragma once
/// The kernel of the resident path, for outputs that fit on chip: tiles wait in shared memory as 16-bit
/// quantized logits while row statistics cross the grid, and y is stored once.
///
/// It has no tile end and no for_each_tile, as what becomes of a tile depends on its turn: the first one is
/// stashed, the last one stays in registers under the grid barrier.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include "masthead/epilogue/block_sm90.cuh"
#include "masthead/epilogue/center.cuh"
#include "masthead/epilogue/stash.cuh"
#include "masthead/ptx/grid_barrier.cuh"
#include "masthead/ptx/setmaxnreg.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Multiplies and normalizes all of y. Grid: schedule.clusters() clusters, launched cooperatively. y is
/// 16-bit. Shared memory: shared_bytes(Policy::spec).
template <class Policy, class U>
__global__ void __launch_bounds__(Policy::spec.block_threads, 1) linear_resident_sm90_kernel(
    const __grid_constant__ LinearSm90Params<DeviceElement<Policy::spec.dtype>, U, ResidentSchedule> p) {
  constexpr Sm90Layout layout = sm90_layout(Policy::spec);
  using Mainloop = typename EngineSm90<layout>::Mainloop;
  using Epilogue = EpilogueSm90<layout, dtype_of<U>>;
  static_assert(layout.staging_bytes() <= layout.stages * layout.stage_bytes(),
                "the ring holds one staged tile");
  if constexpr (ptx::compiled_for_sm90a) {
    extern __shared__ __align__(16) unsigned char dynamic[];
    const BlockSm90<layout> block(dynamic, p);
    if (block.warpgroup == 0) {
      ptx::release_registers<layout.producer_registers()>();
      block.produce(p);
      GridBarrier::pass();
    } else {
      ptx::acquire_registers<layout.consumer_registers()>();
      const int consumer = block.warpgroup - 1, warp = consumer * 4 + block.warp;
      unsigned char* stashed = block.storage.staging + warp * StagingTile::bytes(layout.tile.n);
      unsigned char* staged = block.storage.operands.x[0] + warp * StagingTile::bytes(layout.tile.n);
      typename Mainloop::Ring::State state;
      typename BlockSm90<layout>::AffineLoader::Ring::State affine_state;
      typename Mainloop::Accumulators acc;
      SoftmaxPartial partial[2];
      StashedTile first{stashed, 0, {}};
      ClusterTile tile, next{};
      p.schedule.get(block.cluster, 0, tile);
      const std::int64_t row = block.first_row(tile) + warp * WgmmaFragment::warp_rows;
      bool two = false;
#pragma unroll 1
      for (;;) {
        Mainloop::multiply(block.storage.operands, block.ring, state, p.k_steps, consumer, block.lane, acc);
        block.affine_ring.wait_full(affine_state);
        if constexpr (block.packed) block.template dequantize<Mode::eval>(p, acc, tile, affine_state.stage);
        subtract_centers<layout>(acc, block.storage.affine.center[affine_state.stage], block.lane);
        const AffineColumn* affine = block.storage.affine.column[affine_state.stage];
        const bool last = two || !p.schedule.get(block.cluster, 1, next);
        if (last) {
          Epilogue::to_softmax(acc, affine, block.lane, partial);
        } else {
          Epilogue::to_staged_softmax(acc, affine, block.lane, partial, stashed);
        }
        block.affine_ring.arrive_empty(affine_state);
        affine_state.advance();
        Epilogue::publish(partial, p.partials, p.schedule.grid.tiles_n, tile.n, row, p.y.matrix.rows,
                          block.lane);
        if (last) break;
        first = {stashed, block.first_column(tile), {partial[0].max, partial[1].max}};
        tile = next;
        two = true;
      }

      // Behind the grid barrier the whole block is past its last wgmma: the ring's memory is free.
      exchange_and_store<layout, U>(block, p, acc, partial, staged, tile, two, first);
    }
    BlockSm90<layout>::leave();
  } else {
    ptx::not_compiled_for_sm90a();
  }
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

#pragma once
/// Training mode's Hopper kernel for outputs that fit on chip: the sums of all tiles wait there while the
/// moments of their columns cross the grid, and y is stored once.

#include "masthead/gemm/parked_sums_sm90.cuh"
#include "masthead/kernel/batch_affine_sm90.cuh"
#include "masthead/kernel/linear_softmax_cooperative_sm90.cuh"

namespace masthead::inline v0 {

/// Consumers: the moments of the tile's columns over its rows, for the other blocks of the column. `scratch`
/// is shared memory that the consumers have done with and may use again on return.
template <Sm90Layout layout, class Params>
__device__ __forceinline__ void publish_moments(const BlockSm90<layout>& block, const Params& p,
                                                const float (&acc)[layout.accumulators()],
                                                unsigned char* scratch, const ClusterTile& tile) {
  using Moments = ColumnMomentsSm90<layout>;
  auto& storage = *reinterpret_cast<typename Moments::SharedStorage*>(scratch);
  const std::int64_t first_row = block.first_row(tile), column = block.first_column(tile),
                     left = p.y.matrix.rows - first_row, features = p.y.matrix.columns;
  const int rows = left < layout.tile.m ? static_cast<int>(left) : layout.tile.m;
  const int warp = block.consumer_warp(), thread = warp * 32 + block.lane;
  Moments::reduce_warp(acc, storage, rows, warp, block.lane);
  block.consumer_barrier();
  if (rows > 0) {
    Moments::store(storage, rows, p.tile_moments + first_row / layout.tile.m * features + column,
                   features - column, thread);
  }
  block.consumer_barrier();
}

/// Grid: schedule.clusters() clusters, launched cooperatively. y is 16-bit. Shared memory:
/// Policy::spec.shared_bytes().
template <class Policy, class U>
__global__ void __launch_bounds__(Policy::spec.block_threads, 1) linear_softmax_training_sm90_kernel(
    const __grid_constant__ LinearSoftmaxSm90Params<DeviceElement<Policy::spec.dtype>, U, ResidentSchedule>
        p) {
  constexpr Sm90Layout layout = Policy::spec.sm90();
  using Mainloop = typename EngineSm90<layout>::Mainloop;
  using Epilogue = EpilogueSm90<layout, dtype_of<U>>;
  using ParkedSums = ParkedSumsSm90<layout>;
  static_assert(layout.product == Product::plain,
                "moments are taken of sums whose scaling comes with the affine");
  static_assert(layout.parks_sums());
  static_assert(Sm90Layout::affine_stages >= resident_tiles);
  if constexpr (ptx::compiled_for_sm90a) {
    extern __shared__ __align__(16) unsigned char dynamic[];
    const BlockSm90<layout> block(dynamic, p);
    if (block.warpgroup == 0) {
      ptx::release_registers<layout.producer_registers()>();
      block.produce(p, [](const ClusterTile&, int) {});
      GridMeeting::pass();
      const bool updates = p.update.running_mean.data != nullptr;
      const double factor = updates ? p.update.factor(1) : 0.0;
      GridMeeting::pass();
      if (updates) update_running_of(block, p, factor);
      if (blockIdx.x == 0 && threadIdx.x == 0 && p.update.batches_tracked != nullptr) {
        ++*p.update.batches_tracked;  // behind the second meeting: all blocks have read it
      }
    } else {
      ptx::acquire_registers<layout.consumer_registers()>();
      const int consumer = block.warpgroup - 1, warp = consumer * 4 + block.warp;
      unsigned char* ring = block.storage.operands.x[0];
      unsigned char* panel = block.storage.panel + warp * WarpPanel::bytes(layout.tile.n);
      unsigned char* staged = ring + warp * WarpPanel::bytes(layout.tile.n);
      unsigned char* kept = staged + layout.panel_bytes();
      typename Mainloop::Ring::State state;
      typename Mainloop::Accumulators acc;
      ParkedSums sums;
      ClusterTile first{}, last, next{};
      p.schedule.get(block.cluster, 0, last);
      bool two = false;
#pragma unroll 1
      for (;;) {
        Mainloop::multiply(block.storage.operands, block.ring, state, p.k_steps, consumer, block.lane, acc);
        if (two) {
          block.consumer_barrier();  // the whole block is past its last wgmma: the ring's memory is free
          sums.to_shared(kept, block.lane);
        }
        publish_moments(block, p, acc, two ? ring : block.storage.panel, last);
        if (two || !p.schedule.get(block.cluster, 1, next)) break;
        sums.park(acc, panel, block.lane);
        first = last;
        last = next;
        two = true;
      }

      GridMeeting moments;
      moments.arrive();
      const BatchAffineSm90<layout> batch(block, p, {last, first});
      moments.wait();
      auto& affine = block.storage.affine.column;
      batch.write(p, affine);
      block.consumer_barrier();

      const std::int64_t row = block.first_row(last) + warp * WgmmaFragment::warp_rows;
      const auto publish = [&](const RowPartial(&partial)[2], const ClusterTile& tile) {
        Epilogue::publish(partial, p.partials, p.schedule.grid.tiles_n, tile.n, row, p.y.matrix.rows,
                          block.lane);
      };
      RowPartial partial[2];
      ParkedTile coded{};
      if (two) {
        Epilogue::to_staged_softmax(acc, affine[0], block.lane, partial, staged);
        publish(partial, last);
        coded = {staged, block.first_column(last), {partial[0].reference, partial[1].reference}};
        ParkedSums::load(acc, panel, kept, block.lane);
        last = first;
      }
      Epilogue::to_softmax(acc, affine[two], block.lane, partial);
      publish(partial, last);
      meet_and_store<layout, U>(block, p, acc, partial, panel, last, two, coded);
    }
    BlockSm90<layout>::leave();
  } else {
    not_compiled_for_sm90a();
  }
}

}  // namespace masthead::inline v0

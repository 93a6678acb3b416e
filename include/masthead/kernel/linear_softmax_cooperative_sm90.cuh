#pragma once
/// The Hopper kernel for outputs that fit on chip: tiles wait in shared memory as 16-bit codes
/// while row statistics cross the grid, and y is stored once.

#include "masthead/kernel/roles_sm90.cuh"
#include "masthead/reduce/meeting_sm90.cuh"

namespace masthead::inline v0 {

/// One tile's part of a consumer warp, as 16-bit codes in shared memory.
struct ParkedTile {
  unsigned char* panel;
  std::int64_t column;
  float reference[2];  // of rows lane / 4 and lane / 4 + 8
};

/// Turns `tile` into probabilities in place and stores it, box by box; lane l holds the total of panel row
/// owned_row(l).
template <Sm90Layout layout, class U>
__device__ __forceinline__ void store_parked(const OutputSm90<U>& y, const ParkedTile& tile,
                                             const RowTotal& total, std::int64_t row, int lane) {
  using Epilogue = EpilogueSm90<layout, dtype_of<U>>;
  float factor[Epilogue::rows_a_lane];
#pragma unroll
  for (int i = 0; i < Epilogue::rows_a_lane; ++i) {
    const int panel_row = 4 * i + lane / 8, owner = owned_row(panel_row);
    const float low = __shfl_sync(0xffffffffu, tile.reference[0], panel_row % 8 * 4);
    const float high = __shfl_sync(0xffffffffu, tile.reference[1], panel_row % 8 * 4);
    const RowTotal of_row{__shfl_sync(0xffffffffu, total.reference, owner),
                          __shfl_sync(0xffffffffu, total.sum, owner)};
    factor[i] = of_row.factor(panel_row < 8 ? low : high);
  }
  StoreSm90<layout, U>::panel(y, tile.panel, row, tile.column, lane,
                              [&](int box) { Epilogue::normalise_box(tile.panel, box, lane, factor); });
}

/// The same of a tile whose exponentials are in registers, through a panel that nothing else uses.
template <Sm90Layout layout, class U>
__device__ __forceinline__ void store_held(const OutputSm90<U>& y, const float (&acc)[layout.accumulators()],
                                           const RowPartial (&partial)[2], unsigned char* panel,
                                           std::int64_t column, const RowTotal& total, std::int64_t row,
                                           int lane) {
  float factor[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int owner = owned_row(lane / 4 + 8 * half);
    const RowTotal of_row{__shfl_sync(0xffffffffu, total.reference, owner),
                          __shfl_sync(0xffffffffu, total.sum, owner)};
    factor[half] = of_row.factor(partial[half].reference);
  }
  StoreSm90<layout, U>::unrolled_panel(y, panel, row, column, lane, [&]<int box>() {
    EpilogueSm90<layout, dtype_of<U>>::template stage_probabilities<box>(acc, factor, panel, lane);
  });
}

/// The end of a consumer warp that has published its statistics: the grid meets, and meanwhile acc, distances
/// of `tile`, become exponentials; then y is stored, from acc through `panel`, and if there are `two` tiles
/// from `coded`.
template <Sm90Layout layout, class U, class Params>
__device__ __forceinline__ void meet_and_store(const BlockSm90<layout>& block, const Params& p,
                                               float (&acc)[layout.accumulators()],
                                               const RowPartial (&partial)[2], unsigned char* panel,
                                               const ClusterTile& tile, bool two, const ParkedTile& coded) {
  GridMeeting meeting;
  meeting.arrive();
  EpilogueSm90<layout, dtype_of<U>>::to_exponentials(acc);
  meeting.wait();
  ptx::grid_dependency_trigger();
  const std::int64_t row = block.first_row(tile) + block.consumer_warp() * WgmmaFragment::warp_rows,
                     rows = p.y.matrix.rows - row;
  const int parts = p.schedule.grid.tiles_n;
  const RowTotal total = total_of_16_rows(p.partials + row * parts, parts,
                                          rows < 16 ? static_cast<int>(rows) : 16, parts, block.lane);
  store_held<layout>(p.y, acc, partial, panel, block.first_column(tile), total, row, block.lane);
  if (two) store_parked<layout>(p.y, coded, total, row, block.lane);
  StoreSm90<layout, U>::wait_panel_read(block.lane);
}

/// Grid: schedule.clusters() clusters, launched cooperatively. y is 16-bit. Shared memory:
/// Policy::spec.shared_bytes().
template <class Policy, class U>
__global__ void __launch_bounds__(Policy::spec.block_threads, 1) linear_softmax_cooperative_sm90_kernel(
    const __grid_constant__ LinearSoftmaxSm90Params<DeviceElement<Policy::spec.dtype>, U, ResidentSchedule>
        p) {
  constexpr Sm90Layout layout = Policy::spec.sm90();
  using Mainloop = typename EngineSm90<layout>::Mainloop;
  using Epilogue = EpilogueSm90<layout, dtype_of<U>>;
  static_assert(layout.panel_bytes() <= layout.stages * layout.stage_bytes(),
                "the ring holds one staged tile");
  if constexpr (ptx::compiled_for_sm90a) {
    extern __shared__ __align__(16) unsigned char dynamic[];
    const BlockSm90<layout> block(dynamic, p);
    if (block.warpgroup == 0) {
      ptx::release_registers<layout.producer_registers()>();
      block.produce(p);
      GridMeeting::pass();
    } else {
      ptx::acquire_registers<layout.consumer_registers()>();
      const int consumer = block.warpgroup - 1, warp = consumer * 4 + block.warp;
      unsigned char* parked = block.storage.panel + warp * WarpPanel::bytes(layout.tile.n);
      unsigned char* staged = block.storage.operands.x[0] + warp * WarpPanel::bytes(layout.tile.n);
      typename Mainloop::Ring::State state;
      typename BlockSm90<layout>::AffineLoader::Ring::State affine_state;
      typename Mainloop::Accumulators acc;
      RowPartial partial[2];
      ParkedTile first{parked, 0, {}};
      ClusterTile tile, next{};
      p.schedule.get(block.cluster, 0, tile);
      const std::int64_t row = block.first_row(tile) + warp * WgmmaFragment::warp_rows;
      bool two = false;
#pragma unroll 1
      for (;;) {
        Mainloop::multiply(block.storage.operands, block.ring, state, p.k_steps, consumer, block.lane, acc);
        block.affine_ring.wait_full(affine_state);
        if constexpr (block.prepared) block.template unscale<Mode::eval>(p, acc, tile, affine_state.stage);
        const AffineColumn* affine = block.storage.affine.column[affine_state.stage];
        const bool last = two || !p.schedule.get(block.cluster, 1, next);
        if (last) {
          Epilogue::to_softmax(acc, affine, block.lane, partial);
        } else {
          Epilogue::to_staged_softmax(acc, affine, block.lane, partial, parked);
        }
        block.affine_ring.arrive_empty(affine_state);
        affine_state.advance();
        Epilogue::publish(partial, p.partials, p.schedule.grid.tiles_n, tile.n, row, p.y.matrix.rows,
                          block.lane);
        if (last) break;
        first = {parked, block.first_column(tile), {partial[0].reference, partial[1].reference}};
        tile = next;
        two = true;
      }

      // Behind the meeting the whole block is past its last wgmma: the ring's memory is free.
      meet_and_store<layout, U>(block, p, acc, partial, staged, tile, two, first);
    }
    BlockSm90<layout>::leave();
  } else {
    not_compiled_for_sm90a();
  }
}

}  // namespace masthead::inline v0

#pragma once
/// The general Hopper kernel: any number of tiles; what needs the whole row is left to a second kernel.

#include <type_traits>

#include "masthead/gemm/store_f32_sm90.cuh"
#include "masthead/kernel/roles_sm90.cuh"
#include "masthead/reduce/column_moments_sm90.cuh"

namespace masthead::inline v0 {

/// Ends a tile with codes in y and partials.
template <Sm90Layout layout, class U>
struct CodedTileSm90 {
  using Epilogue = EpilogueSm90<layout, dtype_of<U>>;

  template <class Params>
  __device__ __forceinline__ static void finish(const Params& p, const BlockSm90<layout>& block,
                                                typename Epilogue::Accumulators& acc,
                                                const AffineColumn* affine, const ClusterTile& tile) {
    const int warp = block.consumer_warp();
    unsigned char* box = block.storage.panel + warp * layout.warp_panel_bytes();
    const std::int64_t row = block.first_row(tile) + warp * WgmmaFragment::warp_rows;
    const std::int64_t column = block.first_column(tile);
    const bool inside = StoreSm90<layout, U>::is_inside(p.y, row, column);
    RowPartial partial[2];
    Epilogue::to_streamed_softmax(acc, affine, block.lane, partial, box, [&](int i) {
      StoreSm90<layout, U>::box_by_lanes(p.y, box, row, column + i * WarpPanel::box_columns, inside,
                                         block.lane);
    });
    Epilogue::publish(partial, p.partials, p.schedule.grid.tiles_n, tile.n, row, p.y.matrix.rows, block.lane);
  }
};

/// Ends a tile with logits in log2 units; y is float.
template <Sm90Layout layout>
struct LogitsTileSm90 {
  template <class Params, int count>
  __device__ __forceinline__ static void finish(const Params& p, const BlockSm90<layout>& block,
                                                float (&acc)[count], const AffineColumn* affine,
                                                const ClusterTile& tile) {
    const int warp = block.consumer_warp();
    EpilogueSm90<layout, Dtype::f32>::apply_affine(acc, affine, block.lane);
    StoreF32Sm90<layout, layout.panel_bytes()>::tile(p.y, block.storage.panel, acc,
                                                     block.first_row(tile) + warp * WgmmaFragment::warp_rows,
                                                     block.first_column(tile), warp, block.lane);
  }
};

/// Ends a tile of training mode with x W^T and the moments of its columns; y is float. The moments take turns
/// in two parts of the panel, so that one barrier a tile is enough; y has the rest.
template <Sm90Layout layout>
struct MomentsTileSm90 {
  using Moments = ColumnMomentsSm90<layout>;
  static constexpr int moments_bytes = 2 * static_cast<int>(sizeof(typename Moments::SharedStorage));
  static_assert(moments_bytes <= layout.panel_bytes());

  template <class Params, int count>
  __device__ __forceinline__ static void finish(const Params& p, const BlockSm90<layout>& block,
                                                float (&acc)[count], const ClusterTile& tile, int turn) {
    const int warp = block.consumer_warp();
    const std::int64_t first_row = block.first_row(tile), column = block.first_column(tile),
                       left = p.y.matrix.rows - first_row;
    const int rows = left < layout.tile.m ? static_cast<int>(left) : layout.tile.m;
    auto& storage = reinterpret_cast<typename Moments::SharedStorage*>(block.storage.panel)[turn % 2];
    StoreF32Sm90<layout, layout.panel_bytes() - moments_bytes>::tile(
        p.y, block.storage.panel + moments_bytes, acc, first_row + warp * WgmmaFragment::warp_rows, column,
        warp, block.lane);
    Moments::reduce_warp(acc, storage, rows, warp, block.lane);
    block.consumer_barrier();
    if (rows > 0) {
      Moments::store(storage, rows, p.moments + first_row / layout.tile.m * p.y.matrix.columns + column,
                     p.y.matrix.columns - column, warp * 32 + block.lane);
    }
  }
};

/// Codes need no panel: a box is stored as soon as it is finished.
template <class Policy, class U>
inline constexpr Sm90Layout linear_softmax_sm90_layout = sizeof(U) == 2 ? Policy::spec.sm90_streaming()
                                                                        : Policy::spec.sm90();

/// Grid: any multiple of the cluster size; the schedule's `clusters` says how many there are. Shared memory:
/// linear_softmax_sm90_layout<Policy, U>.shared_bytes(). U is 16-bit for codes and partials, float for
/// logits, and in training mode for x W^T.
template <class Policy, class U, Mode mode>
__global__ void __launch_bounds__(Policy::spec.block_threads, 1) linear_softmax_sm90_kernel(
    const __grid_constant__ LinearSoftmaxSm90Params<DeviceElement<Policy::spec.dtype>, U, PersistentSchedule>
        p) {
  constexpr Sm90Layout layout = linear_softmax_sm90_layout<Policy, U>;
  if constexpr (ptx::compiled_for_sm90a) {
    extern __shared__ __align__(16) unsigned char dynamic[];
    const BlockSm90<layout> block(dynamic, p);
    if (block.warpgroup == 0) {
      ptx::release_registers<layout.producer_registers()>();
      if constexpr (mode == Mode::training) {
        // Here, a kernel ahead of the one whose threads read it.
        if (blockIdx.x == 0 && threadIdx.x == 0 && p.update.batches_tracked != nullptr) {
          ++*p.update.batches_tracked;
        }
        if constexpr (block.prepared) {
          block.produce_affine(p, [](std::int64_t) { return Affine{}; });
        } else {
          block.produce(p, [](const ClusterTile&, int) {});
        }
      } else {
        block.produce(p);
      }
    } else {
      ptx::acquire_registers<layout.consumer_registers()>();
      using Mainloop = typename EngineSm90<layout>::Mainloop;
      typename Mainloop::Ring::State state;
      typename BlockSm90<layout>::AffineLoader::Ring::State affine_state;
      typename Mainloop::Accumulators acc;
      ClusterTile tile;
#pragma unroll 1
      for (int turn = 0; p.schedule.get(block.cluster, turn, tile); ++turn) {
        Mainloop::multiply(block.storage.operands, block.ring, state, p.k_steps, block.warpgroup - 1,
                           block.lane, acc);
        if constexpr (mode == Mode::training) {
          if constexpr (block.prepared) {
            block.affine_ring.wait_full(affine_state);
            block.template unscale<mode>(p, acc, tile, affine_state.stage);
            block.affine_ring.arrive_empty(affine_state);
            affine_state.advance();
          }
          MomentsTileSm90<layout>::finish(p, block, acc, tile, turn);
        } else {
          using TileEnd =
              std::conditional_t<dtype_of<U> == Dtype::f32, LogitsTileSm90<layout>, CodedTileSm90<layout, U>>;
          block.affine_ring.wait_full(affine_state);
          if constexpr (block.prepared) block.template unscale<mode>(p, acc, tile, affine_state.stage);
          TileEnd::finish(p, block, acc, block.storage.affine.column[affine_state.stage], tile);
          block.affine_ring.arrive_empty(affine_state);
          affine_state.advance();
        }
      }
      ptx::grid_dependency_trigger();
      StoreSm90<layout, U>::wait_panel_read(block.lane);  // of a float y
    }
    BlockSm90<layout>::leave();
  } else {
    not_compiled_for_sm90a();
  }
}

}  // namespace masthead::inline v0

#pragma once
/// The tile end of training mode, and the moments of a tile's columns.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/epilogue/block_sm90.cuh"
#include "masthead/epilogue/store_f32.cuh"
#include "masthead/reduce/column_moments.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Writes the moments of the tile's columns over its rows to row tile.m * cluster_m + CTA rank of `moments`,
/// which has a row of features per tile row. All consumer threads call it, and it synchronizes them.
/// `scratch` is shared memory that they have done with; behind a barrier of theirs it may be used again.
template <Sm90Layout layout, class Params, class Element>
__device__ __forceinline__ void publish_moments(const BlockSm90<layout>& block, const Params& p,
                                                Element* moments, const float (&acc)[layout.accumulators()],
                                                typename ColumnMomentsSm90<layout>::SharedStorage& scratch,
                                                const ClusterTile& tile) {
  using Moments = ColumnMomentsSm90<layout>;
  const std::int64_t first_row = block.first_row(tile), column = block.first_column(tile),
                     left = p.y.matrix.rows - first_row, features = p.y.matrix.columns;
  const int rows = left < layout.tile.m ? static_cast<int>(left) : layout.tile.m;
  const int warp = block.consumer_warp();
  Moments::reduce_warp(acc, scratch, rows, warp, block.lane);
  block.consumer_barrier();
  if (rows > 0) {
    Moments::store(scratch, rows, moments + first_row / layout.tile.m * features + column, features - column,
                   warp * 32 + block.lane);
  }
}

/// Ends a tile of training mode with x W^T and the moments of its columns; y is float. The moments take turns
/// in two places of the staging tiles, so that one barrier per tile is enough; y has the rest.
template <class Policy_>
struct MomentsEnd {
  using Policy = Policy_;
  using Output = float;
  static constexpr Mode mode = Mode::training;
  static constexpr Sm90Layout layout = sm90_layout(Policy::spec);
  using Scratch = typename ColumnMomentsSm90<layout>::SharedStorage;
  static constexpr int moments_bytes = 2 * static_cast<int>(sizeof(Scratch));
  static_assert(moments_bytes <= layout.staging_bytes());

  template <class Params, int count>
  __device__ __forceinline__ static void finish(const BlockSm90<layout>& block, const Params& p,
                                                float (&acc)[count], const AffineColumn*,
                                                const ClusterTile& tile, int turn) {
    const int warp = block.consumer_warp();
    StoreF32Sm90<layout, layout.staging_bytes() - moments_bytes>::tile(
        p.y, block.storage.staging + moments_bytes, acc,
        block.first_row(tile) + warp * WgmmaFragment::warp_rows, block.first_column(tile), warp, block.lane);
    publish_moments(block, p, p.moments, acc, reinterpret_cast<Scratch*>(block.storage.staging)[turn % 2],
                    tile);
  }
};

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

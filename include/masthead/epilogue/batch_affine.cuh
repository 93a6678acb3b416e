#pragma once
/// Training mode inside a resident grid: the affine and the running statistics that the moments of a batch
/// give.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include "masthead/epilogue/block_sm90.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// The affine of the features of a block's tiles, computed by its consumer threads.
template <Sm90Layout layout>
class BatchAffineSm90 {
  static constexpr int threads = layout.consumer_warps() * 32;
  static constexpr int columns_per_tile = static_cast<int>(ceil_div(layout.tile.n, threads));
  static constexpr int columns = resident_tiles * columns_per_tile;

 public:
  /// Reads the parameters of the features of `tile`. All consumer threads construct it.
  template <class Params>
  __device__ __forceinline__ BatchAffineSm90(const BlockSm90<layout>& block, const Params& p,
                                             const ClusterTile (&tile)[resident_tiles])
      : thread_(block.consumer_warp() * 32 + block.lane) {
#pragma unroll
    for (int c = 0; c < columns; ++c) {
      const std::int64_t n = block.first_column(tile[c / columns_per_tile]) + column_of(c);
      inside_[c] = n < p.y.matrix.columns && column_of(c) < layout.tile.n;
      n_[c] = static_cast<int>(inside_[c] ? n : 0);
      slope_[c] = BatchSlope::of(p.parameters, n_[c]);
    }
  }

  /// Writes `affine`, once the moments of all tiles are in memory. A barrier of the consumers then makes it
  /// visible.
  // Features beyond the last get -inf: they can be neither maximum nor part of a sum.
  template <class Params>
  __device__ __forceinline__ void write(
      const Params& p, typename BlockSm90<layout>::AffineLoader::SharedStorage& affine) const {
    const ColumnMoment* tiles[columns];
    Moments<double> total[columns];
#pragma unroll
    for (int c = 0; c < columns; ++c) tiles[c] = p.tile_moments + n_[c];
    const auto rows = static_cast<int>(p.y.matrix.rows);
    batch_moments<layout.tile.m, 8>(tiles, p.y.matrix.columns, rows, total);
#pragma unroll
    for (int c = 0; c < columns; ++c) {
      RoundedAffine<float> column =
          slope_[c].template affine<float>(total[c], p.parameters.epsilon).template rounded<float>();
      if (!inside_[c]) column = {0.0f, negative_infinity<float>};
      if (column_of(c) < layout.tile.n) {
        affine.column[c / columns_per_tile][column_of(c)] = {column.multiplier, column.addend};
        affine.center[c / columns_per_tile][column_of(c)] = column.center;
      }
    }
  }

 private:
  __device__ int column_of(int c) const { return c % columns_per_tile * threads + thread_; }

  BatchSlope slope_[columns];
  int n_[columns];
  bool inside_[columns];
  int thread_;
};

/// Updates the running statistics of the features of a block's tiles, which the blocks of a column of tiles
/// share out. All 128 threads of the producer warpgroup call it.
template <Sm90Layout layout, class Params>
__device__ __forceinline__ void update_running_of(const BlockSm90<layout>& block, const Params& p,
                                                  double factor) {
  const auto rows = static_cast<int>(p.y.matrix.rows), features = static_cast<int>(p.y.matrix.columns);
  ClusterTile tile;
  p.schedule.get(block.cluster, 0, tile);
  const int blocks = static_cast<int>(ceil_div(rows, layout.tile.m)),
            share = static_cast<int>(block.first_row(tile)) / layout.tile.m;
  if (share >= blocks) return;
#pragma unroll 1
  for (int i = share * 128 + static_cast<int>(threadIdx.x); i < resident_tiles * layout.tile.n;
       i += blocks * 128) {
    const bool exists = p.schedule.get(block.cluster, i / layout.tile.n, tile);
    const int n = static_cast<int>(block.first_column(tile)) + i % layout.tile.n;
    if (!exists || n >= features) continue;
    const ColumnMoment* tiles[] = {p.tile_moments + n};
    Moments<double> total[1];
    batch_moments<layout.tile.m, 2>(tiles, features, rows, total);
    update_running(p.update, p.parameters, n, total[0], factor);
  }
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

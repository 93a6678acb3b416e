#pragma once
/// Which tiles a cluster computes, and in which order.
///
/// 32-bit throughout: a kernel divides by these numbers between tiles, and registers are what its epilogue is
/// short of. 2^31 tiles are 7e13 outputs.

#include <cstdint>

#include "masthead/core/integer.hpp"

namespace masthead::inline v0::detail {

/// The place of a cluster's tile: its m-block and its column of tiles.
struct ClusterTile {
  int m;
  int n;
};

/// The output as tiles of a cluster's `cluster_m` stacked blocks: (m_blocks, tiles_n).
struct ClusterGrid {
  int m_blocks;  ///< ceil(batch / (tile_m * cluster_m))
  int tiles_n;

  /// The grid of an output of (batch, out_features). The caller has checked that there are fewer than 2^31
  /// tiles.
  MASTHEAD_HOST_DEVICE static constexpr ClusterGrid of(std::int64_t batch, std::int64_t out_features,
                                                       int tile_m, int tile_n, int cluster_m) {
    return {static_cast<int>(ceil_div(batch, static_cast<std::int64_t>(tile_m) * cluster_m)),
            static_cast<int>(ceil_div(out_features, tile_n))};
  }
  MASTHEAD_HOST_DEVICE constexpr int size() const { return m_blocks * tiles_n; }
};

/// The schedule of any number of tiles over any number of clusters: cluster c takes every `clusters`-th tile
/// of a raster that walks bands of `raster_m_blocks` m-blocks, in each of them down a column before it moves
/// to the next (as `Raster` does, for the same reasons). In the last band the last `split_columns` columns
/// are walked in two halves, first those of the upper m-blocks, then those of the lower: rows of the upper
/// half are then complete while the lower half still has work, at the price of reading those columns' rows of
/// W twice.
struct PersistentSchedule {
  ClusterGrid grid;
  int clusters;
  int raster_m_blocks = 8;
  int split_columns = 0;

  /// Whether `cluster` has a `turn`-th tile.
  MASTHEAD_HOST_DEVICE constexpr bool has(int cluster, int turn) const {
    return cluster + turn * clusters < grid.size();
  }
  /// The `turn`-th tile of `cluster`; false when it has no more.
  MASTHEAD_HOST_DEVICE constexpr bool get(int cluster, int turn, ClusterTile& tile) const {
    const int index = cluster + turn * clusters;
    if (index >= grid.size()) return false;
    const int band_size = raster_m_blocks * grid.tiles_n;
    int first_m = index / band_size * raster_m_blocks, within = index % band_size, first_n = 0;
    int rows = grid.m_blocks - first_m < raster_m_blocks ? grid.m_blocks - first_m : raster_m_blocks;
    if (first_m + rows == grid.m_blocks && within >= rows * (grid.tiles_n - split_columns)) {
      first_n = grid.tiles_n - split_columns;
      within -= rows * first_n;
      const int upper = (rows + 1) / 2;
      if (within < upper * split_columns) {
        rows = upper;
      } else {
        within -= upper * split_columns;
        first_m += upper;
        rows -= upper;
      }
    }
    tile = {first_m + within % rows, first_n + within / rows};
    return true;
  }

  /// Splits as many columns as give the lower half the work of the clusters' last `turns` turns.
  MASTHEAD_HOST_DEVICE constexpr void split_last_band(int turns) {
    const int lower = ((grid.m_blocks - 1) % raster_m_blocks + 1) / 2;
    if (lower == 0) return;
    const std::int64_t wanted =
                           (grid.size() - 1) % clusters + 1 + static_cast<std::int64_t>(turns - 1) * clusters,
                       columns = ceil_div(wanted, lower);
    split_columns = columns < grid.tiles_n ? static_cast<int>(columns) : grid.tiles_n;
  }
};

/// Tiles that a block can have on chip: one stashed beside the ring, and the last one, for which the ring is
/// free.
inline constexpr int resident_tiles = 2;

/// The schedule of all tiles on chip at once: a cluster's tiles all lie in one m-block, so that it merges its
/// own statistics, only the clusters of that m-block need each other's, and tiles that run at the same time
/// read the same W.
struct ResidentSchedule {
  ClusterGrid grid;
  int columns;  ///< clusters that share an m-block

  /// The schedule over at most `clusters` clusters with at most `tiles_per_cluster` tiles each, on as few
  /// clusters as that takes; columns = 0 when there is none.
  static constexpr ResidentSchedule of(ClusterGrid grid, int clusters, int tiles_per_cluster) {
    const int available = clusters / grid.m_blocks;
    if (available == 0) return {grid, 0};
    const auto turns = static_cast<int>(ceil_div(grid.tiles_n, available));
    if (turns > tiles_per_cluster) return {grid, 0};
    return {grid, static_cast<int>(ceil_div(grid.tiles_n, turns))};
  }
  MASTHEAD_HOST_DEVICE constexpr int clusters() const { return grid.m_blocks * columns; }

  MASTHEAD_HOST_DEVICE constexpr bool get(int cluster, int turn, ClusterTile& tile) const {
    tile = {cluster % grid.m_blocks, cluster / grid.m_blocks + turn * columns};
    return tile.n < grid.tiles_n;
  }
};

}  // namespace masthead::inline v0::detail

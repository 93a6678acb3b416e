#pragma once
/// Which tiles a cluster computes, and in which order.
///
/// 32-bit throughout: a kernel divides by these numbers between tiles, and registers are what its epilogue is
/// short of. 2^31 tiles are 7e13 outputs.

#include <cstdint>

#include "masthead/tile/raster.hpp"

namespace masthead::inline v0 {

/// A tile in units of (row groups, column blocks).
struct ClusterTile {
  int m;
  int n;
};

/// The output as tiles of a cluster's `cluster_m` stacked blocks: (row groups, column blocks).
struct ClusterGrid {
  int groups_m;  ///< ceil(batch / (tile_m * cluster_m))
  int tiles_n;

  /// The caller has checked that there are fewer than 2^31 tiles.
  MASTHEAD_HOST_DEVICE static constexpr ClusterGrid of(std::int64_t batch, std::int64_t out_features,
                                                       int tile_m, int tile_n, int cluster_m) {
    return {static_cast<int>(ceil_div(batch, std::int64_t{tile_m} * cluster_m)),
            static_cast<int>(ceil_div(out_features, tile_n))};
  }
  MASTHEAD_HOST_DEVICE constexpr int size() const { return groups_m * tiles_n; }
};

/// Any number of tiles over any number of clusters: cluster c takes every `clusters`-th tile of a raster that
/// walks `raster_groups` row groups down a column before it moves to the next (as `Raster` does, for the same
/// reasons).
struct PersistentSchedule {
  ClusterGrid grid;
  int clusters;
  int raster_groups = 8;

  /// The `turn`-th tile of `cluster`; false when it has no more.
  MASTHEAD_HOST_DEVICE constexpr bool get(int cluster, int turn, ClusterTile& tile) const {
    const int index = cluster + turn * clusters;
    if (index >= grid.size()) return false;
    const int band_size = raster_groups * grid.tiles_n;
    const int first_m = index / band_size * raster_groups, within = index % band_size;
    const int rows = grid.groups_m - first_m < raster_groups ? grid.groups_m - first_m : raster_groups;
    tile = {first_m + within % rows, within / rows};
    return true;
  }
};

/// Tiles a block can hold: one parked beside the ring, and the last one, for which the ring is free.
inline constexpr int resident_tiles = 2;

/// All tiles on chip at once: a cluster's tiles all lie in one row group, so that it merges its own
/// statistics, only the clusters of that row group need to meet, and tiles that run at the same time read
/// the same W.
struct ResidentSchedule {
  ClusterGrid grid;
  int columns;  ///< clusters that share a row group

  /// The schedule over at most `clusters` clusters with at most `tiles_per_cluster` tiles each, on as few
  /// clusters as that takes; columns = 0 when there is none.
  static constexpr ResidentSchedule of(ClusterGrid grid, int clusters, int tiles_per_cluster) {
    const int available = clusters / grid.groups_m;
    if (available == 0) return {grid, 0};
    const auto turns = static_cast<int>(ceil_div(grid.tiles_n, available));
    if (turns > tiles_per_cluster) return {grid, 0};
    return {grid, static_cast<int>(ceil_div(grid.tiles_n, turns))};
  }
  MASTHEAD_HOST_DEVICE constexpr int clusters() const { return grid.groups_m * columns; }

  MASTHEAD_HOST_DEVICE constexpr bool get(int cluster, int turn, ClusterTile& tile) const {
    tile = {cluster % grid.groups_m, cluster / grid.groups_m + turn * columns};
    return tile.n < grid.tiles_n;
  }
};

}  // namespace masthead::inline v0

#pragma once
/// Rows of the output that are finalised while later tiles are still being multiplied.

#include "masthead/tile/cluster_schedule.hpp"

namespace masthead::inline v0 {

/// The rows that a PersistentSchedule completes early, in sections of whole row groups; the rows after them
/// are left to the kernel that comes next. Section s is complete when all its tiles are.
struct EarlySections {
  int groups = 0;   ///< row groups that are finalised early: the first of the grid
  int section = 1;  ///< row groups of a section; the last one may have fewer
  int tiles_n = 0;
  int group_blocks = 0;  ///< blocks of a cluster
  int group_rows = 0;
  int last_blocks = 0;  ///< blocks that have a tile in the last turn of the schedule: the first of the grid

  /// No more than this many sections: one a lane.
  static constexpr int most = 32;

  /// Of a schedule for tiles of `tile_m` rows in clusters of `cluster_m`: all but the lower half of its last
  /// band, or all but that band where it is not split. Sections are whole bands, as many as keep to `most`.
  static constexpr EarlySections of(const PersistentSchedule& schedule, int tile_m, int cluster_m) {
    const int groups = schedule.grid.groups_m, band = schedule.raster_groups,
              last_band = (groups - 1) / band * band, rows = groups - last_band;
    const int early = last_band + (schedule.split_columns > 0 ? (rows + 1) / 2 : 0);
    const auto bands = static_cast<int>(ceil_div(groups, std::int64_t{band} * most));
    return {early == groups ? last_band : early,
            bands * band,
            schedule.grid.tiles_n,
            cluster_m,
            tile_m * cluster_m,
            ((schedule.grid.size() - 1) % schedule.clusters + 1) * cluster_m};
  }

  MASTHEAD_HOST_DEVICE constexpr int count() const { return (groups + section - 1) / section; }
  /// The section of row group m, `count()` or more when it is not finalised early.
  MASTHEAD_HOST_DEVICE constexpr int of(int m) const { return m < groups ? m / section : most; }
  MASTHEAD_HOST_DEVICE constexpr std::int64_t rows() const { return std::int64_t{groups} * group_rows; }
  MASTHEAD_HOST_DEVICE constexpr std::int64_t first_row(int s) const {
    return std::int64_t{s} * section * group_rows;
  }
  MASTHEAD_HOST_DEVICE constexpr int groups_in(int s) const {
    return groups - s * section < section ? groups - s * section : section;
  }
  MASTHEAD_HOST_DEVICE constexpr int rows_in(int s) const { return groups_in(s) * group_rows; }
  /// Tiles of blocks that complete section s.
  MASTHEAD_HOST_DEVICE constexpr unsigned blocks_in(int s) const {
    return static_cast<unsigned>(groups_in(s) * tiles_n * group_blocks);
  }
};

/// How far a section is, on the device. Zero when the GEMM starts.
struct alignas(8) SectionProgress {
  unsigned stored;   ///< of its blocks' tiles: codes and partials are in memory
  unsigned claimed;  ///< of its units of work, or of its rows where those are claimed whole
};

/// Rows in blocks of about the same number of columns. A unit of finalising is one block of one row.
struct FinaliseUnits {
  int blocks;       ///< of a row
  int columns;      ///< of all blocks but the last: a multiple of 512, so that each block starts with a part
  bool whole_rows;  ///< units are claimed by rows: of long ones the total costs as much as a block

  static constexpr FinaliseUnits of(std::int64_t columns, int most_columns) {
    const std::int64_t blocks = ceil_div(columns, most_columns);
    return {static_cast<int>(blocks), static_cast<int>(ceil_div(ceil_div(columns, blocks), 512) * 512),
            blocks > 4};
  }

  struct Unit {
    int row, block;
  };
  /// The `unit`-th of `rows` rows, in the order in which they are claimed.
  MASTHEAD_HOST_DEVICE constexpr Unit at(int unit, int rows) const {
    return whole_rows ? Unit{unit / blocks, unit % blocks} : Unit{unit % rows, unit / rows};
  }
  MASTHEAD_HOST_DEVICE constexpr int units_a_claim() const { return whole_rows ? blocks : 1; }
};

}  // namespace masthead::inline v0

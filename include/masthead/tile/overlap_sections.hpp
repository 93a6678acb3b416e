#pragma once
/// Overlapped normalization: which rows of the output are normalized under the mainloop of later tiles.

#include "masthead/tile/cluster_schedule.hpp"

namespace masthead::inline v0::detail {

/// The overlapped rows: those that a PersistentSchedule completes while it still has tiles to multiply, in
/// sections of whole m-blocks. The rows after them are left to the kernel that comes next. Section s is
/// complete when all its tiles are.
struct OverlapSections {
  int m_blocks = 0;      ///< overlapped m-blocks: the first of the grid
  int section = 1;       ///< m-blocks per section; the last one may have fewer
  int tiles_n = 0;       ///< columns of tiles
  int m_block_ctas = 0;  ///< blocks that share an m-block: those of a cluster
  int m_block_rows = 0;  ///< rows per m-block
  int last_blocks = 0;   ///< blocks that have a tile in the last turn of the schedule: the first of the grid

  /// The most sections there can be: one per lane.
  static constexpr int most = 32;

  /// The sections of a schedule for tiles of `tile_m` rows in clusters of `cluster_m`: all m-blocks but the
  /// lower half of its last band, or all but that band where it is not split. Sections are whole bands, as
  /// many as keep to `most`.
  static constexpr OverlapSections of(const PersistentSchedule& schedule, int tile_m, int cluster_m) {
    const int m_blocks = schedule.grid.m_blocks, band = schedule.raster_m_blocks,
              last_band = (m_blocks - 1) / band * band, rows = m_blocks - last_band;
    const int overlap = last_band + (schedule.split_columns > 0 ? (rows + 1) / 2 : 0);
    const auto bands = static_cast<int>(ceil_div(m_blocks, static_cast<std::int64_t>(band) * most));
    return {overlap == m_blocks ? last_band : overlap,
            bands * band,
            schedule.grid.tiles_n,
            cluster_m,
            tile_m * cluster_m,
            ((schedule.grid.size() - 1) % schedule.clusters + 1) * cluster_m};
  }

  MASTHEAD_HOST_DEVICE constexpr int count() const { return (m_blocks + section - 1) / section; }
  /// The section of m-block m, `count()` or more when it is not overlapped.
  MASTHEAD_HOST_DEVICE constexpr int of(int m) const { return m < m_blocks ? m / section : most; }
  MASTHEAD_HOST_DEVICE constexpr std::int64_t rows() const {
    return static_cast<std::int64_t>(m_blocks) * m_block_rows;
  }
  MASTHEAD_HOST_DEVICE constexpr std::int64_t first_row(int s) const {
    return static_cast<std::int64_t>(s) * section * m_block_rows;
  }
  MASTHEAD_HOST_DEVICE constexpr int m_blocks_in(int s) const {
    return m_blocks - s * section < section ? m_blocks - s * section : section;
  }
  MASTHEAD_HOST_DEVICE constexpr int rows_in(int s) const { return m_blocks_in(s) * m_block_rows; }
  /// The number of blocks' tiles that complete section s.
  MASTHEAD_HOST_DEVICE constexpr unsigned blocks_in(int s) const {
    return static_cast<unsigned>(m_blocks_in(s) * tiles_n * m_block_ctas);
  }
};

/// The progress of a section, in device memory. Zero when the GEMM starts.
struct alignas(8) SectionProgress {
  unsigned stored;   ///< its blocks' tiles whose quantized logits and softmax partials are in memory
  unsigned claimed;  ///< its tasks that are claimed, or its rows where those are claimed whole
};

/// Rows to normalize, cut into blocks of about the same number of columns. A task is one block of one row.
struct NormalizeTasks {
  int blocks;       ///< per row
  int columns;      ///< of all blocks but the last: a multiple of 512, so that each starts with a column part
  bool whole_rows;  ///< tasks are claimed by rows: the total of a long one costs as much as a block

  static constexpr NormalizeTasks of(std::int64_t columns, int most_columns) {
    const std::int64_t blocks = ceil_div(columns, most_columns);
    return {static_cast<int>(blocks), static_cast<int>(ceil_div(ceil_div(columns, blocks), 512) * 512),
            blocks > 4};
  }

  struct Task {
    int row, block;
  };
  /// The `task`-th task of `rows` rows, in the order in which they are claimed.
  MASTHEAD_HOST_DEVICE constexpr Task at(int task, int rows) const {
    return whole_rows ? Task{task / blocks, task % blocks} : Task{task % rows, task / rows};
  }
  MASTHEAD_HOST_DEVICE constexpr int tasks_per_claim() const { return whole_rows ? blocks : 1; }
};

}  // namespace masthead::inline v0::detail

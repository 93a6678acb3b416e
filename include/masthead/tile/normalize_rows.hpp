#pragma once
/// How rows of logits are cut into column parts, and how the kernels that normalize them share the columns.

#include <cstdint>

#include "masthead/core/integer.hpp"

namespace masthead::inline v0::detail {

/// Columns of a column part, which share an integer max, in the tiles of m128n256 and in a cluster of the
/// swap-AB engine: what gives both the same bits.
inline constexpr int softmax_part_columns = 256;

/// The number of column parts of a row.
constexpr std::int64_t softmax_parts(std::int64_t out_features) {
  return ceil_div(out_features, softmax_part_columns);
}

/// Threads of a block that normalizes quantized logits.
inline constexpr int normalize_threads = 256;
/// Columns of a row that one block normalizes: 4 vectors of 16 bytes per thread.
inline constexpr int normalize_columns = 8192;
/// Blocks per row. The last one takes up to one element more per thread, so that a few columns cost no block.
MASTHEAD_HOST_DEVICE constexpr std::int64_t normalize_blocks(std::int64_t columns) {
  return columns <= normalize_columns ? 1 : ceil_div(columns - normalize_threads, normalize_columns);
}

/// A row in the registers of one block: a warp takes column parts of 256 columns, which share a shift.
struct NormalizeLogits {
  static constexpr int threads = 512, warps = threads / 32;
  static constexpr int part_columns = 256, lane_columns = part_columns / 32;
  /// Column parts per warp, at most; a kernel is compiled for 2 or 4.
  static constexpr int parts_per_warp = 4;
  /// Columns of a row, at most.
  static constexpr std::int64_t columns = static_cast<std::int64_t>(parts_per_warp) * warps * part_columns;
};

}  // namespace masthead::inline v0::detail

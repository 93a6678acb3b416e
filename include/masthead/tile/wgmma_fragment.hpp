#pragma once
/// Which outputs of a warpgroup's m64 x n tile a thread holds, and where they go in a staging tile.

#include "masthead/core/config.hpp"
#include "masthead/tile/swizzle.hpp"
#include "masthead/tile/tile.hpp"

namespace masthead::inline v0::detail {

/// Accumulators of wgmma m64nNk* (PTX ISA, "Register fragments for wgmma.mma_async", matrix D): a warp has 16
/// rows, a thread two of them, 8 apart; of every 8 columns it has 2 adjacent ones.
struct WgmmaFragment {
  static constexpr int warp_rows = 16;

  /// The accumulator of block `j` of 8 columns, row half `half`, column `pair` (0 or 1).
  MASTHEAD_HOST_DEVICE static constexpr int slot(int j, int half, int pair) {
    return 4 * j + 2 * half + pair;
  }
  /// Where that accumulator lies in the warp's 16 x n outputs.
  MASTHEAD_HOST_DEVICE static constexpr Coordinate at(int lane, int j, int half, int pair) {
    return {lane / 4 + 8 * half, 8 * j + 2 * (lane % 4) + pair};
  }
};

/// A staging tile of 16-bit values: a warp's 16 x n outputs in shared memory, in boxes of 16 rows x 64
/// columns in the 128-byte swizzle, as TMA stores them.
struct StagingTile {
  static constexpr int box_columns = swizzle_row_bytes / 2;
  static constexpr int box_bytes = WgmmaFragment::warp_rows * swizzle_row_bytes;

  MASTHEAD_HOST_DEVICE static constexpr int bytes(int columns) { return columns / box_columns * box_bytes; }

  MASTHEAD_HOST_DEVICE static constexpr int offset(int row, int column) {
    return column / box_columns * box_bytes + swizzle_128b(row, column % box_columns * 2);
  }

  /// stmatrix.x4 stores the column blocks j and j + 1 (j even), rows 0-7 and 8-15 of each, in the register
  /// order (j, 0-7), (j, 8-15), (j + 1, 0-7), (j + 1, 8-15). This is the address lane `lane` supplies.
  MASTHEAD_HOST_DEVICE static constexpr int stmatrix_offset(int lane, int j) {
    const int matrix = lane / 8;
    return offset(lane % 8 + 8 * (matrix % 2), 8 * (j + matrix / 2));
  }
};

/// A staging tile of floats: a warp's 16 x n outputs in shared memory, in boxes of 16 rows x 32 columns in
/// the 128-byte swizzle, as TMA stores them.
struct StagingTileF32 {
  static constexpr int box_columns = swizzle_row_bytes / 4;
  static constexpr int box_bytes = WgmmaFragment::warp_rows * swizzle_row_bytes;
  static constexpr int box_blocks = box_columns / 8;

  MASTHEAD_HOST_DEVICE static constexpr int bytes(int columns) { return columns / box_columns * box_bytes; }

  MASTHEAD_HOST_DEVICE static constexpr int offset(int row, int column) {
    return column / box_columns * box_bytes + swizzle_128b(row, column % box_columns * 4);
  }

  /// The byte offset of the two adjacent columns of block j, of 8 columns, that a lane has in row half
  /// `half`.
  // Few addresses serve all blocks, the rest is immediate.
  MASTHEAD_HOST_DEVICE static constexpr int pair_offset(int lane, int j, int half) {
    return (offset(lane / 4, 2 * (lane % 4)) ^ (j % box_blocks * 32)) + j / box_blocks * box_bytes +
           half * swizzle_atom_bytes;
  }
};

}  // namespace masthead::inline v0::detail

#pragma once
/// How the SIMT engine spreads a tile over threads and lays it out in shared memory.

#include <cstdint>

#include "masthead/config.hpp"

namespace masthead::inline v0 {

/// A position inside a tile.
struct Coordinate {
  int row;
  int column;
};

/// A tile of m x n outputs over the lanes of `warps_m` x `warps_n` warps. A warp's lanes stand as 4 rows x 8
/// columns; a thread owns `thread_m` x `thread_n` outputs, interleaved over its warp's part of the tile:
/// output (i, j) of a thread is 4 rows (8 columns) away from output (i-1, j) ((i, j-1)), so that a warp's
/// loads and stores are adjacent.
struct SimtLayout {
  int warps_m, warps_n, thread_m, thread_n;

  friend constexpr bool operator==(const SimtLayout&, const SimtLayout&) = default;

  static constexpr int lanes_m = 4;
  static constexpr int lanes_n = 8;

  /// The split of m x n over `warps` warps with the squarest thread tile; all zero when there is none.
  static constexpr SimtLayout of(int m, int n, int warps) {
    SimtLayout best{};
    for (int warps_m = 1; warps_m <= warps; ++warps_m) {
      if (warps % warps_m != 0) continue;
      const int rows = lanes_m * warps_m, columns = lanes_n * (warps / warps_m);
      if (m % rows != 0 || n % columns != 0) continue;
      const SimtLayout layout{warps_m, warps / warps_m, m / rows, n / columns};
      // Operands read from shared memory per outer product: the squarest split reads fewest.
      if (best.warps_m == 0 || layout.thread_m + layout.thread_n < best.thread_m + best.thread_n)
        best = layout;
    }
    return best;
  }

  /// Where output (i, j) of `thread` lies in the tile. Lane bits alternate between n and m: with 16-byte
  /// reads, which are served a quarter-warp at a time, a quarter then spans 2 rows x 4 columns instead of 1
  /// x 8.
  MASTHEAD_HOST_DEVICE constexpr Coordinate at(int thread, int i, int j) const {
    const int warp = thread / 32, lane = thread % 32;
    const int lane_n = (lane & 1) | ((lane >> 1) & 2) | ((lane >> 2) & 4);
    const int lane_m = ((lane >> 1) & 1) | ((lane >> 2) & 2);
    return {(warp % warps_m * thread_m + i) * lanes_m + lane_m,
            (warp / warps_m * thread_n + j) * lanes_n + lane_n};
  }
};

/// Operand tiles in shared memory are (rows, k) with k contiguous and 16 bytes of padding a row: an odd
/// number of 16-byte units, so that 8 consecutive rows at one k lie in 8 different groups of 4 banks.
MASTHEAD_HOST_DEVICE constexpr int simt_row_pitch_bytes(int row_bytes) { return row_bytes + 16; }

}  // namespace masthead::inline v0

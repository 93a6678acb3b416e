#pragma once
/// Which outputs of a tile a thread of the SIMT engine holds.

#include "masthead/core/config.hpp"
#include "masthead/tile/tile.hpp"

namespace masthead::inline v0::detail {

/// A tile of m x n outputs over the lanes of `warps_m` x `warps_n` warps. A warp's lanes stand as 4 rows x 8
/// columns; a thread owns `thread_m` x `thread_n` outputs, interleaved over its warp's share of the tile:
/// output (i, j) of a thread is 4 rows (8 columns) away from output (i-1, j) ((i, j-1)), so that a warp's
/// loads and stores are adjacent.
struct SimtFragment {
  int warps_m, warps_n, thread_m, thread_n;

  friend constexpr bool operator==(const SimtFragment&, const SimtFragment&) = default;

  static constexpr int lanes_m = 4;
  static constexpr int lanes_n = 8;

  /// The split of m x n over `warps` warps with the squarest thread tile; all zero when there is none.
  static constexpr SimtFragment of(int m, int n, int warps) {
    SimtFragment best{};
    for (int warps_m = 1; warps_m <= warps; ++warps_m) {
      if (warps % warps_m != 0) continue;
      const int rows = lanes_m * warps_m, columns = lanes_n * (warps / warps_m);
      if (m % rows != 0 || n % columns != 0) continue;
      const SimtFragment layout{warps_m, warps / warps_m, m / rows, n / columns};
      // Operands read from shared memory per outer product: the squarest split reads fewest.
      if (best.warps_m == 0 || layout.thread_m + layout.thread_n < best.thread_m + best.thread_n)
        best = layout;
    }
    return best;
  }

  /// Where output (i, j) of `thread` lies in the tile. Lane bits alternate between n and m: with 16-byte
  /// reads, which are served a quarter-warp at a time, a quarter then spans 2 rows x 4 columns, not
  /// 1 x 8.
  MASTHEAD_HOST_DEVICE constexpr Coordinate at(int thread, int i, int j) const {
    const int warp = thread / 32, lane = thread % 32;
    const int lane_n = (lane & 1) | ((lane >> 1) & 2) | ((lane >> 2) & 4);
    const int lane_m = ((lane >> 1) & 1) | ((lane >> 2) & 2);
    return {(warp % warps_m * thread_m + i) * lanes_m + lane_m,
            (warp / warps_m * thread_n + j) * lanes_n + lane_n};
  }
};

}  // namespace masthead::inline v0::detail

#pragma once
/// Which outputs of a tile a thread of the swap-AB engine holds.

#include "masthead/core/config.hpp"
#include "masthead/tile/tile.hpp"

namespace masthead::inline v0::detail {

/// Accumulators of wgmma m64nNk* with features as the 64 rows of the instruction and rows of x as its
/// columns: a warp has 16 features, a thread two of them, 8 apart, and 2 adjacent rows of x of every 8. The 8
/// lanes of equal lane % 4 share their rows of x.
struct SwapAbFragment {
  static constexpr int warp_features = 16;

  /// The accumulator of feature half `half` and the thread's row number `i`.
  MASTHEAD_HOST_DEVICE static constexpr int slot(int i, int half) { return i / 2 * 4 + half * 2 + i % 2; }
  /// Where that accumulator lies: in the tile's rows of x, and in the warp's 16 features.
  MASTHEAD_HOST_DEVICE static constexpr Coordinate at(int lane, int i, int half) {
    return {i / 2 * 8 + lane % 4 * 2 + i % 2, lane / 4 + 8 * half};
  }
  /// The first of the thread's row numbers whose totals end in this lane when `rows` (a power of two >= 4) of
  /// them are reduced over the 8 lanes that share them, halving what a lane carries at every step.
  MASTHEAD_HOST_DEVICE static constexpr int owned(int lane, int rows) {
    const int octet = lane / 4, reversed = (octet & 1) << 2 | (octet & 2) | octet >> 2;
    return reversed * rows / 8;
  }
};

}  // namespace masthead::inline v0::detail

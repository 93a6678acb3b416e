#pragma once
/// How the transposed wgmma engine spreads a tile over warps, and which outputs a thread holds.

#include "masthead/dtype.hpp"
#include "masthead/tile/simt_layout.hpp"
#include "masthead/tile/swizzle.hpp"
#include "masthead/tile/tile.hpp"

namespace masthead::inline v0 {

/// Accumulators of wgmma m64nNk* with features as the 64 rows of the instruction and rows of x as its
/// columns: a warp has 16 features, a thread two of them, 8 apart, and 2 adjacent rows of x of every 8. The 8
/// lanes of equal lane % 4 share their rows of x.
struct TransposedFragment {
  static constexpr int warp_features = 16;

  /// The accumulator of feature half `half` and the thread's row number `i`.
  MASTHEAD_HOST_DEVICE static constexpr int index(int i, int half) { return i / 2 * 4 + half * 2 + i % 2; }
  /// Where it lies: in the tile's rows of x, and in the warp's 16 features.
  MASTHEAD_HOST_DEVICE static constexpr Coordinate at(int lane, int i, int half) {
    return {i / 2 * 8 + lane % 4 * 2 + i % 2, lane / 4 + 8 * half};
  }
  /// The first of the thread's row numbers whose totals end in this lane when `rows` (a power of two >= 4) of
  /// them are reduced over the 8 lanes that share them, halving what a lane carries at every step.
  MASTHEAD_HOST_DEVICE static constexpr int owned(int lane, int rows) {
    const int group = lane / 4, reversed = (group & 1) << 2 | (group & 2) | group >> 2;
    return reversed * rows / 8;
  }
};

/// A tile of a block with one producer warp and a consumer warpgroup for every 64 features.
struct Sm90TransposedLayout {
  Dtype dtype;
  Tile tile;   ///< m rows of x: 16, 32, 64 or 128; n features: 64 or 128; k: whole slices
  int stages;  ///< of tile.k each, in flight in shared memory

  friend constexpr bool operator==(const Sm90TransposedLayout&, const Sm90TransposedLayout&) = default;

  static constexpr int warpgroup_features = 64;
  /// Blocks whose features make a row, at most: a portable cluster.
  static constexpr int max_ranks = 8;

  MASTHEAD_HOST_DEVICE constexpr int consumer_warps() const {
    return tile.n / TransposedFragment::warp_features;
  }
  MASTHEAD_HOST_DEVICE constexpr int consumer_threads() const { return 32 * consumer_warps(); }
  MASTHEAD_HOST_DEVICE constexpr int block_threads() const { return consumer_threads() + 32; }
  /// Of a thread: 64 * tile.m / 128.
  MASTHEAD_HOST_DEVICE constexpr int accumulators() const { return tile.m / 2; }
  /// Rows of x a thread holds outputs of.
  MASTHEAD_HOST_DEVICE constexpr int thread_rows() const { return tile.m / 4; }
  /// In-features of a slice, which spans one row of the swizzle.
  MASTHEAD_HOST_DEVICE constexpr int slice_k() const {
    return swizzle_row_bytes / (dtype == Dtype::f32 ? 4 : 2);
  }
  /// A stage's slices share its barriers: with 16 rows of x, two are quicker than one.
  MASTHEAD_HOST_DEVICE constexpr int slices() const { return tile.k / slice_k(); }
  /// Of a slice.
  MASTHEAD_HOST_DEVICE constexpr int x_bytes() const { return tile.m * swizzle_row_bytes; }
  MASTHEAD_HOST_DEVICE constexpr int w_bytes() const { return tile.n * swizzle_row_bytes; }
  MASTHEAD_HOST_DEVICE constexpr int stage_bytes() const { return slices() * (x_bytes() + w_bytes()); }
  /// Slices of W that a block brings to L2 before its turn, at most: 96 KB, about what memory delivers to a
  /// block while another kernel ends.
  MASTHEAD_HOST_DEVICE constexpr int warm_slices() const { return 96 * 1024 / w_bytes(); }
  /// In-features one wgmma multiplies: 32 bytes.
  MASTHEAD_HOST_DEVICE constexpr int instruction_k() const { return dtype == Dtype::f32 ? 8 : 16; }
  /// Features of a row that one cluster covers.
  MASTHEAD_HOST_DEVICE constexpr int cluster_features() const { return max_ranks * tile.n; }

  /// Dynamic shared memory of a block: stages, the rows' parts of each warp and each block and their totals,
  /// barriers in multiples of 1024 bytes, and 1008 more to align their start, which is a multiple of 16.
  MASTHEAD_HOST_DEVICE constexpr int shared_bytes() const {
    const int exchange = (consumer_warps() + max_ranks + 1) * tile.m * 8, barriers = 2 * 8 * stages + 4 * 8;
    return (stages * stage_bytes() + exchange + barriers + 1023) / 1024 * 1024 + 1008;
  }
};

}  // namespace masthead::inline v0

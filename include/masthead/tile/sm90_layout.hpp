#pragma once
/// How the wgmma engine spreads a tile over warpgroups and lays it out in shared memory.

#include <cstdint>

#include "masthead/dtype.hpp"
#include "masthead/tile/swizzle.hpp"
#include "masthead/tile/tile.hpp"
#include "masthead/tile/wgmma_fragment.hpp"

namespace masthead::inline v0 {

/// A tile of a block with one producer warpgroup and a consumer warpgroup for every 64 rows.
struct Sm90Layout {
  Dtype dtype;
  Tile tile;
  int stages;     ///< slices of k in flight in shared memory
  int cluster_m;  ///< blocks of a cluster, stacked along the batch; each loads 1/cluster_m of their tile of W
  Product product = Product::plain;
  bool whole_panel = true;  ///< room for one tile as 16-bit values, or else for one box a warp

  friend constexpr bool operator==(const Sm90Layout&, const Sm90Layout&) = default;

  static constexpr int warpgroup_threads = 128;
  static constexpr int warpgroup_rows = 64;

  /// Of what wgmma multiplies.
  MASTHEAD_HOST_DEVICE constexpr int element_bytes() const {
    if (is_prepared(product)) return part_element_bytes(product);
    return dtype == Dtype::f64 ? 8 : dtype == Dtype::f32 ? 4 : 2;
  }
  /// Of what wgmma multiplies; f32 is tf32.
  MASTHEAD_HOST_DEVICE constexpr Dtype multiplied_dtype() const {
    return has_f16_parts(product) ? Dtype::f16 : product == Product::e4m3 ? Dtype::e4m3 : dtype;
  }
  MASTHEAD_HOST_DEVICE constexpr int parts() const { return parts_of(product); }
  MASTHEAD_HOST_DEVICE constexpr int consumer_warpgroups() const { return tile.m / warpgroup_rows; }
  MASTHEAD_HOST_DEVICE constexpr int consumer_warps() const { return 4 * consumer_warpgroups(); }
  MASTHEAD_HOST_DEVICE constexpr int block_threads() const {
    return warpgroup_threads * (1 + consumer_warpgroups());
  }
  /// Of a thread: 64 * tile.n / 128.
  MASTHEAD_HOST_DEVICE constexpr int accumulators() const { return tile.n / 2; }
  MASTHEAD_HOST_DEVICE constexpr int x_bytes() const { return parts() * tile.m * swizzle_row_bytes; }
  MASTHEAD_HOST_DEVICE constexpr int w_bytes() const { return parts() * tile.n * swizzle_row_bytes; }
  MASTHEAD_HOST_DEVICE constexpr int w_slice_rows() const { return tile.n / cluster_m; }
  MASTHEAD_HOST_DEVICE constexpr int stage_bytes() const { return x_bytes() + w_bytes(); }
  /// One tile as 16-bit values, or some boxes of floats; half of that in f16x3: room for the moments of the
  /// tile's columns.
  MASTHEAD_HOST_DEVICE constexpr int panel_bytes() const { return consumer_warps() * warp_panel_bytes(); }
  MASTHEAD_HOST_DEVICE constexpr int warp_panel_bytes() const {
    return whole_panel ? WarpPanel::bytes(tile.n) / (product == Product::f16x3 ? 2 : 1)
                       : WarpPanel::box_bytes;
  }
  /// Whether the ring has room for one staged tile and half of the raw sums of another, as training mode in
  /// one kernel asks.
  MASTHEAD_HOST_DEVICE constexpr bool parks_sums() const {
    return 2 * panel_bytes() <= stages * stage_bytes();
  }
  /// A feature's affine; f16 and f16x3 keep the powers of two that undo its scaling beside it.
  MASTHEAD_HOST_DEVICE constexpr int affine_bytes() const { return has_f16_parts(product) ? 16 : 8; }
  /// In-features one wgmma multiplies: 32 bytes.
  MASTHEAD_HOST_DEVICE constexpr int instruction_k() const { return 32 / element_bytes(); }

  /// Stages of the ring that carries each tile's affine.
  static constexpr int affine_stages = 2;
  /// Dynamic shared memory of a block: stages, a panel, the affine's ring and the barriers in multiples of
  /// 1024 bytes, and 1008 more to align their start, which is a multiple of 16.
  MASTHEAD_HOST_DEVICE constexpr int shared_bytes() const {
    const int affine = affine_stages * tile.n * affine_bytes(), barriers = 2 * 8 * (stages + affine_stages);
    return (stages * stage_bytes() + panel_bytes() + affine + barriers + 1023) / 1024 * 1024 + 1008;
  }

  /// Registers a thread after setmaxnreg. The warpgroups share what the block starts with: 3 * 168 = 40 + 2 *
  /// 232 with two consumers, 2 * 240 with one.
  MASTHEAD_HOST_DEVICE constexpr int producer_registers() const {
    return consumer_warpgroups() == 1 ? 64 : 40;
  }
  MASTHEAD_HOST_DEVICE constexpr int consumer_registers() const {
    return consumer_warpgroups() == 1 ? 240 : 232;
  }
};

}  // namespace masthead::inline v0

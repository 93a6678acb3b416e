#pragma once
/// The wgmma engine of sm_90: how it lays a tile out, what it asks of a policy, and the policies it is
/// shipped with.

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "masthead/core/integer.hpp"
#include "masthead/policy/engine_traits.hpp"
#include "masthead/policy/limits.hpp"
#include "masthead/policy/spec.hpp"
#include "masthead/tile/swizzle.hpp"
#include "masthead/tile/wgmma_fragment.hpp"

namespace masthead::inline v0::detail {

/// How the wgmma engine lays out the tile of a block with one producer warpgroup and a consumer warpgroup for
/// every 64 rows.
struct Sm90Layout {
  Dtype dtype;
  Tile tile;
  int stages;     ///< slices of k in flight in shared memory
  int cluster_m;  ///< blocks of a cluster, stacked along the batch; each loads 1/cluster_m of their tile of W
  MathMode math_mode = MathMode::plain;
  bool whole_staging = true;  ///< room for one tile as 16-bit values, or else for one box per warp

  friend constexpr bool operator==(const Sm90Layout&, const Sm90Layout&) = default;

  static constexpr int warpgroup_threads = 128;
  static constexpr int warpgroup_rows = 64;

  /// Bytes of an element as wgmma multiplies it.
  MASTHEAD_HOST_DEVICE constexpr int element_bytes() const {
    if (is_packed(math_mode)) return part_element_bytes(math_mode);
    return dtype == Dtype::f64 ? 8 : dtype == Dtype::f32 ? 4 : 2;
  }
  /// The dtype that wgmma multiplies; f32 is tf32.
  MASTHEAD_HOST_DEVICE constexpr Dtype multiplied_dtype() const {
    return has_f16_parts(math_mode) ? Dtype::f16 : math_mode == MathMode::e4m3 ? Dtype::e4m3 : dtype;
  }
  MASTHEAD_HOST_DEVICE constexpr int parts() const { return parts_of(math_mode); }
  MASTHEAD_HOST_DEVICE constexpr int consumer_warpgroups() const { return tile.m / warpgroup_rows; }
  MASTHEAD_HOST_DEVICE constexpr int consumer_warps() const { return 4 * consumer_warpgroups(); }
  MASTHEAD_HOST_DEVICE constexpr int block_threads() const {
    return warpgroup_threads * (1 + consumer_warpgroups());
  }
  /// Accumulators per thread: 64 * tile.n / 128.
  MASTHEAD_HOST_DEVICE constexpr int accumulators() const { return tile.n / 2; }
  MASTHEAD_HOST_DEVICE constexpr int x_bytes() const { return parts() * tile.m * swizzle_row_bytes; }
  MASTHEAD_HOST_DEVICE constexpr int w_bytes() const { return parts() * tile.n * swizzle_row_bytes; }
  MASTHEAD_HOST_DEVICE constexpr int w_slice_rows() const { return tile.n / cluster_m; }
  MASTHEAD_HOST_DEVICE constexpr int stage_bytes() const { return x_bytes() + w_bytes(); }
  /// Bytes of the staging tiles of all warps: one tile as 16-bit values, or some boxes of floats; half of
  /// that in f16x3: room for the moments of the tile's columns.
  MASTHEAD_HOST_DEVICE constexpr int staging_bytes() const { return consumer_warps() * warp_staging_bytes(); }
  MASTHEAD_HOST_DEVICE constexpr int warp_staging_bytes() const {
    return whole_staging ? StagingTile::bytes(tile.n) / (math_mode == MathMode::f16x3 ? 2 : 1)
                         : StagingTile::box_bytes;
  }
  /// Whether the ring has room for one staged tile and half of the raw sums of another, as the resident
  /// training path asks.
  MASTHEAD_HOST_DEVICE constexpr bool stashes_sums() const {
    return 2 * staging_bytes() <= stages * stage_bytes();
  }
  /// Bytes of a feature's affine with its center; in f16 and f16x3 the powers of two that dequantize the
  /// feature lie beside it.
  MASTHEAD_HOST_DEVICE constexpr int affine_bytes() const { return has_f16_parts(math_mode) ? 20 : 12; }
  /// In-features that one wgmma multiplies: 32 bytes.
  MASTHEAD_HOST_DEVICE constexpr int instruction_k() const { return 32 / element_bytes(); }

  /// Stages of the ring that carries each tile's affine.
  static constexpr int affine_stages = 2;
  /// Bytes of dynamic shared memory of a block: stages, staging tiles, the affine's ring and the barriers in
  /// multiples of 1024 bytes, and 1008 more to align their start, which is a multiple of 16.
  MASTHEAD_HOST_DEVICE constexpr int shared_bytes() const {
    const int affine = affine_stages * tile.n * affine_bytes(), barriers = 2 * 8 * (stages + affine_stages);
    return (stages * stage_bytes() + staging_bytes() + affine + barriers + 1023) / 1024 * 1024 + 1008;
  }

  /// Registers per thread after setmaxnreg. The warpgroups share what the block starts with: 3 * 168 = 40 + 2
  /// * 232 with two consumers, 2 * 240 with one.
  MASTHEAD_HOST_DEVICE constexpr int producer_registers() const {
    return consumer_warpgroups() == 1 ? 64 : 40;
  }
  MASTHEAD_HOST_DEVICE constexpr int consumer_registers() const {
    return consumer_warpgroups() == 1 ? 240 : 232;
  }
};

MASTHEAD_HOST_DEVICE constexpr Sm90Layout sm90_layout(const PolicySpec& p) {
  return {p.dtype, p.tile, p.stages, p.cluster_m, p.math_mode};
}

/// The layout of a kernel that stores a tile box by box: one stage more in place of whole staging tiles,
/// where it fits; else sm90_layout.
MASTHEAD_HOST_DEVICE constexpr Sm90Layout sm90_streaming_layout(const PolicySpec& p) {
  const Sm90Layout layout{p.dtype, p.tile, p.stages + 1, p.cluster_m, p.math_mode, false};
  return layout.shared_bytes() <= max_shared_bytes ? layout : sm90_layout(p);
}

/// What the wgmma engine asks of its policies, one predicate each.
namespace constraint {

constexpr bool wgmma_multiplies(const PolicySpec& p) {
  switch (p.math_mode) {
    case MathMode::plain:
      return p.dtype == Dtype::bf16 || p.dtype == Dtype::f16;
    case MathMode::tf32:
    case MathMode::f16:
    case MathMode::f16x3:
      return p.dtype == Dtype::f32;
    case MathMode::e4m3:
      return p.dtype == Dtype::bf16 || p.dtype == Dtype::e4m3;
  }
  return false;
}
constexpr bool wgmma_stages_in_range(const PolicySpec& p) { return p.stages >= 2 && p.stages <= 8; }
constexpr bool tile_is_one_or_two_warpgroups(const PolicySpec& p) {
  return p.tile.m == 64 || p.tile.m == 128;
}
constexpr bool block_has_a_producer(const PolicySpec& p) {
  return p.block_threads == sm90_layout(p).block_threads();
}
constexpr bool tile_n_has_instruction(const PolicySpec& p) { return p.tile.n == 128 || p.tile.n == 256; }
constexpr bool k_blocks_fit_registers(const PolicySpec& p) {
  return p.math_mode != MathMode::f16x3 || p.tile.n == 128;
}
constexpr bool row_is_one_swizzled_row(const PolicySpec& p) {
  return p.tile.k * sm90_layout(p).element_bytes() == swizzle_row_bytes;
}
constexpr bool cluster_splits_weight(const PolicySpec& p) {
  return p.cluster_m == 1 || p.cluster_m == 2 || p.cluster_m == 4;
}

constexpr bool all_wgmma(const PolicySpec& p) {
  return wgmma_multiplies(p) && wgmma_stages_in_range(p) && tile_is_one_or_two_warpgroups(p) &&
         block_has_a_producer(p) && tile_n_has_instruction(p) && k_blocks_fit_registers(p) &&
         row_is_one_swizzled_row(p) && cluster_splits_weight(p);
}

}  // namespace constraint

/// What the wgmma engine asks of a policy, as the sentences that the compiler prints for a broken predicate.
template <PolicySpec spec>
struct WgmmaSentences {
  static_assert(constraint::wgmma_multiplies(spec),
                "masthead::Policy: Engine::wgmma multiplies bf16 and f16 in MathMode::plain, f32 in tf32, "
                "f16 and f16x3, "
                "and bf16 and e4m3 in e4m3");
  static_assert(constraint::wgmma_stages_in_range(spec),
                "masthead::Policy: stages must be between 2 and 8 with Engine::wgmma");
  static_assert(
      constraint::tile_is_one_or_two_warpgroups(spec),
      "masthead::Policy: tile.m must be 64 or 128 with Engine::wgmma, one or two consumer warpgroups");
  static_assert(constraint::block_has_a_producer(spec),
                "masthead::Policy: block_threads must be 128 + 2 * tile.m with Engine::wgmma, a producer "
                "warpgroup beside "
                "the consumers");
  static_assert(constraint::tile_n_has_instruction(spec),
                "masthead::Policy: tile.n must be 128 or 256 with Engine::wgmma");
  static_assert(
      constraint::k_blocks_fit_registers(spec),
      "masthead::Policy: tile.n must be 128 with MathMode::f16x3, whose sums and two k-blocks share the "
      "registers");
  static_assert(
      constraint::row_is_one_swizzled_row(spec),
      "masthead::Policy: tile.k must span 128 bytes with Engine::wgmma, one row of the 128-byte swizzle");
  static_assert(constraint::cluster_splits_weight(spec),
                "masthead::Policy: cluster_m must be 1, 2 or 4 with Engine::wgmma");
};

/// The wgmma policies a head is built with, by the rows of their tile. Both give the same bits in eval mode
/// where their tiles are equally wide; batch statistics are merged over the rows of a tile first.
struct ShippedWgmma {
  PolicySpec m128;  ///< m128n256, with MathMode::f16x3 m128n128
  PolicySpec m64;   ///< m64n128, with MathMode::e4m3 m64n256: more tiles, for more multiprocessors

  constexpr std::array<PolicySpec, 2> all() const { return {m128, m64}; }
};

/// The wgmma policies of a math mode; `dtype` is that of x and the weight.
constexpr ShippedWgmma shipped_wgmma(MathMode math_mode, Dtype dtype) {
  const int k = swizzle_row_bytes / Sm90Layout{dtype, {}, 0, 0, math_mode}.element_bytes();
  const int m128_n = math_mode == MathMode::f16x3 ? 128 : 256,
            m64_n = math_mode == MathMode::e4m3 ? 256 : 128;
  const int m64_stages = is_promoted(math_mode) ? 4 : 6;
  return {{dtype, {.m = 128, .n = m128_n, .k = k}, 384, 3, Engine::wgmma, 2, math_mode},
          {dtype, {.m = 64, .n = m64_n, .k = k}, 256, m64_stages, Engine::wgmma, 1, math_mode}};
}

/// Rows up to which packed operands are multiplied in tiles of 64 rows.
inline constexpr std::int64_t packed_m64_batch = 64;

template <>
struct EngineTraits<Engine::wgmma> {
  template <PolicySpec spec>
  using Sentences = WgmmaSentences<spec>;
  static constexpr bool needs_sm90a = true;
  static constexpr bool takes_moments = true;
  static constexpr std::string_view linear_kernel = "linear_two_pass";

  static constexpr bool accepts(const PolicySpec& p) { return constraint::all_wgmma(p); }
  static constexpr int shared_bytes(const PolicySpec& p) {
    return (std::max)(sm90_layout(p).shared_bytes(), sm90_streaming_layout(p).shared_bytes());
  }
  static constexpr std::int64_t moment_splits(const PolicySpec& p, std::int64_t batch) {
    return ceil_div(batch, p.tile.m);
  }
  static constexpr bool quantizes(std::int64_t) { return true; }

  template <Precision precision, bool>
  static constexpr auto shipped() {
    if constexpr (has_wgmma(precision) || is_packed(math_mode_of(precision))) {
      return shipped_wgmma(math_mode_of(precision), operand_dtype(precision)).all();
    } else {
      return std::array<PolicySpec, 0>();
    }
  }
  /// Takes what TMA can read and what is packed. fp8 has no other engine, and is refused where it is
  /// launched.
  static constexpr std::optional<PolicySpec> select(const PolicyProblem& p) {
    const MathMode math_mode = math_mode_of(p.precision);
    const ShippedWgmma wgmma = shipped_wgmma(math_mode, operand_dtype(p.precision));
    if (p.precision == Precision::fp8 ||
        (p.wgmma && within_tma(p) && is_packed(math_mode) && p.architecture == 90)) {
      return p.batch <= packed_m64_batch ? wgmma.m64 : wgmma.m128;
    }
    if (!reads_in_place(p)) return std::nullopt;
    return p.out_features <= wgmma_m64_features ? wgmma.m64 : wgmma.m128;
  }
  static constexpr FeatureRange selected_features(const PolicySpec&) { return {}; }
};

}  // namespace masthead::inline v0::detail

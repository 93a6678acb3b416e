#pragma once
/// The swap-AB engine of sm_90: how it lays a tile out, what it asks of a policy, and the policies it is
/// shipped with.

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "masthead/policy/engine_traits.hpp"
#include "masthead/policy/limits.hpp"
#include "masthead/policy/spec.hpp"
#include "masthead/tile/batch_splits.hpp"
#include "masthead/tile/normalize_rows.hpp"
#include "masthead/tile/swap_ab_fragment.hpp"
#include "masthead/tile/swizzle.hpp"

namespace masthead::inline v0::detail {

/// How the swap-AB engine lays out the tile of a block with one producer warp and a consumer warpgroup for
/// every 64 features.
struct Sm90SwapAbLayout {
  Dtype dtype;
  Tile tile;   ///< m rows of x: 16, 32, 64 or 128; n features: 64 or 128; k: whole slices
  int stages;  ///< of tile.k each, in flight in shared memory

  friend constexpr bool operator==(const Sm90SwapAbLayout&, const Sm90SwapAbLayout&) = default;

  static constexpr int warpgroup_features = 64;
  /// Blocks whose features make up a row, at most: a portable cluster.
  static constexpr int max_ctas = 8;

  MASTHEAD_HOST_DEVICE constexpr int consumer_warps() const { return tile.n / SwapAbFragment::warp_features; }
  MASTHEAD_HOST_DEVICE constexpr int consumer_threads() const { return 32 * consumer_warps(); }
  MASTHEAD_HOST_DEVICE constexpr int block_threads() const { return consumer_threads() + 32; }
  /// Accumulators per thread: 64 * tile.m / 128.
  MASTHEAD_HOST_DEVICE constexpr int accumulators() const { return tile.m / 2; }
  /// Rows of x a thread holds outputs of.
  MASTHEAD_HOST_DEVICE constexpr int thread_rows() const { return tile.m / 4; }
  /// In-features of a slice, which spans one row of the swizzle.
  MASTHEAD_HOST_DEVICE constexpr int slice_k() const {
    return swizzle_row_bytes / (dtype == Dtype::f32 ? 4 : 2);
  }
  /// Slices per stage, which share its barriers: with 16 rows of x, two are quicker than one.
  MASTHEAD_HOST_DEVICE constexpr int slices() const { return tile.k / slice_k(); }
  /// Bytes of a slice of x, and of W.
  MASTHEAD_HOST_DEVICE constexpr int x_bytes() const { return tile.m * swizzle_row_bytes; }
  MASTHEAD_HOST_DEVICE constexpr int w_bytes() const { return tile.n * swizzle_row_bytes; }
  MASTHEAD_HOST_DEVICE constexpr int stage_bytes() const { return slices() * (x_bytes() + w_bytes()); }
  /// Slices of W that a block brings to L2 before its turn, at most: 96 KB, about what memory delivers to a
  /// block while another kernel ends.
  MASTHEAD_HOST_DEVICE constexpr int warm_slices() const { return 96 * 1024 / w_bytes(); }
  /// In-features that one wgmma multiplies: 32 bytes.
  MASTHEAD_HOST_DEVICE constexpr int instruction_k() const { return dtype == Dtype::f32 ? 8 : 16; }
  /// Features of a row that one cluster covers.
  MASTHEAD_HOST_DEVICE constexpr int cluster_features() const { return max_ctas * tile.n; }

  /// Bytes of dynamic shared memory of a block: stages, the rows' softmax partials of each warp and each
  /// block and their totals, barriers in multiples of 1024 bytes, and 1008 more to align their start, which
  /// is a multiple of 16.
  MASTHEAD_HOST_DEVICE constexpr int shared_bytes() const {
    const int exchange = (consumer_warps() + max_ctas + 1) * tile.m * 8, barriers = 2 * 8 * stages + 4 * 8;
    return (stages * stage_bytes() + exchange + barriers + 1023) / 1024 * 1024 + 1008;
  }
};

MASTHEAD_HOST_DEVICE constexpr Sm90SwapAbLayout sm90_swap_ab_layout(const PolicySpec& p) {
  return {p.dtype, p.tile, p.stages};
}

/// What the swap-AB engine asks of its policies, one predicate each.
namespace constraint {

constexpr bool swap_ab_multiplies(const PolicySpec& p) {
  return p.math_mode == MathMode::plain ? p.dtype == Dtype::bf16 || p.dtype == Dtype::f16
                                        : p.math_mode == MathMode::tf32 && p.dtype == Dtype::f32;
}
constexpr bool swap_ab_blocks_stand_alone(const PolicySpec& p) { return p.cluster_m == 1; }
constexpr bool swap_ab_stages_in_range(const PolicySpec& p) { return p.stages >= 2 && p.stages <= 24; }
constexpr bool tile_is_swap_ab(const PolicySpec& p) {
  const bool rows = p.tile.m == 16 || p.tile.m == 32 || p.tile.m == 64 || p.tile.m == 128;
  return rows && (p.tile.n == 64 || p.tile.n == 128);
}
constexpr bool row_is_swizzled_rows(const PolicySpec& p) {
  const int bytes = p.tile.k * static_cast<int>(size_of(p.dtype));
  return bytes == swizzle_row_bytes || bytes == 2 * swizzle_row_bytes || bytes == 4 * swizzle_row_bytes;
}
constexpr bool block_has_a_producer_warp(const PolicySpec& p) {
  return p.block_threads == sm90_swap_ab_layout(p).block_threads();
}

constexpr bool all_swap_ab(const PolicySpec& p) {
  return swap_ab_multiplies(p) && swap_ab_blocks_stand_alone(p) && swap_ab_stages_in_range(p) &&
         tile_is_swap_ab(p) && row_is_swizzled_rows(p) && block_has_a_producer_warp(p);
}

}  // namespace constraint

/// What the swap-AB engine asks of a policy, as the sentences that the compiler prints for a broken
/// predicate.
template <PolicySpec spec>
struct SwapAbSentences {
  static_assert(
      constraint::swap_ab_multiplies(spec),
      "masthead::Policy: Engine::wgmma_swap_ab multiplies bf16 and f16 in MathMode::plain and f32 in tf32");
  static_assert(constraint::swap_ab_blocks_stand_alone(spec),
                "masthead::Policy: cluster_m must be 1 with Engine::wgmma_swap_ab");
  static_assert(constraint::swap_ab_stages_in_range(spec),
                "masthead::Policy: stages must be between 2 and 24 with Engine::wgmma_swap_ab");
  static_assert(constraint::tile_is_swap_ab(spec),
                "masthead::Policy: tile.m must be 16, 32, 64 or 128 and tile.n 64 or 128 with "
                "Engine::wgmma_swap_ab");
  static_assert(
      constraint::row_is_swizzled_rows(spec),
      "masthead::Policy: tile.k must span 128, 256 or 512 bytes with Engine::wgmma_swap_ab, rows of the "
      "128-byte swizzle");
  static_assert(
      constraint::block_has_a_producer_warp(spec),
      "masthead::Policy: block_threads must be 2 * tile.n + 32 with Engine::wgmma_swap_ab, a producer "
      "warp beside the consumers");
};

/// The swap-AB policies a head is built with, by their tile; k1 and k2 count the rows of the swizzle that a
/// stage spans in k.
struct ShippedSwapAb {
  // For up to `cluster_features` features, a row being one cluster's.
  PolicySpec m16n64k1;   ///< few rows
  PolicySpec m32n64k1;   ///< more rows
  PolicySpec m128n64k1;  ///< many rows
  // For more features.
  PolicySpec m16n64k2;    ///< up to 16 rows
  PolicySpec m32n64k2;    ///< up to 32 rows
  PolicySpec m64n64k1;    ///< up to 64 rows
  PolicySpec m64n128k2;   ///< up to 128 rows
  PolicySpec m128n128k1;  ///< up to 256 rows, of no more than `m128n128k1_features` features

  static constexpr std::int64_t cluster_features = 512, m128n128k1_features = 16384;

  constexpr std::array<PolicySpec, 3> one_cluster() const { return {m16n64k1, m32n64k1, m128n64k1}; }
  constexpr std::array<PolicySpec, 8> all() const {
    return {m16n64k1, m32n64k1, m128n64k1, m16n64k2, m32n64k2, m64n64k1, m64n128k2, m128n128k1};
  }
};

/// The swap-AB policies for operands of `dtype`: bf16, f16, or f32 for tf32.
constexpr ShippedSwapAb shipped_swap_ab(Dtype dtype) {
  const MathMode math_mode = dtype == Dtype::f32 ? MathMode::tf32 : MathMode::plain;
  const int k = swizzle_row_bytes / static_cast<int>(size_of(dtype));
  const auto policy = [=](int m, int n, int rows_of_k, int block_threads, int stages) {
    return PolicySpec{dtype,    {m, n, rows_of_k * k}, block_threads, stages, Engine::wgmma_swap_ab, 1,
                      math_mode};
  };
  return {policy(16, 64, 1, 160, 16), policy(32, 64, 1, 160, 8),  policy(128, 64, 1, 160, 4),
          policy(16, 64, 2, 160, 10), policy(32, 64, 2, 160, 8),  policy(64, 64, 1, 160, 13),
          policy(64, 128, 2, 288, 4), policy(128, 128, 1, 288, 6)};
}

template <>
struct EngineTraits<Engine::wgmma_swap_ab> {
  template <PolicySpec spec>
  using Sentences = SwapAbSentences<spec>;
  static constexpr bool needs_sm90a = true;
  static constexpr bool takes_moments = false;
  static constexpr std::string_view linear_kernel = "linear_swap_ab";

  static constexpr bool accepts(const PolicySpec& p) { return constraint::all_swap_ab(p); }
  static constexpr int shared_bytes(const PolicySpec& p) { return sm90_swap_ab_layout(p).shared_bytes(); }
  static constexpr std::int64_t moment_splits(const PolicySpec&, std::int64_t batch) {
    return column_statistics_splits(batch);
  }
  static constexpr bool quantizes(std::int64_t out_features) {
    return out_features > NormalizeLogits::columns;
  }

  /// None in training mode: the wgmma engine takes the moments of columns in its GEMM kernel.
  template <Precision precision, bool training>
  static constexpr auto shipped() {
    if constexpr (has_wgmma(precision) && !training) {
      return shipped_swap_ab(operand_dtype(precision)).all();
    } else {
      return std::array<PolicySpec, 0>();
    }
  }
  /// Takes few features and few rows.
  static constexpr std::optional<PolicySpec> select(const PolicyProblem& p) {
    if (!reads_in_place(p) || p.training) return std::nullopt;
    const ShippedSwapAb swap_ab = shipped_swap_ab(operand_dtype(p.precision));
    // What depends on the batch gives the same bits.
    if (p.out_features <= swap_ab.cluster_features) {
      return p.batch <= 128 ? swap_ab.m16n64k1 : p.batch <= 640 ? swap_ab.m32n64k1 : swap_ab.m128n64k1;
    }
    if (p.out_features <= wgmma_m64_features) return std::nullopt;
    if (p.batch <= 32) return p.batch <= 16 ? swap_ab.m16n64k2 : swap_ab.m32n64k2;
    if (p.batch <= 128) return p.batch <= 64 ? swap_ab.m64n64k1 : swap_ab.m64n128k2;
    if (p.batch <= 256 && p.out_features <= swap_ab.m128n128k1_features) return swap_ab.m128n128k1;
    return std::nullopt;
  }
  static constexpr FeatureRange selected_features(const PolicySpec& p) {
    const ShippedSwapAb swap_ab = shipped_swap_ab(p.dtype);
    for (const PolicySpec& of_cluster : swap_ab.one_cluster()) {
      if (p == of_cluster) return {1, swap_ab.cluster_features};
    }
    return {wgmma_m64_features + 1, p == swap_ab.m128n128k1 ? swap_ab.m128n128k1_features : INT64_MAX};
  }
};

}  // namespace masthead::inline v0::detail

#pragma once
/// The SIMT engine: how it lays a tile out, what it asks of a policy, and the policies it is shipped with.

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "masthead/policy/engine_traits.hpp"
#include "masthead/policy/limits.hpp"
#include "masthead/policy/spec.hpp"
#include "masthead/tile/batch_splits.hpp"
#include "masthead/tile/simt_fragment.hpp"

namespace masthead::inline v0::detail {

/// The distance of rows of a stage. Operand tiles in shared memory are (rows, k) with k contiguous and 16
/// bytes of padding per row: an odd number of 16-byte vectors, so that 8 consecutive rows at one k lie in 8
/// different groups of 4 banks.
MASTHEAD_HOST_DEVICE constexpr int simt_row_pitch_bytes(int row_bytes) { return row_bytes + 16; }

/// How the SIMT engine lays out the tile of a block.
struct SimtLayout {
  Dtype dtype;
  Tile tile;
  int block_threads;
  int stages;  ///< slices of k in flight in shared memory

  MASTHEAD_HOST_DEVICE constexpr int element_bytes() const {
    return dtype == Dtype::f64 ? 8 : dtype == Dtype::f32 ? 4 : 2;
  }
  MASTHEAD_HOST_DEVICE constexpr int sum_bytes() const { return dtype == Dtype::f64 ? 8 : 4; }
  MASTHEAD_HOST_DEVICE constexpr int row_bytes() const { return tile.k * element_bytes(); }
  MASTHEAD_HOST_DEVICE constexpr int row_pitch_bytes() const { return simt_row_pitch_bytes(row_bytes()); }
  /// The number of 16-byte vectors that a row of a stage is copied in.
  MASTHEAD_HOST_DEVICE constexpr int vectors_per_row() const { return row_bytes() / 16; }
  MASTHEAD_HOST_DEVICE constexpr int stage_bytes() const { return (tile.m + tile.n) * row_pitch_bytes(); }
  /// Bytes of dynamic shared memory of a block.
  MASTHEAD_HOST_DEVICE constexpr int shared_bytes() const { return stages * stage_bytes(); }
  constexpr SimtFragment fragment() const { return SimtFragment::of(tile.m, tile.n, block_threads / 32); }
};

MASTHEAD_HOST_DEVICE constexpr SimtLayout simt_layout(const PolicySpec& p) {
  return {p.dtype, p.tile, p.block_threads, p.stages};
}

/// What the SIMT engine asks of its policies, one predicate each.
namespace constraint {

constexpr bool simt_multiplies(const PolicySpec& p) {
  return p.math_mode == MathMode::plain && p.dtype != Dtype::e4m3;
}
constexpr bool simt_blocks_stand_alone(const PolicySpec& p) { return p.cluster_m == 1; }
constexpr bool simt_stages_in_range(const PolicySpec& p) { return p.stages >= 2 && p.stages <= 8; }
constexpr bool row_is_free_of_bank_conflicts(const PolicySpec& p) {
  return simt_layout(p).row_bytes() % 32 == 0;
}
constexpr bool tile_splits_over_warps(const PolicySpec& p) { return simt_layout(p).fragment().warps_m != 0; }
constexpr bool tile_copies_evenly(const PolicySpec& p) {
  const int vectors = simt_layout(p).vectors_per_row();
  if (vectors == 0 || p.block_threads % vectors != 0) return false;
  const int rows = p.block_threads / vectors;
  return p.tile.m % rows == 0 && p.tile.n % rows == 0;
}
constexpr bool accumulators_fit_registers(const PolicySpec& p) {
  const SimtFragment fragment = simt_layout(p).fragment();
  return fragment.thread_m * fragment.thread_n * simt_layout(p).sum_bytes() <= 128 * 4;
}

constexpr bool all_simt(const PolicySpec& p) {
  return simt_multiplies(p) && simt_blocks_stand_alone(p) && simt_stages_in_range(p) &&
         row_is_free_of_bank_conflicts(p) && tile_splits_over_warps(p) && tile_copies_evenly(p) &&
         accumulators_fit_registers(p);
}

}  // namespace constraint

/// What the SIMT engine asks of a policy, as the sentences that the compiler prints for a broken predicate.
template <PolicySpec spec>
struct SimtSentences {
  static_assert(constraint::simt_multiplies(spec),
                "masthead::Policy: Engine::simt multiplies f64, f32, f16 and bf16, in MathMode::plain");
  static_assert(constraint::simt_blocks_stand_alone(spec),
                "masthead::Policy: cluster_m must be 1 with Engine::simt");
  static_assert(constraint::simt_stages_in_range(spec),
                "masthead::Policy: stages must be between 2 and 8 with Engine::simt");
  static_assert(
      constraint::row_is_free_of_bank_conflicts(spec),
      "masthead::Policy: tile.k must span a multiple of 32 bytes, so that padded rows of shared memory are "
      "free of bank conflicts");
  static_assert(
      constraint::tile_splits_over_warps(spec),
      "masthead::Policy: the tile must split over the warps: warps_m * warps_n = block_threads / 32 with "
      "tile.m a multiple of 4 * warps_m and tile.n a multiple of 8 * warps_n");
  static_assert(
      constraint::tile_copies_evenly(spec),
      "masthead::Policy: tile.m and tile.n must be multiples of the rows one pass of 16-byte copies "
      "covers, block_threads / (tile.k bytes / 16)");
  static_assert(constraint::accumulators_fit_registers(spec),
                "masthead::Policy: a thread's accumulators, tile.m * tile.n / block_threads, must fit in 128 "
                "registers");
};

/// The SIMT policies a head of a dtype is built with, by their tile; double has m64n128 in place of m128n128,
/// and all but float m128n128 in place of m256n128.
struct ShippedSimt {
  PolicySpec m256n128;  ///< for problems that fill the GPU, where shared memory allows
  PolicySpec m128n128;  ///< at most 64 KB of shared memory: every architecture
  PolicySpec m32n64;    ///< for few rows or few tiles

  constexpr std::array<PolicySpec, 3> all() const { return {m256n128, m128n128, m32n64}; }
};

/// The SIMT policies of a dtype. Rows of a stage are 64 bytes of k, and 128 where tiles of 256 rows leave one
/// block per multiprocessor.
constexpr ShippedSimt shipped_simt(Dtype dtype) {
  const int k = 64 / static_cast<int>(size_of(dtype));
  const PolicySpec m32n64{dtype, {.m = 32, .n = 64, .k = k}, 128};
  const PolicySpec m128n128{dtype, {.m = dtype == Dtype::f64 ? 64 : 128, .n = 128, .k = k}, 256};
  const PolicySpec m256n128{dtype, {.m = 256, .n = 128, .k = 2 * k}, 256};
  return {dtype == Dtype::f32 ? m256n128 : m128n128, m128n128, m32n64};
}

template <>
struct EngineTraits<Engine::simt> {
  template <PolicySpec spec>
  using Sentences = SimtSentences<spec>;
  static constexpr bool needs_sm90a = false;
  static constexpr bool takes_moments = false;
  static constexpr std::string_view linear_kernel = "linear_simt";

  static constexpr bool accepts(const PolicySpec& p) { return constraint::all_simt(p); }
  static constexpr int shared_bytes(const PolicySpec& p) { return simt_layout(p).shared_bytes(); }
  static constexpr std::int64_t moment_splits(const PolicySpec&, std::int64_t batch) {
    return column_statistics_splits(batch);
  }
  static constexpr bool quantizes(std::int64_t) { return false; }

  template <Precision precision, bool>
  static constexpr auto shipped() {
    if constexpr (precision == Precision::fp8) {
      return std::array<PolicySpec, 0>();
    } else {
      return shipped_simt(operand_dtype(precision)).all();
    }
  }
  /// Takes every problem.
  static constexpr std::optional<PolicySpec> select(const PolicyProblem& problem) {
    const ShippedSimt simt = shipped_simt(operand_dtype(problem.precision));
    const auto fills = [&](const PolicySpec& p, std::int64_t blocks) {
      const std::int64_t tiles_m = (problem.batch - 1) / p.tile.m + 1,
                         tiles_n = (problem.out_features - 1) / p.tile.n + 1;
      return problem.batch > p.tile.m / 2 && tiles_m >= (blocks - 1) / tiles_n + 1;
    };
    if (fills(simt.m256n128, 128) &&
        shared_bytes(simt.m256n128) <= shared_bytes_per_block(problem.architecture)) {
      return simt.m256n128;
    }
    return fills(simt.m128n128, 48) ? simt.m128n128 : simt.m32n64;
  }
  static constexpr FeatureRange selected_features(const PolicySpec&) { return {}; }
};

}  // namespace masthead::inline v0::detail

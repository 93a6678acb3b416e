#pragma once
/// Policies: everything about a kernel that is fixed at compile time, as one plain value.

#include <cstdint>
#include <ostream>
#include <sstream>
#include <string>

#include "masthead/config.hpp"
#include "masthead/dtype.hpp"
#include "masthead/tile/simt_layout.hpp"

namespace masthead::inline v0 {

/// The outputs (m rows of x by n features) a thread block computes, and the slice of in_features (k) of a
/// stage.
struct Tile {
  int m, n, k;
  friend constexpr bool operator==(const Tile&, const Tile&) = default;
};

/// Which instructions multiply.
enum class Engine : std::uint8_t {
  simt,  ///< fused multiply-add on the CUDA cores: every dtype, every architecture from sm_75
};

/// A policy as data: what `select_policy` returns, what tests and benchmarks print, what kernels are
/// instantiated by.
struct PolicySpec {
  Dtype dtype;        ///< of x and the weight
  Tile tile;          ///< of one thread block
  int block_threads;  ///< threads in the block
  int stages = 3;     ///< slices of k in flight in shared memory
  Engine engine = Engine::simt;

  friend constexpr bool operator==(const PolicySpec&, const PolicySpec&) = default;

  constexpr int element_bytes() const { return static_cast<int>(size_of(dtype)); }
  constexpr int accumulator_bytes() const { return static_cast<int>(size_of(accumulator_dtype(dtype))); }
  constexpr int row_bytes() const { return tile.k * element_bytes(); }
  constexpr int vectors_per_row() const { return row_bytes() / 16; }
  constexpr int stage_bytes() const { return (tile.m + tile.n) * simt_row_pitch_bytes(row_bytes()); }
  constexpr int shared_bytes() const { return stages * stage_bytes(); }
  constexpr SimtLayout layout() const { return SimtLayout::of(tile.m, tile.n, block_threads / 32); }

  friend std::ostream& operator<<(std::ostream& out, const PolicySpec& p) {
    return out << "simt_" << p.dtype << '_' << p.tile.m << 'x' << p.tile.n << 'x' << p.tile.k << "_t"
               << p.block_threads << "_s" << p.stages;
  }
};

/// The name of a policy in tests, benchmarks and errors, e.g. "simt_f32_128x128x16_t256_s3".
inline std::string to_string(const PolicySpec& policy) {
  std::ostringstream out;
  out << policy;
  return out.str();
}

/// Shared memory a block can have at most on any architecture so far (sm_90; 227 KB). What the device at hand
/// has is checked at launch.
inline constexpr int max_shared_bytes = 232448;

/// The constraints on a policy, one predicate each; `Policy` asserts them with a sentence each.
namespace constraint {

constexpr bool block_is_whole_warps(const PolicySpec& p) {
  return p.block_threads >= 32 && p.block_threads <= 1024 && p.block_threads % 32 == 0;
}
constexpr bool tile_is_positive(const PolicySpec& p) { return p.tile.m > 0 && p.tile.n > 0 && p.tile.k > 0; }
constexpr bool stages_in_range(const PolicySpec& p) { return p.stages >= 2 && p.stages <= 8; }
constexpr bool row_is_free_of_bank_conflicts(const PolicySpec& p) { return p.row_bytes() % 32 == 0; }
constexpr bool tile_splits_over_warps(const PolicySpec& p) { return p.layout().warps_m != 0; }
constexpr bool tile_copies_evenly(const PolicySpec& p) {
  if (p.vectors_per_row() == 0 || p.block_threads % p.vectors_per_row() != 0) return false;
  const int rows = p.block_threads / p.vectors_per_row();
  return p.tile.m % rows == 0 && p.tile.n % rows == 0;
}
constexpr bool accumulators_fit_registers(const PolicySpec& p) {
  return p.layout().thread_m * p.layout().thread_n * p.accumulator_bytes() <= 128 * 4;
}
constexpr bool stages_fit_shared_memory(const PolicySpec& p) { return p.shared_bytes() <= max_shared_bytes; }

constexpr bool all(const PolicySpec& p) {
  return block_is_whole_warps(p) && tile_is_positive(p) && stages_in_range(p) &&
         row_is_free_of_bank_conflicts(p) && tile_splits_over_warps(p) && tile_copies_evenly(p) &&
         accumulators_fit_registers(p) && stages_fit_shared_memory(p);
}

}  // namespace constraint

/// The one template parameter of kernels and entries. A policy that breaks a constraint does not compile, and
/// the compiler's first line says which and why.
///
///     using MyPolicy = Policy<Dtype::f32, Tile{.m = 128, .n = 128, .k = 16}, 256>;
template <Dtype dtype, Tile tile, int block_threads, int stages = 3, Engine engine = Engine::simt>
struct Policy {
  static constexpr PolicySpec spec{dtype, tile, block_threads, stages, engine};

  static_assert(constraint::block_is_whole_warps(spec),
                "masthead::Policy: block_threads must be a multiple of 32 between 32 and 1024");
  static_assert(constraint::tile_is_positive(spec),
                "masthead::Policy: tile.m, tile.n and tile.k must be positive");
  static_assert(constraint::stages_in_range(spec), "masthead::Policy: stages must be between 2 and 8");
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
  static_assert(constraint::stages_fit_shared_memory(spec),
                "masthead::Policy: the stages must fit in 227 KB of shared memory");
};

/// `Policy` from a value, for code that computes one.
template <PolicySpec spec>
using PolicyFor = Policy<spec.dtype, spec.tile, spec.block_threads, spec.stages, spec.engine>;

/// The two policies a head of this dtype is built with: one for batches that fill large tiles, one for small
/// problems.
struct PolicyPair {
  PolicySpec large;
  PolicySpec small;
};

/// Every stage holds 64 bytes of k a row, so that all dtypes share one shared-memory layout.
constexpr PolicyPair shipped_policies(Dtype dtype) {
  const int k = 64 / static_cast<int>(size_of(dtype));
  const Tile small{.m = 32, .n = 64, .k = k};
  if (dtype == Dtype::f64) return {{dtype, {.m = 64, .n = 128, .k = k}, 256}, {dtype, small, 128}};
  return {{dtype, {.m = 128, .n = 128, .k = k}, 256}, {dtype, small, 128}};
}

/// The policy `Head` runs (batch, in_features) -> out_features with on `architecture` (10 * major + minor).
///
/// The choice cannot change a result's bits: every SIMT policy sums each output in ascending k.
constexpr PolicySpec select_policy(Precision precision, int architecture, std::int64_t batch,
                                   std::int64_t in_features, std::int64_t out_features) {
  (void)architecture, (void)in_features;
  const PolicyPair shipped = shipped_policies(operand_dtype(precision));
  const std::int64_t large_tiles = ((batch + shipped.large.tile.m - 1) / shipped.large.tile.m) *
                                   ((out_features + shipped.large.tile.n - 1) / shipped.large.tile.n);
  const bool fills_large_rows = batch > shipped.large.tile.m / 2;
  return fills_large_rows && large_tiles >= 48 ? shipped.large : shipped.small;
}

}  // namespace masthead::inline v0

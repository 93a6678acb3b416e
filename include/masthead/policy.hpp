#pragma once
/// Policies: everything about a kernel that is fixed at compile time, as one plain value.

#include <cstdint>
#include <ostream>
#include <sstream>
#include <string>

#include "masthead/config.hpp"
#include "masthead/dtype.hpp"
#include "masthead/tile/simt_layout.hpp"
#include "masthead/tile/sm90_layout.hpp"
#include "masthead/tile/sm90_transposed_layout.hpp"
#include "masthead/tile/tile.hpp"

namespace masthead::inline v0 {

/// Which instructions multiply.
enum class Engine : std::uint8_t {
  simt,   ///< fused multiply-add on the CUDA cores: every dtype, every architecture from sm_75
  wgmma,  ///< tensor cores of sm_90, in code compiled for sm_90a, fed by TMA: bf16, f16, and all products but
          ///< the plain one
  wgmma_transposed,  ///< the same with the weight as the first operand, bf16, f16 and tf32: for few features
                     ///< or few rows
};

constexpr std::string_view name(Engine engine) {
  constexpr std::string_view names[] = {"simt", "wgmma", "wgmma_transposed"};
  return names[static_cast<int>(engine)];
}

/// Shared memory a block can have at most on any architecture so far (sm_90; 227 KB). What the device at hand
/// has is checked at launch.
inline constexpr int max_shared_bytes = 232448;

/// A policy as data: what `select_policy` returns, what tests and benchmarks print, what kernels are
/// instantiated by.
struct PolicySpec {
  Dtype dtype;        ///< of x and the weight
  Tile tile;          ///< of one thread block
  int block_threads;  ///< threads in the block
  int stages = 3;     ///< slices of k in flight in shared memory
  Engine engine = Engine::simt;
  int cluster_m = 1;  ///< blocks of a cluster, stacked along the batch, that share their loads of the weight
  Product product = Product::plain;

  friend constexpr bool operator==(const PolicySpec&, const PolicySpec&) = default;

  constexpr int element_bytes() const { return static_cast<int>(size_of(dtype)); }
  constexpr int accumulator_bytes() const { return static_cast<int>(size_of(accumulator_dtype(dtype))); }
  constexpr int row_bytes() const {
    return tile.k * (engine == Engine::wgmma ? sm90().element_bytes() : element_bytes());
  }
  constexpr int vectors_per_row() const { return row_bytes() / 16; }
  constexpr int stage_bytes() const { return (tile.m + tile.n) * simt_row_pitch_bytes(row_bytes()); }
  constexpr int shared_bytes() const {
    if (engine == Engine::wgmma_transposed) return sm90_transposed().shared_bytes();
    return engine == Engine::wgmma ? sm90().shared_bytes() : stages * stage_bytes();
  }
  constexpr SimtLayout layout() const { return SimtLayout::of(tile.m, tile.n, block_threads / 32); }
  MASTHEAD_HOST_DEVICE constexpr Sm90Layout sm90() const { return {dtype, tile, stages, cluster_m, product}; }
  /// The same for a kernel that stores a tile box by box: one stage more in place of the panel, where it
  /// fits.
  MASTHEAD_HOST_DEVICE constexpr Sm90Layout sm90_streaming() const {
    const Sm90Layout layout{dtype, tile, stages + 1, cluster_m, product, false};
    return layout.shared_bytes() <= max_shared_bytes ? layout : sm90();
  }
  MASTHEAD_HOST_DEVICE constexpr Sm90TransposedLayout sm90_transposed() const {
    return {dtype, tile, stages};
  }

  friend std::ostream& operator<<(std::ostream& out, const PolicySpec& p) {
    out << name(p.engine) << '_' << p.dtype << '_' << p.tile.m << 'x' << p.tile.n << 'x' << p.tile.k << "_t"
        << p.block_threads << "_s" << p.stages;
    if (p.cluster_m != 1) out << "_c" << p.cluster_m;
    return p.product == Product::plain ? out : out << '_' << name(p.product);
  }
};

/// The name of a policy in tests, benchmarks and errors, e.g. "simt_f32_128x128x16_t256_s3",
/// "wgmma_bf16_128x256x64_t384_s3_c2" or "wgmma_f32_128x128x64_t384_s3_c2_f16x3".
inline std::string to_string(const PolicySpec& policy) {
  std::ostringstream out;
  out << policy;
  return out.str();
}

/// The constraints on a policy, one predicate each; `Policy` asserts them with a sentence each.
namespace constraint {

constexpr bool block_is_whole_warps(const PolicySpec& p) {
  return p.block_threads >= 32 && p.block_threads <= 1024 && p.block_threads % 32 == 0;
}
constexpr bool tile_is_positive(const PolicySpec& p) { return p.tile.m > 0 && p.tile.n > 0 && p.tile.k > 0; }
constexpr bool stages_in_range(const PolicySpec& p) {
  return p.stages >= 2 && p.stages <= (p.engine == Engine::wgmma_transposed ? 24 : 8);
}
constexpr bool stages_fit_shared_memory(const PolicySpec& p) { return p.shared_bytes() <= max_shared_bytes; }

// The SIMT engine's.
constexpr bool row_is_free_of_bank_conflicts(const PolicySpec& p) {
  return p.engine != Engine::simt || p.row_bytes() % 32 == 0;
}
constexpr bool tile_splits_over_warps(const PolicySpec& p) {
  return p.engine != Engine::simt || p.layout().warps_m != 0;
}
constexpr bool tile_copies_evenly(const PolicySpec& p) {
  if (p.engine != Engine::simt) return true;
  if (p.vectors_per_row() == 0 || p.block_threads % p.vectors_per_row() != 0) return false;
  const int rows = p.block_threads / p.vectors_per_row();
  return p.tile.m % rows == 0 && p.tile.n % rows == 0;
}
constexpr bool accumulators_fit_registers(const PolicySpec& p) {
  return p.engine != Engine::simt ||
         p.layout().thread_m * p.layout().thread_n * p.accumulator_bytes() <= 128 * 4;
}
constexpr bool blocks_stand_alone(const PolicySpec& p) {
  return p.engine == Engine::wgmma || p.cluster_m == 1;
}

// The wgmma engines'.
constexpr bool dtype_has_wgmma(const PolicySpec& p) {
  return p.engine == Engine::simt || p.product != Product::plain || p.dtype == Dtype::bf16 ||
         p.dtype == Dtype::f16;
}
constexpr bool product_takes_dtype(const PolicySpec& p) {
  if (p.product == Product::plain) return p.dtype != Dtype::e4m3;
  if (p.product == Product::tf32) return p.dtype == Dtype::f32 && p.engine != Engine::simt;
  if (p.engine != Engine::wgmma) return false;
  return has_f16_parts(p.product) ? p.dtype == Dtype::f32 : p.dtype == Dtype::bf16 || p.dtype == Dtype::e4m3;
}
constexpr bool tile_is_one_or_two_warpgroups(const PolicySpec& p) {
  return p.engine != Engine::wgmma || p.tile.m == 64 || p.tile.m == 128;
}
constexpr bool block_has_a_producer(const PolicySpec& p) {
  return p.engine != Engine::wgmma || p.block_threads == p.sm90().block_threads();
}
constexpr bool tile_n_has_instruction(const PolicySpec& p) {
  return p.engine != Engine::wgmma || p.tile.n == 128 || p.tile.n == 256;
}
constexpr bool chunks_fit_registers(const PolicySpec& p) {
  return p.product != Product::f16x3 || p.tile.n == 128;
}
constexpr bool row_is_one_swizzled_row(const PolicySpec& p) {
  if (p.engine == Engine::wgmma_transposed) {
    return p.row_bytes() == swizzle_row_bytes || p.row_bytes() == 2 * swizzle_row_bytes ||
           p.row_bytes() == 4 * swizzle_row_bytes;
  }
  return p.engine == Engine::simt || p.row_bytes() == swizzle_row_bytes;
}
constexpr bool cluster_splits_weight(const PolicySpec& p) {
  return p.engine != Engine::wgmma || p.cluster_m == 1 || p.cluster_m == 2 || p.cluster_m == 4;
}

// The transposed wgmma engine's.
constexpr bool tile_is_transposed(const PolicySpec& p) {
  if (p.engine != Engine::wgmma_transposed) return true;
  const bool rows = p.tile.m == 16 || p.tile.m == 32 || p.tile.m == 64 || p.tile.m == 128;
  return rows && (p.tile.n == 64 || p.tile.n == 128);
}
constexpr bool block_has_a_producer_warp(const PolicySpec& p) {
  return p.engine != Engine::wgmma_transposed || p.block_threads == p.sm90_transposed().block_threads();
}

constexpr bool all(const PolicySpec& p) {
  return block_is_whole_warps(p) && tile_is_positive(p) && stages_in_range(p) &&
         stages_fit_shared_memory(p) && row_is_free_of_bank_conflicts(p) && tile_splits_over_warps(p) &&
         tile_copies_evenly(p) && accumulators_fit_registers(p) && blocks_stand_alone(p) &&
         product_takes_dtype(p) && dtype_has_wgmma(p) && chunks_fit_registers(p) &&
         tile_is_one_or_two_warpgroups(p) && block_has_a_producer(p) && tile_n_has_instruction(p) &&
         row_is_one_swizzled_row(p) && cluster_splits_weight(p) && tile_is_transposed(p) &&
         block_has_a_producer_warp(p);
}

}  // namespace constraint

/// The one template parameter of kernels and entries. A policy that breaks a constraint does not compile, and
/// the compiler's first line says which and why.
///
///     using MyPolicy = Policy<Dtype::f32, Tile{.m = 128, .n = 128, .k = 16}, 256>;
///     using MyHopperPolicy = Policy<Dtype::bf16, Tile{.m = 128, .n = 256, .k = 64}, 384, 3, Engine::wgmma>;
template <Dtype dtype, Tile tile, int block_threads, int stages = 3, Engine engine = Engine::simt,
          int cluster_m = engine == Engine::wgmma ? 2 : 1, Product product = Product::plain>
struct Policy {
  static constexpr PolicySpec spec{dtype, tile, block_threads, stages, engine, cluster_m, product};

  static_assert(constraint::block_is_whole_warps(spec),
                "masthead::Policy: block_threads must be a multiple of 32 between 32 and 1024");
  static_assert(constraint::tile_is_positive(spec),
                "masthead::Policy: tile.m, tile.n and tile.k must be positive");
  static_assert(constraint::stages_in_range(spec),
                "masthead::Policy: stages must be between 2 and 8, with wgmma_transposed 24");
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
  static_assert(constraint::blocks_stand_alone(spec), "masthead::Policy: cluster_m must be 1 without wgmma");
  static_assert(
      constraint::product_takes_dtype(spec),
      "masthead::Policy: Product::f16 and f16x3 multiply f32 and Product::e4m3 bf16 or e4m3, all with "
      "wgmma; Product::tf32 multiplies f32 with wgmma or wgmma_transposed; Product::plain multiplies "
      "every dtype but e4m3");
  static_assert(constraint::dtype_has_wgmma(spec),
                "masthead::Policy: wgmma multiplies bf16 and f16, and f32 as Product::tf32, f16 or f16x3");
  static_assert(
      constraint::chunks_fit_registers(spec),
      "masthead::Policy: tile.n must be 128 with Product::f16x3, whose sums and two chunks share the "
      "registers");
  static_assert(constraint::tile_is_one_or_two_warpgroups(spec),
                "masthead::Policy: tile.m must be 64 or 128 with wgmma, one or two consumer warpgroups");
  static_assert(
      constraint::block_has_a_producer(spec),
      "masthead::Policy: block_threads must be 128 + 2 * tile.m with wgmma, a producer warpgroup beside "
      "the consumers");
  static_assert(constraint::tile_n_has_instruction(spec),
                "masthead::Policy: tile.n must be 128 or 256 with wgmma");
  static_assert(
      constraint::row_is_one_swizzled_row(spec),
      "masthead::Policy: tile.k must span 128 bytes with wgmma, one row of the 128-byte swizzle, or "
      "1, 2 or 4 of them with wgmma_transposed");
  static_assert(constraint::cluster_splits_weight(spec),
                "masthead::Policy: cluster_m must be 1, 2 or 4 with wgmma");
  static_assert(constraint::tile_is_transposed(spec),
                "masthead::Policy: tile.m must be 16, 32, 64 or 128 and tile.n 64 or 128 with "
                "wgmma_transposed");
  static_assert(constraint::block_has_a_producer_warp(spec),
                "masthead::Policy: block_threads must be 2 * tile.n + 32 with wgmma_transposed, a producer "
                "warp beside the consumers");
};

/// `Policy` from a value, for code that computes one.
template <PolicySpec spec>
using PolicyFor =
    Policy<spec.dtype, spec.tile, spec.block_threads, spec.stages, spec.engine, spec.cluster_m, spec.product>;

}  // namespace masthead::inline v0

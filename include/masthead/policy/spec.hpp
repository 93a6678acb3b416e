#pragma once
/// Policies as data: everything about a kernel that is fixed at compile time, as one plain value.

#include <cstdint>
#include <ostream>
#include <sstream>
#include <string>
#include <string_view>

#include "masthead/core/precision.hpp"
#include "masthead/tile/tile.hpp"

namespace masthead::inline v0 {

/// Which instructions multiply. Each engine has a file in policy/ with its layout, its limits and its shipped
/// policies.
enum class Engine : std::uint8_t {
  simt,           ///< fused multiply-add on the CUDA cores: every dtype, every architecture from sm_75
  wgmma,          ///< tensor cores of sm_90, in code compiled for sm_90a, fed by TMA
  wgmma_swap_ab,  ///< the tensor cores of sm_90 with the weight as the first operand: for few features or few
                  ///< rows
};

constexpr std::string_view name(Engine engine) {
  constexpr std::string_view names[] = {"simt", "wgmma", "wgmma_swap_ab"};
  return names[static_cast<int>(engine)];
}

/// A policy as a value: what `select_policy` returns, what tests and benchmarks print, what kernels are
/// instantiated by.
struct PolicySpec {
  Dtype dtype;        ///< of x and the weight
  Tile tile;          ///< of one thread block
  int block_threads;  ///< threads in the block
  int stages = 3;     ///< slices of k in flight in shared memory
  Engine engine = Engine::simt;
  int cluster_m = 1;  ///< blocks of a cluster, stacked along the batch, that share their loads of the weight
  MathMode math_mode = MathMode::plain;

  friend constexpr bool operator==(const PolicySpec&, const PolicySpec&) = default;

  friend std::ostream& operator<<(std::ostream& out, const PolicySpec& p) {
    out << name(p.engine) << '_' << p.dtype << '_' << p.tile.m << 'x' << p.tile.n << 'x' << p.tile.k << "_t"
        << p.block_threads << "_s" << p.stages;
    if (p.cluster_m != 1) out << "_c" << p.cluster_m;
    return p.math_mode == MathMode::plain ? out : out << '_' << name(p.math_mode);
  }
};

/// The name of a policy in tests, benchmarks and errors, e.g. "simt_f32_128x128x16_t256_s3",
/// "wgmma_bf16_128x256x64_t384_s3_c2" or "wgmma_f32_128x128x64_t384_s3_c2_f16x3".
inline std::string to_string(const PolicySpec& policy) {
  std::ostringstream out;
  out << policy;
  return out.str();
}

}  // namespace masthead::inline v0

#pragma once
/// The policy as a type: the one template parameter of kernels and entries.

#include "masthead/policy/engine_traits.hpp"
#include "masthead/policy/limits.hpp"
#include "masthead/policy/simt.hpp"
#include "masthead/policy/spec.hpp"
#include "masthead/policy/swap_ab.hpp"
#include "masthead/policy/wgmma.hpp"

namespace masthead::inline v0 {

namespace detail {

/// Every engine, in the order in which they are asked for a shipped policy.
inline constexpr Engine engines[] = {Engine::wgmma_swap_ab, Engine::wgmma, Engine::simt};

/// Calls visit(EngineConstant<engine>()), and returns what it returns.
template <class Visit>
constexpr auto with_engine(Engine engine, const Visit& visit) {
  switch (engine) {
    case Engine::simt:
      return visit(EngineConstant<Engine::simt>());
    case Engine::wgmma:
      return visit(EngineConstant<Engine::wgmma>());
    case Engine::wgmma_swap_ab:
      break;
  }
  return visit(EngineConstant<Engine::wgmma_swap_ab>());
}

/// Bytes of dynamic shared memory of a block, in whichever of the policy's kernels needs most.
constexpr int shared_bytes(const PolicySpec& p) {
  return with_engine(
      p.engine, [&]<Engine engine>(EngineConstant<engine>) { return EngineTraits<engine>::shared_bytes(p); });
}

/// What every engine asks of a policy; the files of the engines have the rest.
namespace constraint {

constexpr bool block_is_whole_warps(const PolicySpec& p) {
  return p.block_threads >= 32 && p.block_threads <= 1024 && p.block_threads % 32 == 0;
}
constexpr bool tile_is_positive(const PolicySpec& p) { return p.tile.m > 0 && p.tile.n > 0 && p.tile.k > 0; }
constexpr bool stages_fit_shared_memory(const PolicySpec& p) { return shared_bytes(p) <= max_shared_bytes; }

constexpr bool all(const PolicySpec& p) {
  return block_is_whole_warps(p) && tile_is_positive(p) && stages_fit_shared_memory(p) &&
         with_engine(p.engine,
                     [&]<Engine engine>(EngineConstant<engine>) { return EngineTraits<engine>::accepts(p); });
}

}  // namespace constraint

}  // namespace detail

/// A policy as a type. One that breaks a limit does not compile, and the compiler's first line says which and
/// why.
///
///     using MyPolicy = Policy<Dtype::f32, Tile{.m = 128, .n = 128, .k = 16}, 256>;
///     using MyHopperPolicy = Policy<Dtype::bf16, Tile{.m = 128, .n = 256, .k = 64}, 384, 3, Engine::wgmma>;
template <Dtype dtype, Tile tile, int block_threads, int stages = 3, Engine engine = Engine::simt,
          int cluster_m = engine == Engine::wgmma ? 2 : 1, MathMode math_mode = MathMode::plain>
struct Policy {
  static constexpr PolicySpec spec{dtype, tile, block_threads, stages, engine, cluster_m, math_mode};

  static_assert(detail::constraint::block_is_whole_warps(spec),
                "masthead::Policy: block_threads must be a multiple of 32 between 32 and 1024");
  static_assert(detail::constraint::tile_is_positive(spec),
                "masthead::Policy: tile.m, tile.n and tile.k must be positive");
  static_assert(sizeof(typename detail::EngineTraits<engine>::template Sentences<spec>) > 0);
  static_assert(detail::constraint::stages_fit_shared_memory(spec),
                "masthead::Policy: the stages must fit in 227 KB of shared memory");
};

/// `Policy` from a value, for code that computes one.
template <PolicySpec spec>
using PolicyFor = Policy<spec.dtype, spec.tile, spec.block_threads, spec.stages, spec.engine, spec.cluster_m,
                         spec.math_mode>;

}  // namespace masthead::inline v0

#pragma once
/// What every engine says about itself, and what it is asked about a problem.

#include <cstdint>
#include <type_traits>

#include "masthead/policy/spec.hpp"

namespace masthead::inline v0::detail {

/// An Engine that is known when the code is compiled.
template <Engine engine>
using EngineConstant = std::integral_constant<Engine, engine>;

/// The facts that decide which shipped policy a pass takes.
struct PolicyProblem {
  Precision precision;
  int architecture;  ///< 10 * major + minor
  std::int64_t batch, in_features, out_features;
  bool wgmma;     ///< the code is compiled for sm_90a, and TMA can read operands that are multiplied in place
  bool training;  ///< in training mode
};

/// A range of out_features, both ends included.
struct FeatureRange {
  std::int64_t least = 1, most = INT64_MAX;
};

/// Whether the wgmma engines multiply x and the weight of a precision where they are.
constexpr bool has_wgmma(Precision precision) {
  return precision == Precision::bf16 || precision == Precision::fp16 || precision == Precision::tf32;
}

/// The largest extent of a matrix that TMA addresses, with its 32-bit coordinates, up to the end of any tile.
inline constexpr std::int64_t most_tma_extent = INT32_MAX - 512;

/// Whether TMA can address x and the weight of a problem. Eval mode works on some rows of x at a time.
constexpr bool within_tma(const PolicyProblem& p) {
  return p.in_features <= most_tma_extent && p.out_features <= most_tma_extent &&
         (!p.training || p.batch <= most_tma_extent);
}

/// Whether the wgmma engines can multiply x and the weight of a problem where they are.
constexpr bool reads_in_place(const PolicyProblem& p) {
  return p.wgmma && within_tma(p) && has_wgmma(p.precision) && p.architecture == 90 &&
         p.in_features % (16 / size_of(operand_dtype(p.precision))) == 0;
}

/// Features up to which the wgmma engine uses tiles of 64 rows, so that more multiprocessors get one. The
/// swap-AB engine leaves it those that it does not hold in one cluster.
inline constexpr std::int64_t wgmma_m64_features = 1024;

/// What an engine says about itself, a specialization for each in its file in policy/. One that lacks a
/// member does not compile.
///
///     Sentences<spec>          what the compiler prints for a policy that breaks a limit
///     needs_sm90a              whether its code must be compiled for sm_90a and its operands be readable by
///     TMA takes_moments            whether its GEMM kernel takes the moments of columns in training mode
///     linear_kernel            the GEMM kernel of the paths that engines share, as plans name it
///     accepts(spec)            whether a policy keeps every limit
///     shared_bytes(spec)       bytes of dynamic shared memory per block, of whichever kernel needs most
///     moment_splits(spec, m)   splits of a batch of m rows that have moments of their own
///     quantizes(n)             whether rows of n features are kept as quantized logits in a 16-bit y
///     shipped<precision, training>()  the policies a head is built with, an array; empty if it has none
///     select(problem)          the shipped policy for a problem, or nothing: the next engine is asked
///     selected_features(spec)  the out_features that `select` picks `spec` for
template <Engine engine>
struct EngineTraits;

}  // namespace masthead::inline v0::detail

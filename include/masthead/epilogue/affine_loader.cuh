#pragma once
/// Loading each tile's affine: from the raw vectors, folded, to shared memory under the mainloop.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>
#include <type_traits>

#include "masthead/gemm/ring.cuh"
#include "masthead/numeric/feature.cuh"
#include "masthead/numeric/softmax_state.hpp"
#include "masthead/numeric/split.hpp"
#include "masthead/policy/wgmma.hpp"
#include "masthead/ptx/reciprocal.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Folds the affine of a tile's features from the raw vectors, by the warps of the producer warpgroup that
/// have nothing else to do: always from the current parameters, under the mainloop.
template <Sm90Layout layout>
struct AffineLoaderSm90 {
  static constexpr int warps = 3;
  using Ring = StageRing<Sm90Layout::affine_stages>;

  struct SharedStorage {
    alignas(16) AffineColumn column[Sm90Layout::affine_stages][layout.tile.n];  // (affine stage, tile_n)
    alignas(16) float center[Sm90Layout::affine_stages][layout.tile.n];         // (affine stage, tile_n)
  };

  /// Initializes the ring. `threads` write a stage: those of `load`, unless told. One thread calls it.
  // Every lane that wrote or read arrives itself: racecheck cannot follow a lane that does it for its warp.
  __device__ static void init(const Ring& ring, int threads = 32 * warps) {
    ring.init(static_cast<std::uint32_t>(threads), 32 * layout.consumer_warps());
  }

  /// Writes the affine of one tile's features from `first` on, of which `features` exist in all: affine_of(n)
  /// is AffineTerms of feature n. `warps` whole warps call it; `thread` counts through them.
  // Features beyond the last get -inf: they can be neither maximum nor part of a sum.
  template <class AffineOf>
  __device__ __forceinline__ static void load(SharedStorage& storage, const Ring& ring,
                                              typename Ring::State& state, std::int64_t first,
                                              std::int64_t features, int thread, const AffineOf& affine_of) {
    ring.wait_empty(state);
#pragma unroll 1
    for (int j = thread; j < layout.tile.n; j += 32 * warps) {
      RoundedAffine<float> affine{0, negative_infinity<float>};
      if (first + j < features) affine = affine_of(first + j).template rounded<float>();
      storage.column[state.stage][j] = {affine.multiplier, affine.addend};
      storage.center[state.stage][j] = affine.center;
    }
    ring.arrive_full(state);
    state.advance();
  }
};

/// The power of two that e4m3 moves between scales: the row's is applied as scale * 2^-31, and the feature's
/// as scale * 2^31, so that sums of 448^2 and more, times the scale of a row of large numbers, do not
/// overflow on the way to a product that is in range.
inline constexpr int e4m3_sum_exponent = 31;

/// Folds the affine of a tile's features for packed operands, by the warps of the producer warpgroup that
/// have nothing else to do. f16 and f16x3: the powers of two that dequantize a feature lie beside its affine,
/// which then applies to x W^T itself. e4m3: the feature's scale is part of the multiplier.
template <Sm90Layout layout>
struct AffineLoaderPackedSm90 {
  static constexpr int warps = 3;
  static constexpr bool has_powers = has_f16_parts(layout.math_mode);
  using Ring = StageRing<Sm90Layout::affine_stages>;

  struct Powers {
    alignas(16) PowerPair power[Sm90Layout::affine_stages][layout.tile.n];  // (affine stage, tile_n)
  };
  struct NoPowers {};
  struct SharedStorage : std::conditional_t<has_powers, Powers, NoPowers> {
    alignas(16) AffineColumn column[Sm90Layout::affine_stages][layout.tile.n];  // (affine stage, tile_n)
    alignas(16) float center[Sm90Layout::affine_stages][layout.tile.n];         // (affine stage, tile_n)
  };

  /// Initializes the ring. `threads` write a stage: those of `load`, unless told. One thread calls it.
  __device__ static void init(const Ring& ring, int threads = 32 * warps) {
    ring.init(static_cast<std::uint32_t>(threads), 32 * layout.consumer_warps());
  }

  /// Writes the affine of one tile's features from `first` on, of which `features` exist in all: affine_of(n)
  /// is AffineTerms of feature n, `scale` that of the packed weight. `warps` whole warps call it; `thread`
  /// counts through them.
  template <class AffineOf>
  __device__ __forceinline__ static void load(SharedStorage& storage, const Ring& ring,
                                              typename Ring::State& state, std::int64_t first,
                                              std::int64_t features, int thread, const AffineOf& affine_of,
                                              const void* scale) {
    ring.wait_empty(state);
#pragma unroll 1
    for (int j = thread; j < layout.tile.n; j += 32 * warps) {
      RoundedAffine<float> affine{0, negative_infinity<float>};
      [[maybe_unused]] PowerPair power{};
      if (first + j < features) {
        const AffineTerms terms = affine_of(first + j);
        if constexpr (has_powers) {
          power = static_cast<const PowerPair*>(scale)[first + j];
          affine = terms.rounded<float>();
        } else {
          const double factor =
              double{static_cast<const float*>(scale)[first + j]} * (std::int64_t{1} << e4m3_sum_exponent);
          affine = terms.rounded(factor, ptx::reciprocal(static_cast<float>(factor)));
        }
      }
      storage.column[state.stage][j] = {affine.multiplier, affine.addend};
      storage.center[state.stage][j] = affine.center;
      if constexpr (has_powers) storage.power[state.stage][j] = power;
    }
    ring.arrive_full(state);
    state.advance();
  }
};

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

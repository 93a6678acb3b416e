#pragma once
/// Feeding a mainloop with prepared operands: tiles of the parts of x and W by TMA, and each tile's affine
/// with what undoes the scaling of W.

#include <type_traits>

#include "masthead/gemm/loader_sm90.cuh"
#include "masthead/numeric/split.hpp"
#include "masthead/tile/prepared_layout.hpp"

namespace masthead::inline v0 {

/// As LoaderSm90, for operands in parts. One copy brings all parts of x; W takes one a part, because the
/// blocks of a cluster share each part of a stage.
template <Sm90Layout layout>
struct LoaderPreparedSm90 {
  using Ring = StageRing<layout.stages>;

  struct SharedStorage {
    // (stage, part, tile_m, tile_k), 128-byte swizzle
    alignas(1024) unsigned char x[layout.stages][layout.x_bytes()];
    // (stage, part, tile_n, tile_k), 128-byte swizzle
    alignas(1024) unsigned char w[layout.stages][layout.w_bytes()];
  };

  __device__ static void init(const Ring& ring) {
    ring.init(1, static_cast<std::uint32_t>(layout.consumer_warps() * layout.cluster_m));
  }

  /// Loads `k_steps` slices for the tile whose first row of x is `row` and first feature `column`. One
  /// thread.
  __device__ static void load(const CUtensorMap& x, const CUtensorMap& w, SharedStorage& storage,
                              const Ring& ring, typename Ring::State& state, int row, int column, int k_steps,
                              int rank) {
    constexpr auto everyone = static_cast<std::uint16_t>((1 << layout.cluster_m) - 1);
    const int slice = rank * layout.w_slice_rows();
#pragma unroll 1
    for (int step = 0; step < k_steps; ++step, state.advance()) {
      ring.wait_empty(state);
      ring.expect_bytes(state, layout.stage_bytes());
      const int k = step * layout.tile.k;
      cuda::ptx::cp_async_bulk_tensor(cuda::ptx::space_cluster, cuda::ptx::space_global,
                                      storage.x[state.stage], &x, {k, row, 0}, ring.barrier(state));
#pragma unroll
      for (int part = 0; part < layout.parts(); ++part) {
        unsigned char* target = storage.w[state.stage] + (part * layout.tile.n + slice) * swizzle_row_bytes;
        if constexpr (layout.cluster_m == 1) {
          cuda::ptx::cp_async_bulk_tensor(cuda::ptx::space_cluster, cuda::ptx::space_global, target, &w,
                                          {k, column, part}, ring.barrier(state));
        } else {
          cuda::ptx::cp_async_bulk_tensor(cuda::ptx::space_cluster, cuda::ptx::space_global, target, &w,
                                          {k, column + slice, part}, ring.barrier(state), everyone);
        }
      }
    }
  }
};

/// e4m3: the row's scale is applied as scale * 2^-31, and the feature's as scale * 2^31, so that sums of
/// 448^2 and more, times the scale of a row of large numbers, do not overflow on the way to a product that is
/// in range.
inline constexpr int e4m3_sum_exponent = 31;

/// As AffineLoaderSm90. f16 and f16x3: the powers of two that undo a feature's scaling beside its affine,
/// which then applies to x W^T itself; e4m3: the feature's scale is part of the multiplier.
template <Sm90Layout layout>
struct AffineLoaderPreparedSm90 {
  static constexpr int warps = 3;
  static constexpr bool has_powers = has_f16_parts(layout.product);
  using Ring = StageRing<Sm90Layout::affine_stages>;

  struct Powers {
    alignas(16) PowerPair power[Sm90Layout::affine_stages][layout.tile.n];
  };
  struct NoPowers {};
  struct SharedStorage : std::conditional_t<has_powers, Powers, NoPowers> {
    alignas(16) AffineColumn column[Sm90Layout::affine_stages][layout.tile.n];
  };

  /// `threads` write a stage: those of `load`, unless told.
  __device__ static void init(const Ring& ring, int threads = 32 * warps) {
    ring.init(static_cast<std::uint32_t>(threads), 32 * layout.consumer_warps());
  }

  /// As AffineLoaderSm90::load; `scale` is that of the prepared weight.
  template <class AffineOf>
  __device__ __forceinline__ static void load(SharedStorage& storage, const Ring& ring,
                                              typename Ring::State& state, std::int64_t first,
                                              std::int64_t features, int thread, const AffineOf& affine_of,
                                              const void* scale) {
    ring.wait_empty(state);
#pragma unroll 1
    for (int j = thread; j < layout.tile.n; j += 32 * warps) {
      AffineColumn column{0.0f, negative_infinity<float>};
      [[maybe_unused]] PowerPair power{};
      if (first + j < features) {
        Affine folded = affine_of(first + j);
        if constexpr (has_powers) {
          power = static_cast<const PowerPair*>(scale)[first + j];
        } else {
          folded.multiplier *=
              double{static_cast<const float*>(scale)[first + j]} * (std::int64_t{1} << e4m3_sum_exponent);
        }
        column = {static_cast<float>(folded.multiplier), static_cast<float>(folded.addend)};
      }
      storage.column[state.stage][j] = column;
      if constexpr (has_powers) storage.power[state.stage][j] = power;
    }
    ring.arrive_full(state);
    state.advance();
  }
};

}  // namespace masthead::inline v0

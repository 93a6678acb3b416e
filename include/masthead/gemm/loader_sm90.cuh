#pragma once
/// Feeding the Hopper mainloop: tiles of x and W by TMA, the folded affine by ordinary loads.

#include <cuda.h>

#include <cstdint>

#include "masthead/gemm/stage_ring.cuh"
#include "masthead/numeric/feature.cuh"
#include "masthead/numeric/online_softmax.hpp"
#include "masthead/tile/sm90_layout.hpp"

namespace masthead::inline v0 {

/// Slices of k of a tile of x (each block its own) and of W (each block of the cluster loads one part and
/// multicasts it).
template <Sm90Layout layout>
struct LoaderSm90 {
  using Ring = StageRing<layout.stages>;

  struct SharedStorage {
    alignas(
        1024) unsigned char x[layout.stages][layout.x_bytes()];  // (stage, tile_m, tile_k), 128-byte swizzle
    alignas(
        1024) unsigned char w[layout.stages][layout.w_bytes()];  // (stage, tile_n, tile_k), 128-byte swizzle
  };

  __device__ static void init(const Ring& ring) {
    ring.init(1, static_cast<std::uint32_t>(layout.consumer_warps() * layout.cluster_m));
  }

  /// Loads `k_steps` slices for the tile whose first row of x is `row` and first feature `column`. One
  /// thread.
  __device__ static void load(const CUtensorMap& x, const CUtensorMap& w, SharedStorage& storage,
                              const Ring& ring, typename Ring::State& state, int row, int column, int k_steps,
                              int rank) {
    constexpr int slice_bytes = layout.w_bytes() / layout.cluster_m;
    constexpr auto everyone = static_cast<std::uint16_t>((1 << layout.cluster_m) - 1);
    const int slice = rank * layout.w_slice_rows();
#pragma unroll 1
    for (int step = 0; step < k_steps; ++step, state.advance()) {
      ring.wait_empty(state);
      ring.expect_bytes(state, layout.stage_bytes());
      const int k = step * layout.tile.k;
      copy(storage.x[state.stage], x, {k, row}, ring.barrier(state));
      unsigned char* target = storage.w[state.stage] + rank * slice_bytes;
      if constexpr (layout.cluster_m == 1) {
        copy(target, w, {k, column}, ring.barrier(state));
      } else {
        cuda::ptx::cp_async_bulk_tensor(cuda::ptx::space_cluster, cuda::ptx::space_global, target, &w,
                                        {k, column + slice}, ring.barrier(state), everyone);
      }
    }
  }

 private:
  __device__ __forceinline__ static void copy(void* target, const CUtensorMap& map, const int (&at)[2],
                                              std::uint64_t* barrier) {
    cuda::ptx::cp_async_bulk_tensor(cuda::ptx::space_cluster, cuda::ptx::space_global, target, &map, at,
                                    barrier);
  }
};

/// One feature's affine in log2 units, as the epilogue applies it.
struct alignas(8) AffineColumn {
  float multiplier;
  float addend;
};

/// The folded affine of a tile's features, from the raw vectors, by the warps of the producer warpgroup that
/// have nothing else to do: always the current parameters, under the mainloop.
template <Sm90Layout layout>
struct AffineLoaderSm90 {
  static constexpr int warps = 3;
  using Ring = StageRing<Sm90Layout::affine_stages>;

  struct SharedStorage {
    alignas(16) AffineColumn column[Sm90Layout::affine_stages][layout.tile.n];
  };

  // Every lane that wrote or read arrives itself: racecheck cannot follow a lane that does it for its warp.
  /// `threads` write a stage: those of `load`, unless told.
  __device__ static void init(const Ring& ring, int threads = 32 * warps) {
    ring.init(static_cast<std::uint32_t>(threads), 32 * layout.consumer_warps());
  }

  /// Writes the affine of one tile's features from `first` on, of which `features` exist in all: affine_of(n)
  /// is that of feature n. `warps` whole warps call it; `thread` counts through them.
  // Features beyond the last get -inf: they can be neither maximum nor part of a sum.
  template <class AffineOf>
  __device__ __forceinline__ static void load(SharedStorage& storage, const Ring& ring,
                                              typename Ring::State& state, std::int64_t first,
                                              std::int64_t features, int thread, const AffineOf& affine_of) {
    ring.wait_empty(state);
#pragma unroll 1
    for (int j = thread; j < layout.tile.n; j += 32 * warps) {
      AffineColumn column{0.0f, negative_infinity<float>};
      if (first + j < features) {
        const Affine folded = affine_of(first + j);
        column = {static_cast<float>(folded.multiplier), static_cast<float>(folded.addend)};
      }
      storage.column[state.stage][j] = column;
    }
    ring.arrive_full(state);
    state.advance();
  }
};

}  // namespace masthead::inline v0

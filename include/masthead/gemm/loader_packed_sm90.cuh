#pragma once
/// Feeding a mainloop with packed operands: tiles of the parts of x and W by TMA.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <type_traits>

#include "masthead/gemm/loader_sm90.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Loads slices of k of packed operands: of a tile of x (each block its own) and of W (each block of the
/// cluster loads its share of the rows and multicasts it). One copy brings all parts of x; W takes one copy
/// per part, because the blocks of a cluster share each part of a stage.
template <Sm90Layout layout>
struct LoaderPackedSm90 {
  using Ring = StageRing<layout.stages>;

  struct SharedStorage {
    // (stage, part, tile_m, tile_k), 128-byte swizzle
    alignas(1024) unsigned char x[layout.stages][layout.x_bytes()];
    // (stage, part, tile_n, tile_k), 128-byte swizzle
    alignas(1024) unsigned char w[layout.stages][layout.w_bytes()];
  };

  /// Initializes the ring. One thread calls it.
  __device__ static void init(const Ring& ring) {
    ring.init(1, static_cast<std::uint32_t>(layout.consumer_warps() * layout.cluster_m));
  }

  /// Loads `k_steps` slices for the tile whose first row of x is `row` and first feature `column`. One thread
  /// calls it.
  __device__ static void load(const CUtensorMap& x, const CUtensorMap& w, SharedStorage& storage,
                              const Ring& ring, typename Ring::State& state, int row, int column, int k_steps,
                              int cta_rank) {
    constexpr auto everyone = static_cast<std::uint16_t>((1 << layout.cluster_m) - 1);
    const int slice = cta_rank * layout.w_slice_rows();
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

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

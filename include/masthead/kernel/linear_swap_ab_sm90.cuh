#pragma once
/// The GEMM of the swap-AB paths: one tile per block, with features on the instruction's rows.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include "masthead/epilogue/swap_ab.cuh"
#include "masthead/ptx/grid_dependency.cuh"
#include "masthead/ptx/sm90a.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Parameters of linear_swap_ab_sm90_kernel.
template <class T, class U>
struct LinearSwapAbParams {
  CUtensorMap x;             // (batch, in_features), boxes of tile_m x slice_k
  CUtensorMap w;             // (out_features, in_features), boxes of tile_n x slice_k
  Matrix<U> y;               // (batch, out_features)
  Parameters<T> parameters;  // the vectors are read raw
  SoftmaxPartial* partials;  // (batch, tiles_n * tile_n / 64), for SwapAbQuantizedEnd
  Mode mode;                 // training: sums without an affine
  int k_steps;               // stages of k per tile
  int m_blocks;              // ceil(batch / tile_m)
  int tiles_n;               // ceil(out_features / tile_n), in whole clusters
};

/// Multiplies a tile per block and leaves what TileEnd makes of it. Grid: m_blocks * tiles_n blocks, in
/// clusters that cover a row (SwapAbSoftmaxEnd, at most Sm90SwapAbLayout::max_ctas blocks),
/// softmax_part_columns columns (SwapAbQuantizedEnd) or one tile (SwapAbLogitsEnd). Shared memory:
/// TileEnd::layout.shared_bytes().
template <class TileEnd>
__global__ void __launch_bounds__(TileEnd::Policy::spec.block_threads, 1) linear_swap_ab_sm90_kernel(
    const __grid_constant__
        LinearSwapAbParams<DeviceElement<TileEnd::Policy::spec.dtype>, typename TileEnd::Output>
            p) {
  constexpr Sm90SwapAbLayout layout = TileEnd::layout;
  if constexpr (ptx::compiled_for_sm90a) {
    extern __shared__ __align__(16) unsigned char dynamic[];
    using Block = BlockSwapAbSm90<layout>;
    using Epilogue = EpilogueSwapAbSm90<layout>;
    const Block block(dynamic, p.x, p.w, p.tiles_n, p.m_blocks,
                      ptx::cluster_size() * layout.tile.m * TileEnd::exchanged_bytes_per_row);
    // At once: the next kernel's prologue costs this one nothing, and its wait covers this whole grid.
    ptx::grid_dependency_trigger();
    if (block.producer()) {
      block.load(p.x, p.w, p.k_steps, p.m_blocks);
      __syncwarp();
    } else {
      ptx::grid_dependency_wait();
      if (threadIdx.x == 0) block.release();
      const auto affine = Epilogue::affine(p.parameters, p.mode, block.feature(0), block.lane);
      typename Block::Accumulators acc;
      block.multiply(p.k_steps, acc);
      Epilogue::apply_affine(acc, affine);
      TileEnd::finish(block, p, acc);
    }
  } else {
    ptx::not_compiled_for_sm90a();
  }
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

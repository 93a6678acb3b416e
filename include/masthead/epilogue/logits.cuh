#pragma once
/// The tile end of float logits.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include "masthead/epilogue/block_sm90.cuh"
#include "masthead/epilogue/fragment_softmax.cuh"
#include "masthead/epilogue/store_f32.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Ends a tile with logits in log4 units; y is float.
template <class Policy_>
struct LogitsEnd {
  using Policy = Policy_;
  using Output = float;
  static constexpr Mode mode = Mode::eval;
  static constexpr Sm90Layout layout = sm90_layout(Policy::spec);

  template <class Params, int count>
  __device__ __forceinline__ static void finish(const BlockSm90<layout>& block, const Params& p,
                                                float (&acc)[count], const AffineColumn* affine,
                                                const ClusterTile& tile, int) {
    const int warp = block.consumer_warp();
    EpilogueSm90<layout, Dtype::f32>::apply_affine(acc, affine, block.lane);
    StoreF32Sm90<layout, layout.staging_bytes()>::tile(
        p.y, block.storage.staging, acc, block.first_row(tile) + warp * WgmmaFragment::warp_rows,
        block.first_column(tile), warp, block.lane);
  }
};

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

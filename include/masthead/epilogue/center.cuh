#pragma once
/// Subtracting what BatchNorm subtracts, where the affine does not hold it.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include "masthead/policy/wgmma.hpp"
#include "masthead/ptx/opaque.cuh"
#include "masthead/tile/wgmma_fragment.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Subtracts from one warp's sums the centers of their features, `center` (tile_n) in shared memory, at a
/// multiple of 16 bytes. Most heads have none but zeros, and pay for a look at them. All lanes of the warp
/// call it.
template <Sm90Layout layout>
__device__ __forceinline__ void subtract_centers(float (&acc)[layout.accumulators()], const float* center,
                                                 int lane) {
  lane = ptx::opaque(lane);  // addresses that depend on it are not kept across the mainloop
  bool any = false;
#pragma unroll
  for (int j = 0; j < layout.tile.n; j += 128) {
    const float4 four = reinterpret_cast<const float4*>(center + j)[lane];
    any = any || four.x != 0 || four.y != 0 || four.z != 0 || four.w != 0;
  }
  if (!__any_sync(0xffffffffu, any)) return;
#pragma unroll
  for (int j = 0; j < layout.tile.n / 8; ++j) {
    const float2 two = *reinterpret_cast<const float2*>(center + WgmmaFragment::at(lane, j, 0, 0).column);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      acc[WgmmaFragment::slot(j, half, 0)] -= two.x;
      acc[WgmmaFragment::slot(j, half, 1)] -= two.y;
    }
  }
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

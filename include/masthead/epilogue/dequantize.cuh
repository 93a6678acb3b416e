#pragma once
/// Dequantizing the sums of packed operands.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/epilogue/affine_loader.cuh"
#include "masthead/epilogue/fragment_softmax.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Dequantizes one warp's sums before the tile end, which goes on as if they were x W^T. With e4m3 in eval
/// mode the scale of the features is left to their affine.
template <Sm90Layout layout, Mode mode>
struct DequantizeSm90 {
  using Affine = typename AffineLoaderPackedSm90<layout>::SharedStorage;
  using Fragment = WgmmaFragment;

  /// acc becomes x W^T. Row `row` of `batch` is the warp's first; `x_scale` (batch) is that of the packed x.
  /// All lanes of the warp call it.
  __device__ __forceinline__ static void apply(float (&acc)[layout.accumulators()], const void* x_scale,
                                               const Affine& affine, int stage, std::int64_t row,
                                               std::int64_t batch, int lane) {
    const auto row_of = [&](int half) {
      const std::int64_t wanted = row + lane / 4 + 8 * half;
      return wanted < batch ? wanted : batch - 1;
    };
    if constexpr (has_f16_parts(layout.math_mode)) {
      const auto* scale = static_cast<const PowerPair*>(x_scale);
      const PowerPair of_row[2] = {scale[row_of(0)], scale[row_of(1)]};
#pragma unroll
      for (int j = 0; j < layout.tile.n / 8; ++j) {
        const float4 two =
            *reinterpret_cast<const float4*>(&affine.power[stage][Fragment::at(lane, j, 0, 0).column]);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          float& first = acc[Fragment::slot(j, half, 0)];
          float& second = acc[Fragment::slot(j, half, 1)];
          // A product of one power of the row and one of the feature is about the root of what the two undo
          // together: it does not overflow, and where it underflows, so does the result.
          first = first * (of_row[half].first * two.x) * (of_row[half].second * two.y);
          second = second * (of_row[half].first * two.z) * (of_row[half].second * two.w);
        }
        // Else ptxas reads the powers of all columns first, which have no room beside the sums and the
        // moments.
        if constexpr (mode == Mode::training && layout.tile.n > 128) {
          if (j % 16 == 15) __threadfence_block();
        }
      }
    } else {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float of_row =
            static_cast<const float*>(x_scale)[row_of(half)] * power_of_two(-e4m3_sum_exponent);
#pragma unroll
        for (int j = 0; j < layout.tile.n / 8; ++j) {
          acc[Fragment::slot(j, half, 0)] *= of_row;
          acc[Fragment::slot(j, half, 1)] *= of_row;
        }
      }
    }
    if constexpr (layout.math_mode == MathMode::e4m3 && mode == Mode::training) {
      EpilogueSm90<layout, Dtype::f32>::apply_affine(acc, affine.column[stage], lane);
    }
  }
};

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

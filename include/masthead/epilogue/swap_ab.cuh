#pragma once
/// What a thread of the swap-AB engine does with its accumulators.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/epilogue/narrow.cuh"
#include "masthead/gemm/swap_ab_sm90.cuh"
#include "masthead/numeric/feature.cuh"
#include "masthead/reduce/warp.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// What a thread does with its accumulators (tile/swap_ab_fragment.hpp). All lanes of a warp call every
/// function; none synchronizes with another warp.
template <Sm90SwapAbLayout layout>
struct EpilogueSwapAbSm90 {
  using Fragment = SwapAbFragment;
  using Accumulators = float[layout.accumulators()];
  static constexpr int rows = layout.thread_rows();
  /// Rows whose reductions a lane ends with; of 4 rows two lanes end with the same one.
  static constexpr int owned_rows = rows < 8 ? 1 : rows / 8;

  /// The affine of the thread's two features, in log4 units; neutral in training mode.
  struct ThreadAffine {
    float multiplier[2], addend[2], center[2];
  };

  /// Folds the affine of the thread's features, of which `feature` is that of half 0. Features beyond the
  /// last get -inf: they can be neither maximum nor part of a sum. Each lane folds one of the two features
  /// and gets the other's affine from its neighbor.
  template <class T>
  __device__ __forceinline__ static ThreadAffine affine(const Parameters<T>& parameters, Mode mode,
                                                        std::int64_t feature, int lane) {
    const bool upper = lane % 2 != 0;
    const std::int64_t own = upper ? feature + 8 : feature;
    RoundedAffine<float> affine{0, negative_infinity<float>};
    if (own < parameters.weight.rows) {
      affine = {1, 0};
      if (mode == Mode::eval) {
        affine = affine_terms(PendingFeature::load(parameters, own).value(), parameters.epsilon, log4e)
                     .template rounded<float>();
      }
    }
    const RoundedAffine<float> other{__shfl_xor_sync(0xffffffffu, affine.multiplier, 1),
                                     __shfl_xor_sync(0xffffffffu, affine.addend, 1),
                                     __shfl_xor_sync(0xffffffffu, affine.center, 1)};
    const RoundedAffine<float>&low = upper ? other : affine, &high = upper ? affine : other;
    return {{low.multiplier, high.multiplier}, {low.addend, high.addend}, {low.center, high.center}};
  }

  __device__ __forceinline__ static void apply_affine(Accumulators& acc, const ThreadAffine& affine) {
#pragma unroll
    for (int i = 0; i < rows; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float& value = acc[Fragment::slot(i, half)];
        value = fmaf(value - affine.center[half], affine.multiplier[half], affine.addend[half]);
      }
    }
  }

  /// Reduces values[i] over the 8 lanes that share row i: values[0 .. owned_rows) become the results of the
  /// rows from Fragment::owned(lane, rows) on. The order is that of shuffles by xor 4, 8, 16.
  template <class Operation>
  __device__ __forceinline__ static void reduce(float (&values)[rows], int lane, Operation operation) {
    butterfly_of<2, 3>(values, lane, operation);
  }

  /// The result of `reduce` for row number i, in all lanes that hold that row.
  __device__ __forceinline__ static float broadcast(const float (&values)[rows], int lane, int i) {
    const int reversed = rows < 8 ? i * 2 : i / owned_rows;
    const int octet = (reversed & 1) << 2 | (reversed & 2) | reversed >> 2;
    return __shfl_sync(0xffffffffu, values[i % owned_rows], 4 * octet + lane % 4);
  }

  /// Stores acc to y, rounded or (quantized logits) as the low 16 bits; row 0 of the tile is `row` of y,
  /// `feature` that of the thread's half 0.
  template <bool quantized, class U>
  __device__ __forceinline__ static void store(const Matrix<U>& y, std::int64_t row, std::int64_t feature,
                                               int lane, const Accumulators& acc) {
    // Lanes whose features are neighbors swap, so that each has two adjacent features of one row.
    const bool odd = lane / 4 % 2 != 0;
    const bool pairs =
        reinterpret_cast<std::uintptr_t>(y.data) % (2 * sizeof(U)) == 0 && y.row_stride % 2 == 0;
#pragma unroll
    for (int i = 0; i < rows; i += 2) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float even_row = acc[Fragment::slot(i, half)], odd_row = acc[Fragment::slot(i + 1, half)];
        const float other = __shfl_xor_sync(0xffffffffu, odd ? even_row : odd_row, 4);
        const float first = odd ? other : even_row, second = odd ? odd_row : other;
        const std::int64_t r = row + Fragment::at(lane, i, half).row + (odd ? 1 : 0),
                           column = (feature & ~std::int64_t{1}) + 8 * half;
        if (r >= y.rows || column >= y.columns) continue;
        U* target = y.data + r * y.row_stride + column;
        if constexpr (sizeof(U) == 2) {
          const std::uint32_t packed =
              quantized ? __byte_perm(__float_as_uint(first), __float_as_uint(second), 0x5410)
                        : narrow_pair<dtype_of<U>>(first, second);
          auto* bits = reinterpret_cast<std::uint16_t*>(target);
          if (pairs && column + 1 < y.columns) {
            __stwb(reinterpret_cast<unsigned*>(target), packed);
          } else {
            bits[0] = static_cast<std::uint16_t>(packed);
            if (column + 1 < y.columns) bits[1] = static_cast<std::uint16_t>(packed >> 16);
          }
        } else if (pairs && column + 1 < y.columns) {
          __stwb(reinterpret_cast<float2*>(target), make_float2(first, second));
        } else {
          target[0] = first;
          if (column + 1 < y.columns) target[1] = second;
        }
      }
    }
  }
};

/// Ends a tile with logits in log4 units, or in training mode with x W^T; y is float.
template <class Policy_>
struct SwapAbLogitsEnd {
  using Policy = Policy_;
  using Output = float;
  static constexpr Sm90SwapAbLayout layout = sm90_swap_ab_layout(Policy::spec);
  /// What the exchange's barrier expects per row: as much as for a softmax, though nothing is exchanged.
  static constexpr int exchanged_bytes_per_row = sizeof(SoftmaxPartial);

  template <class Params>
  __device__ __forceinline__ static void finish(const BlockSwapAbSm90<layout>& block, const Params& p,
                                                float (&acc)[layout.accumulators()]) {
    EpilogueSwapAbSm90<layout>::template store<false>(p.y, block.first_row(), block.feature(0), block.lane,
                                                      acc);
  }
};

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

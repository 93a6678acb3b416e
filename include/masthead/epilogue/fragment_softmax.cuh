#pragma once
/// From a warp's accumulators to softmax: affine, row statistics, 16-bit quantized logits, staging and
/// stores.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cuda.h>

#include <cstdint>
#include <utility>

#include "masthead/epilogue/narrow.cuh"
#include "masthead/numeric/affine.hpp"
#include "masthead/numeric/quantized_logit.hpp"
#include "masthead/policy/wgmma.hpp"
#include "masthead/ptx/stmatrix.cuh"
#include "masthead/reduce/row_total.cuh"
#include "masthead/tile/wgmma_fragment.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// What one warp does with its 16 x tile.n accumulators (tile/wgmma_fragment.hpp). `out` is the dtype of y.
/// All lanes call every function; none synchronizes with another warp.
template <Sm90Layout layout, Dtype out>
struct EpilogueSm90 {
  static constexpr int columns = layout.tile.n;
  static constexpr int blocks = columns / 8;
  static constexpr int group_blocks = 64 / 8;
  static constexpr int column_groups = columns / 64;  // and boxes of a staging tile
  using Accumulators = float[layout.accumulators()];
  using Fragment = WgmmaFragment;

  /// acc, sums without their centers, become distances of logits from the shift of the tile's columns;
  /// partial[h] becomes the softmax partials of row lane / 4 + 8 h, in all four lanes that share it. Sums of
  /// exponentials are of the exact logits: a quantized logit's rounding then touches one probability, not its
  /// row. end_group.operator()<c>() is called once column group c of 64 columns has been summed.
  // fmaxf drops NaN, which the sum keeps. Exponentials are what limits this: work on a column group that is
  // called from here fills the issue slots between those of the next.
  template <class EndGroup>
  __device__ __forceinline__ static void to_softmax(Accumulators& acc, const AffineColumn* affine, int lane,
                                                    SoftmaxPartial (&partial)[2], const EndGroup& end_group) {
    apply_affine(acc, affine, lane);
    float max[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float maximum[2] = {negative_infinity<float>, negative_infinity<float>};
#pragma unroll
      for (int j = 0; j < blocks; ++j) {
        maximum[0] = fmaxf(maximum[0], acc[Fragment::slot(j, half, 0)]);
        maximum[1] = fmaxf(maximum[1], acc[Fragment::slot(j, half, 1)]);
      }
      max[half] =
          integer_max(over_quad(fmaxf(maximum[0], maximum[1]), [](float a, float b) { return fmaxf(a, b); }));
    }
    const LogitDistance distance[2] = {LogitDistance(max[0]), LogitDistance(max[1])};
    // Rare: logits beyond 2^126.
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      if (!__any_sync(0xffffffffu, distance[half].huge)) continue;
      const float factor = distance[half].huge ? 0.5f : 1.0f;
#pragma unroll
      for (int j = 0; j < blocks; ++j) {
        acc[Fragment::slot(j, half, 0)] *= factor;
        acc[Fragment::slot(j, half, 1)] *= factor;
      }
    }
    float sum[2][column_groups];
    [&]<int... group>(std::integer_sequence<int, group...>) {
      ((sum[0][group] = group_sum<group, 0>(acc, distance[0].shift),
        sum[1][group] = group_sum<group, 1>(acc, distance[1].shift), end_group.template operator()<group>()),
       ...);
    }
    (std::make_integer_sequence<int, column_groups>());
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      partial[half].sum = tree_sum<0, column_groups>(
          [&](int c) { return over_quad(sum[half][c], [](float a, float b) { return a + b; }); });
      // Recomputed rather than kept beside the shift, as there are no registers to spare; behind promoted
      // sums ptxas spills the other way round.
      partial[half].max =
          is_promoted(layout.math_mode) ? max[half] : distance[half].integer_max(partial[half].sum);
    }
  }

  __device__ __forceinline__ static void to_softmax(Accumulators& acc, const AffineColumn* affine, int lane,
                                                    SoftmaxPartial (&partial)[2]) {
    to_softmax(acc, affine, lane, partial, Nothing{});
  }

  /// Does what to_softmax does, and stages the distances as quantized logits in the warp's staging tile.
  __device__ __forceinline__ static void to_staged_softmax(Accumulators& acc, const AffineColumn* affine,
                                                           int lane, SoftmaxPartial (&partial)[2],
                                                           unsigned char* staging) {
    const std::uint32_t base = stmatrix_base(staging, lane);
    to_softmax(acc, affine, lane, partial, [&]<int group>() { stage_quantized<group, group>(acc, base); });
  }
  /// Does what to_softmax does, and stages the distances as quantized logits, one box after the other in the
  /// same place: take_box(i) is called when the warp has written its quantized logits of columns from 64 i
  /// on, and they may be overwritten on its return.
  template <class TakeBox>
  __device__ __forceinline__ static void to_streamed_softmax(Accumulators& acc, const AffineColumn* affine,
                                                             int lane, SoftmaxPartial (&partial)[2],
                                                             unsigned char* box, const TakeBox& take_box) {
    const std::uint32_t base = stmatrix_base(box, lane);
    to_softmax(acc, affine, lane, partial, [&]<int group>() {
      stage_quantized<group, 0>(acc, base);
      take_box(group);
    });
  }

  /// Applies the affine of each column: acc = fma(acc, multiplier, addend).
  __device__ __forceinline__ static void apply_affine(Accumulators& acc, const AffineColumn* affine,
                                                      int lane) {
#pragma unroll
    for (int j = 0; j < blocks; ++j) {
      const float4 two = *reinterpret_cast<const float4*>(affine + Fragment::at(lane, j, 0, 0).column);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float& first = acc[Fragment::slot(j, half, 0)];
        float& second = acc[Fragment::slot(j, half, 1)];
        first = fmaf(first, two.x, two.y);
        second = fmaf(second, two.z, two.w);
      }
    }
  }

  /// Writes the softmax partials of the warp's rows as column part `part` of `parts`; row `first_row` of
  /// `batch` is the warp's first.
  __device__ __forceinline__ static void publish(const SoftmaxPartial (&partial)[2], SoftmaxPartial* partials,
                                                 std::int64_t parts, std::int64_t part,
                                                 std::int64_t first_row, std::int64_t batch, int lane) {
    if (lane % 4 != 0) return;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const std::int64_t row = first_row + lane / 4 + 8 * half;
      if (row < batch) {
        __stcg(reinterpret_cast<float2*>(partials + row * parts + part),
               make_float2(partial[half].max, partial[half].sum));
      }
    }
  }

  /// acc, distances, become (twice) the exponentials that their quantized logits stand for.
  __device__ __forceinline__ static void to_exponentials(Accumulators& acc) {
#pragma unroll
    for (int i = 0; i < layout.accumulators(); ++i) {
      acc[i] = quantized_exponential<out>(QuantizedLogit<out>::encode(acc[i]));
    }
  }

  /// Stages box `box` of the probabilities of these exponentials; factor[h] is that of row lane / 4 + 8 h.
  template <int box>
  __device__ __forceinline__ static void stage_probabilities(const Accumulators& acc,
                                                             const float (&factor)[2], unsigned char* staging,
                                                             int lane) {
    stage_box<box, box>(acc, stmatrix_base(staging, lane), [&](float first, float second, int half) {
      return narrow_pair<out>(first * factor[half], second * factor[half]);
    });
  }

  /// Turns two stored quantized logits into two stored probabilities.
  __device__ __forceinline__ static std::uint32_t normalize_pair(std::uint32_t quantized, float factor) {
    const float low = quantized_logit_from_bits(quantized & 0xffffu),
                high = quantized_logit_from_bits(quantized >> 16);
    return narrow_pair<out>(quantized_exponential<out>(low) * factor,
                            quantized_exponential<out>(high) * factor);
  }
  __device__ __forceinline__ static uint4 normalize(const uint4& quantized, float factor) {
    return make_uint4(normalize_pair(quantized.x, factor), normalize_pair(quantized.y, factor),
                      normalize_pair(quantized.z, factor), normalize_pair(quantized.w, factor));
  }

  /// Rows of a staged box that a lane normalizes: rows 4 i + lane / 8 of the staging tile.
  static constexpr int rows_per_lane = Fragment::warp_rows * swizzle_row_bytes / (32 * 16);

  /// Turns the quantized logits of one staged box into probabilities, in place; factor[i] is that of the
  /// lane's i-th row.
  __device__ __forceinline__ static void normalize_box(unsigned char* staging, int box, int lane,
                                                       const float (&factor)[rows_per_lane]) {
#pragma unroll
    for (int i = 0; i < rows_per_lane; ++i) {
      auto* vector = reinterpret_cast<uint4*>(staging + box * StagingTile::box_bytes) + i * 32 + lane;
      *vector = normalize(*vector, factor[i]);
    }
  }

 private:
  struct Nothing {
    template <int group>
    __device__ __forceinline__ void operator()() const {}
  };

  // Four addresses serve all blocks, the rest is immediate: sixteen would stay in registers across the
  // mainloop.
  __device__ __forceinline__ static std::uint32_t stmatrix_base(unsigned char* staging, int lane) {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(staging)) +
           static_cast<std::uint32_t>(StagingTile::stmatrix_offset(lane, 0));
  }

  /// Stages pack(first, second, half) of the pairs of box `box` as box `place` of the staging tile; a lane's
  /// address of block j is base ^ 16 (j % 8) in its box (tested against StagingTile::stmatrix_offset).
  template <int box, int place, class Pack>
  __device__ __forceinline__ static void stage_box(const Accumulators& acc, std::uint32_t base,
                                                   const Pack& pack) {
#pragma unroll
    for (int j = 0; j < group_blocks; j += 2) {
      std::uint32_t packed[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int half = i % 2, block = box * group_blocks + j + i / 2;
        packed[i] = pack(acc[Fragment::slot(block, half, 0)], acc[Fragment::slot(block, half, 1)], half);
      }
      ptx::stmatrix_x4<place * StagingTile::box_bytes>(base ^ static_cast<std::uint32_t>(16 * j), packed[0],
                                                       packed[1], packed[2], packed[3]);
    }
  }
  template <int box, int place>
  __device__ __forceinline__ static void stage_quantized(const Accumulators& acc, std::uint32_t base) {
    stage_box<box, place>(acc, base, [](float first, float second, int) {
      return __byte_perm(quantized_bits(first), quantized_bits(second), 0x5410);
    });
  }

  __device__ __forceinline__ static std::uint32_t quantized_bits(float distance) {
    return quantized_logit_bits(QuantizedLogit<out>::encode(distance));
  }

  /// Σ 2^-distance over a lane's logits of one column group and row half, which become distances.
  template <int group, int half>
  __device__ __forceinline__ static float group_sum(Accumulators& acc, float shift) {
    return tree_sum<0, group_blocks>([&](int j) {
      return exponential(acc[Fragment::slot(group * group_blocks + j, half, 0)], shift) +
             exponential(acc[Fragment::slot(group * group_blocks + j, half, 1)], shift);
    });
  }

  /// 2^-distance of a logit that was halved where the shift is huge; `value` becomes its distance.
  __device__ __forceinline__ static float exponential(float& value, float shift) {
    value = LogitDistance::of_halved(value, shift);
    return exp2_flushed(-value);
  }

  /// Σ value(i) over `count` (a power of two) from `first` on, as a binary tree.
  template <int first, int count, class Value>
  __device__ __forceinline__ static float tree_sum(Value value) {
    if constexpr (count == 1) {
      return value(first);
    } else {
      const float left = tree_sum<first, count / 2>(value);
      return left + tree_sum<first + count / 2, count / 2>(value);
    }
  }
};

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

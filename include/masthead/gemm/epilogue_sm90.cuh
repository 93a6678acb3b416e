#pragma once
/// From a warp's accumulators to softmax: affine, row statistics, 16-bit codes, staging and stores.

#include <cuda.h>

#include <cstdint>
#include <utility>

#include "masthead/gemm/loader_sm90.cuh"
#include "masthead/ptx/stmatrix.cuh"
#include "masthead/reduce/row_partials.cuh"
#include "masthead/tile/wgmma_fragment.hpp"

namespace masthead::inline v0 {

/// Two values rounded to `out`, the first in the low half.
template <Dtype out>
__device__ __forceinline__ std::uint32_t narrow_pair(float low, float high) {
  if constexpr (out == Dtype::bf16) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const std::uint32_t*>(&pair);
  } else {
    const __half2 pair = __floats2half2_rn(low, high);
    return *reinterpret_cast<const std::uint32_t*>(&pair);
  }
}

/// What one warp does with its 16 x tile.n accumulators (tile/wgmma_fragment.hpp). `out` is the dtype of y.
/// All lanes call every function; none synchronises with another warp.
template <Sm90Layout layout, Dtype out>
struct EpilogueSm90 {
  static constexpr int columns = layout.tile.n;
  static constexpr int blocks = columns / 8;
  static constexpr int chunk_blocks = 64 / 8;
  static constexpr int chunks = columns / 64;  // and boxes of a panel
  using Accumulators = float[layout.accumulators()];
  using Fragment = WgmmaFragment;

  /// acc becomes distances from the part's reference; partial[h] is the statistics of row lane / 4 + 8 h, in
  /// all four lanes that share it. Sums are of the exact logits: a code's rounding then touches one
  /// probability, not its row. end_chunk.operator()<c>() is called once chunk c of 64 columns has been
  /// summed.
  // fmaxf drops NaN, which the sum keeps. Exponentials are what limits this: work on a chunk that is called
  // from here fills the issue slots between those of the next.
  template <class EndChunk>
  __device__ __forceinline__ static void to_softmax(Accumulators& acc, const AffineColumn* affine, int lane,
                                                    RowPartial (&partial)[2], const EndChunk& end_chunk) {
    apply_affine(acc, affine, lane);
    float subtracted[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float maximum[2] = {negative_infinity<float>, negative_infinity<float>};
#pragma unroll
      for (int j = 0; j < blocks; ++j) {
        maximum[0] = fmaxf(maximum[0], acc[Fragment::index(j, half, 0)]);
        maximum[1] = fmaxf(maximum[1], acc[Fragment::index(j, half, 1)]);
      }
      partial[half].reference = integer_reference(
          over_quad(fmaxf(maximum[0], maximum[1]), [](float a, float b) { return fmaxf(a, b); }));
      subtracted[half] = finite_reference(partial[half].reference);
    }
    float sum[2][chunks];
    [&]<int... chunk>(std::integer_sequence<int, chunk...>) {
      ((sum[0][chunk] = chunk_sum<chunk, 0>(acc, subtracted[0]),
        sum[1][chunk] = chunk_sum<chunk, 1>(acc, subtracted[1]), end_chunk.template operator()<chunk>()),
       ...);
    }
    (std::make_integer_sequence<int, chunks>());
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      partial[half].sum = tree_sum<0, chunks>(
          [&](int c) { return over_quad(sum[half][c], [](float a, float b) { return a + b; }); });
    }
  }

  __device__ __forceinline__ static void to_softmax(Accumulators& acc, const AffineColumn* affine, int lane,
                                                    RowPartial (&partial)[2]) {
    to_softmax(acc, affine, lane, partial, Nothing{});
  }

  /// The same with the distances staged as codes in the warp's panel.
  __device__ __forceinline__ static void to_staged_softmax(Accumulators& acc, const AffineColumn* affine,
                                                           int lane, RowPartial (&partial)[2],
                                                           unsigned char* panel) {
    const std::uint32_t base = stmatrix_base(panel, lane);
    to_softmax(acc, affine, lane, partial, [&]<int chunk>() { stage_codes<chunk, chunk>(acc, base); });
  }
  /// The same with one box after the other staged in the same place; take_box(i) is called when the warp has
  /// written its codes of columns from 64 i on, and they may be overwritten on its return.
  template <class TakeBox>
  __device__ __forceinline__ static void to_streamed_softmax(Accumulators& acc, const AffineColumn* affine,
                                                             int lane, RowPartial (&partial)[2],
                                                             unsigned char* box, const TakeBox& take_box) {
    const std::uint32_t base = stmatrix_base(box, lane);
    to_softmax(acc, affine, lane, partial, [&]<int chunk>() {
      stage_codes<chunk, 0>(acc, base);
      take_box(chunk);
    });
  }

  /// acc = fma(acc, multiplier, addend) by column.
  __device__ __forceinline__ static void apply_affine(Accumulators& acc, const AffineColumn* affine,
                                                      int lane) {
#pragma unroll
    for (int j = 0; j < blocks; ++j) {
      const float4 two = *reinterpret_cast<const float4*>(affine + Fragment::at(lane, j, 0, 0).column);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float& first = acc[Fragment::index(j, half, 0)];
        float& second = acc[Fragment::index(j, half, 1)];
        first = fmaf(first, two.x, two.y);
        second = fmaf(second, two.z, two.w);
      }
    }
  }

  /// Writes the statistics of the warp's rows; row `first_row` of `batch` is the warp's first.
  __device__ __forceinline__ static void publish(const RowPartial (&partial)[2], RowPartial* partials,
                                                 std::int64_t parts, std::int64_t part,
                                                 std::int64_t first_row, std::int64_t batch, int lane) {
    if (lane % 4 != 0) return;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const std::int64_t row = first_row + lane / 4 + 8 * half;
      if (row < batch) {
        __stcg(reinterpret_cast<float2*>(partials + row * parts + part),
               make_float2(partial[half].reference, partial[half].sum));
      }
    }
  }

  /// acc, distances, become the exponentials that their codes stand for.
  __device__ __forceinline__ static void to_exponentials(Accumulators& acc) {
#pragma unroll
    for (int i = 0; i < layout.accumulators(); ++i) {
      acc[i] = coded_exponential<out>(LogitCode<out>::encode(acc[i]));
    }
  }

  /// Stages box `box` of the probabilities of these exponentials; factor[h] is that of row lane / 4 + 8 h.
  template <int box>
  __device__ __forceinline__ static void stage_probabilities(const Accumulators& acc,
                                                             const float (&factor)[2], unsigned char* panel,
                                                             int lane) {
    stage_box<box, box>(acc, stmatrix_base(panel, lane), [&](float first, float second, int half) {
      return narrow_pair<out>(first * factor[half], second * factor[half]);
    });
  }

  /// Two stored codes to two stored probabilities.
  __device__ __forceinline__ static std::uint32_t normalise_pair(std::uint32_t codes, float factor) {
    const float low = logit_code_from_bits(codes & 0xffffu), high = logit_code_from_bits(codes >> 16);
    return narrow_pair<out>(coded_exponential<out>(low) * factor, coded_exponential<out>(high) * factor);
  }
  __device__ __forceinline__ static uint4 normalise(const uint4& codes, float factor) {
    return make_uint4(normalise_pair(codes.x, factor), normalise_pair(codes.y, factor),
                      normalise_pair(codes.z, factor), normalise_pair(codes.w, factor));
  }

  /// Rows of a staged box that a lane normalises: panel rows 4 i + lane / 8.
  static constexpr int rows_a_lane = Fragment::warp_rows * swizzle_row_bytes / (32 * 16);

  /// The codes of one staged box become probabilities in place; factor[i] is that of the lane's i-th row.
  __device__ __forceinline__ static void normalise_box(unsigned char* panel, int box, int lane,
                                                       const float (&factor)[rows_a_lane]) {
#pragma unroll
    for (int i = 0; i < rows_a_lane; ++i) {
      auto* unit = reinterpret_cast<uint4*>(panel + box * WarpPanel::box_bytes) + i * 32 + lane;
      *unit = normalise(*unit, factor[i]);
    }
  }

 private:
  struct Nothing {
    template <int chunk>
    __device__ __forceinline__ void operator()() const {}
  };

  // Four addresses serve all blocks, the rest is immediate: sixteen would be kept across the mainloop.
  __device__ __forceinline__ static std::uint32_t stmatrix_base(unsigned char* panel, int lane) {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(panel)) +
           static_cast<std::uint32_t>(WarpPanel::stmatrix_offset(lane, 0));
  }

  /// Stages pack(first, second, half) of the pairs of box `box` as box `place` of the panel; lane's address
  /// of block j is base ^ 16 (j % 8) in its box (tested against WarpPanel::stmatrix_offset).
  template <int box, int place, class Pack>
  __device__ __forceinline__ static void stage_box(const Accumulators& acc, std::uint32_t base,
                                                   const Pack& pack) {
#pragma unroll
    for (int j = 0; j < chunk_blocks; j += 2) {
      std::uint32_t packed[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int half = i % 2, block = box * chunk_blocks + j + i / 2;
        packed[i] = pack(acc[Fragment::index(block, half, 0)], acc[Fragment::index(block, half, 1)], half);
      }
      ptx::stmatrix_x4<place * WarpPanel::box_bytes>(base ^ static_cast<std::uint32_t>(16 * j), packed[0],
                                                     packed[1], packed[2], packed[3]);
    }
  }
  template <int box, int place>
  __device__ __forceinline__ static void stage_codes(const Accumulators& acc, std::uint32_t base) {
    stage_box<box, place>(acc, base, [](float first, float second, int) {
      return __byte_perm(code_bits(first), code_bits(second), 0x5410);
    });
  }

  __device__ __forceinline__ static std::uint32_t code_bits(float distance) {
    return logit_code_bits(LogitCode<out>::encode(distance));
  }

  /// Σ 2^(t - reference) over a lane's logits of one chunk and row half, which become distances.
  template <int chunk, int half>
  __device__ __forceinline__ static float chunk_sum(Accumulators& acc, float reference) {
    return tree_sum<0, chunk_blocks>([&](int j) {
      return exponential(acc[Fragment::index(chunk * chunk_blocks + j, half, 0)], reference) +
             exponential(acc[Fragment::index(chunk * chunk_blocks + j, half, 1)], reference);
    });
  }

  /// 2^(value - reference); value becomes its distance from the reference.
  __device__ __forceinline__ static float exponential(float& value, float reference) {
    value = reference - value;
    return exp2_flushed(-value);
  }

  template <class Operation>
  __device__ __forceinline__ static float over_quad(float value, Operation operation) {
    value = operation(value, __shfl_xor_sync(0xffffffffu, value, 1));
    return operation(value, __shfl_xor_sync(0xffffffffu, value, 2));
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

}  // namespace masthead::inline v0

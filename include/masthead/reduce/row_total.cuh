#pragma once
/// The total of a row from the softmax partials of its column parts, summed in the canonical order.
///
/// The canonical order of a row's sum of exponentials is a binary tree over the bits of the column index, in
/// the order 0, 3, 4, 5, 1, 2 inside a column group of 64 (what costs a wgmma or mma fragment fewest
/// shuffles), then 6, 7, ... over column groups up to spans of 32 column parts; spans are added in ascending
/// order. The max of a column part is an integer in log2 units, so that changing the shift of a sum is exact;
/// but each exponential, and each quantized logit, is rounded relative to the shift of its column part. So
/// two kernels give a row the same bits when the same columns share a shift, whatever their tiles: the tiles
/// of m128n256 and the swap-AB engine share one among 256 columns.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/numeric/exp2.hpp"
#include "masthead/numeric/softmax_state.hpp"
#include "masthead/ptx/reciprocal.cuh"
#include "masthead/reduce/warp.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// The total of a whole row, which its column parts are normalized with.
struct SoftmaxTotal {
  float shift;
  float sum;

  /// The factor of a column part, at most 1: p = factor * 2 * 4^(t - shift of the column part).
  __device__ float factor(float part_max) const {
    return exp4_flushed(part_max - shift) * (0.5f * ptx::reciprocal(sum));
  }
};

/// Column parts of a span: one per lane.
inline constexpr int span_parts = 32;

/// The softmax partials of column part `part` of `parts`; beyond the last, those of no columns. A column part
/// is stored as `pieces` (1 or 4) of equally many columns and one shift, whose sums end its tree. Reads past
/// L1: another SM wrote them in this launch.
template <int pieces = 1>
__device__ __forceinline__ SoftmaxPartial load_partial(const SoftmaxPartial* row, int part, int parts) {
  if (part >= parts) return {};
  if constexpr (pieces == 1) {
    const float2 value = __ldcg(reinterpret_cast<const float2*>(row + part));
    return {value.x, value.y};
  } else {
    static_assert(pieces == 4);
    const auto* at = reinterpret_cast<const float4*>(row + 4 * part);
    const float4 low = __ldcg(at), high = __ldcg(at + 1);
    return {low.x, (low.y + low.w) + (high.y + high.w)};
  }
}

/// Reduces values[i] over the warp for each i: lane l returns the result for i = owned_row(l). The tree is
/// the one of shuffles by xor 1, 2, 4, 8, 16.
template <class Operation>
__device__ __forceinline__ float reduce_16_rows(float (&values)[16], int lane, Operation operation) {
  butterfly_of<0, 5>(values, lane, operation);
  return values[0];
}

/// Which of 16 rows a lane owns after reduce_16_rows, and the first lane that owns a row: both reverse 4
/// bits.
MASTHEAD_HOST_DEVICE constexpr int owned_row(int lane) {
  return (lane & 1) << 3 | (lane & 2) << 1 | (lane & 4) >> 1 | (lane & 8) >> 3;
}

/// The totals of 16 rows, `row_stride` partials apart: lane l returns that of row owned_row(l). All lanes
/// call it; `rows` of the 16 exist.
__device__ __forceinline__ SoftmaxTotal total_of_16_rows(const SoftmaxPartial* first, std::int64_t row_stride,
                                                         int rows, int parts, int lane) {
  SoftmaxPartial part[16];
  float values[16];
  const auto load_span = [&](int span) {
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      part[i] = i < rows ? load_partial(first + i * row_stride, span + lane, parts) : SoftmaxPartial{};
    }
  };
#pragma unroll
  for (int i = 0; i < 16; ++i) values[i] = negative_infinity<float>;
#pragma unroll 1
  for (int span = 0; span < parts; span += span_parts) {
    load_span(span);
#pragma unroll
    for (int i = 0; i < 16; ++i) values[i] = larger(values[i], part[i].max);
  }
  const float shift =
      finite_shift(reduce_16_rows(values, lane, [](float a, float b) { return larger(a, b); }));

  float sum = 0;
#pragma unroll 1
  for (int span = 0; span < parts; span += span_parts) {
    if (parts > span_parts) load_span(span);
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      const float row_shift = __shfl_sync(0xffffffffu, shift, owned_row(i));
      values[i] = part[i].sum * exp4_flushed(part[i].max - row_shift);
    }
    sum += reduce_16_rows(values, lane, [](float a, float b) { return a + b; });
  }
  return {shift, sum};
}

/// The total of one row by a warp, in every lane, with the bits of total_of_16_rows. Unlike the other totals
/// it reads through L1, twice: a lane of the warp has acquired what others wrote.
__device__ __forceinline__ SoftmaxTotal warp_softmax_total(const SoftmaxPartial* row, int parts, int lane) {
  constexpr int in_flight = 4;
  float shift = negative_infinity<float>;
  const SoftmaxPartial* own = row + lane;
#pragma unroll 1
  for (int left = parts - lane; left > 0; left -= in_flight * span_parts, own += in_flight * span_parts) {
#pragma unroll
    for (int i = 0; i < in_flight; ++i) {
      if (i * span_parts < left) shift = larger(shift, own[i * span_parts].max);
    }
  }
  shift = finite_shift(over_warp(shift, [](float a, float b) { return larger(a, b); }));
  float sum = 0;
  own = row + lane;
#pragma unroll 1
  for (int left = parts - lane; left + lane > 0; left -= span_parts, own += span_parts) {
    SoftmaxPartial part;
    if (left > 0) part = *own;
    sum += over_warp(part.sum * exp4_flushed(part.max - shift), [](float a, float b) { return a + b; });
  }
  return {shift, sum};
}

/// The total of one row by a block of `warps` warps, in every thread, with the bits of total_of_16_rows. A
/// column part is stored as `pieces` (load_partial). All threads call it; it synchronizes the block when a
/// row has more than one span, and on return the storage may be used again.
template <int warps, int pieces = 1>
class BlockSoftmaxTotal {
 public:
  struct TempStorage {
    float max[warps], sum[warps];  // (warp)
  };

  __device__ explicit BlockSoftmaxTotal(TempStorage& storage) : storage_(storage) {}

  __device__ SoftmaxTotal operator()(const SoftmaxPartial* row, int parts) {
    constexpr int round = warps * span_parts;
    const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
    const bool one_span = parts <= span_parts;  // then every warp sums it for itself
    const int own = one_span ? lane : thread;
    const SoftmaxPartial first = load_partial<pieces>(row, own, parts);
    float shift = first.max;
    for (int part = own + round; part < parts; part += round) {
      shift = larger(shift, load_partial<pieces>(row, part, parts).max);
    }
    shift = over_warp(shift, [](float a, float b) { return larger(a, b); });
    if (!one_span) {
      if (lane == 0) storage_.max[warp] = shift;
      __syncthreads();
#pragma unroll
      for (int w = 0; w < warps; ++w) shift = larger(shift, storage_.max[w]);
    }
    shift = finite_shift(shift);
    float sum = 0;
    for (int start = 0; start < parts; start += round) {
      const SoftmaxPartial part = start == 0 ? first : load_partial<pieces>(row, start + own, parts);
      const float span =
          over_warp(part.sum * exp4_flushed(part.max - shift), [](float a, float b) { return a + b; });
      if (one_span) return {shift, span};
      if (lane == 0) storage_.sum[warp] = span;
      __syncthreads();
#pragma unroll
      for (int w = 0; w < warps; ++w) sum += storage_.sum[w];
      __syncthreads();
    }
    return {shift, sum};
  }

 private:
  TempStorage& storage_;
};

/// The total of a row, in every lane, from the softmax partials of its `count` column parts in shared memory:
/// spans of 32 in ascending order.
template <int count>
__device__ __forceinline__ SoftmaxTotal total_of_spans(const SoftmaxPartial (&parts)[count], int lane) {
  constexpr int spans = count / span_parts;
  float shift = negative_infinity<float>;
#pragma unroll
  for (int span = 0; span < spans; ++span) {
    shift = larger(shift, parts[span * span_parts + lane].max);
  }
#pragma unroll
  for (int mask = 1; mask < 32; mask *= 2) {
    shift = larger(shift, __shfl_xor_sync(0xffffffffu, shift, mask));
  }
  shift = finite_shift(shift);
  float sum = 0;
#pragma unroll
  for (int span = 0; span < spans; ++span) {
    const SoftmaxPartial part = parts[span * span_parts + lane];
    float of_span = part.sum * exp4_flushed(part.max - shift);
#pragma unroll
    for (int mask = 1; mask < 32; mask *= 2) of_span += __shfl_xor_sync(0xffffffffu, of_span, mask);
    sum += of_span;
  }
  return {shift, sum};
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

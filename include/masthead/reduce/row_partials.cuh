#pragma once
/// Softmax statistics of rows in parts, and their sum in the canonical order.
///
/// The canonical order of a row's sum of exponentials is a binary tree over the bits of the column index, in
/// the order 0, 3, 4, 5, 1, 2 inside a chunk of 64 columns (what costs a wgmma or mma fragment fewest
/// shuffles), then 6, 7, ... over chunks up to spans of 32 parts; spans are added in ascending order. Parts
/// carry integer references, so that changing the reference of a sum is exact; but each exponential, and each
/// code, is rounded relative to the reference of its part. So two kernels give a row the same bits when the
/// same columns share a reference, whatever their tiles: the wide policy and the transposed engine share one
/// among 256 columns.

#include <cstdint>

#include "masthead/numeric/logit_code.hpp"
#include "masthead/numeric/online_softmax.hpp"
#include "masthead/ptx/reciprocal.cuh"

namespace masthead::inline v0 {

/// A part of a row: sum = Σ exp2(t - reference) over its logits t in log2 units; reference is an integer >=
/// their maximum, or -inf when all are -inf.
struct alignas(8) RowPartial {
  float reference = negative_infinity<float>;
  float sum = 0;
};

/// A whole row, ready to normalise parts of it with.
struct RowTotal {
  float reference;
  float sum;

  /// p = factor * 2 exp2(t - reference of the part); at most 1.
  __device__ float factor(float part_reference) const {
    return exp2_flushed(part_reference - reference) * (0.5f * ptx::reciprocal(sum));
  }
};

/// The integer reference of a maximum.
MASTHEAD_HOST_DEVICE float integer_reference(float maximum) { return ceilf(maximum); }

/// A reference that may be subtracted: -inf, of an empty part, becomes 0.
MASTHEAD_HOST_DEVICE float finite_reference(float reference) {
  return reference == negative_infinity<float> ? 0.0f : reference;
}

#if defined(__CUDACC__)

inline constexpr int span_parts = 32;  // one a lane

/// Reads past L1: another SM wrote it in this launch. A part is kept as `pieces` (1 or 4) of equal columns
/// and one reference; their sums end its tree.
template <int pieces = 1>
__device__ __forceinline__ RowPartial load_partial(const RowPartial* row, int part, int parts) {
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

/// Reduces values[i] over the warp for each i, by a butterfly that halves the values a lane carries: lane l
/// ends with the result for i = owned_row(l). The tree is the one of shuffles by xor 1, 2, 4, 8, 16.
template <class Operation>
__device__ __forceinline__ float reduce_16_rows(float (&values)[16], int lane, Operation operation) {
#pragma unroll
  for (int step = 0; step < 4; ++step) {
    const int half = 8 >> step;
    const bool upper = (lane >> step) & 1;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if (i >= half) continue;  // a fixed bound: the values must stay in registers
      const float sent = upper ? values[i] : values[i + half];
      const float kept = upper ? values[i + half] : values[i];
      values[i] = operation(kept, __shfl_xor_sync(0xffffffffu, sent, 1 << step));
    }
  }
  return operation(values[0], __shfl_xor_sync(0xffffffffu, values[0], 16));
}

/// Which of 16 rows a lane owns after reduce_16_rows, and the first lane that owns a row: both reverse 4
/// bits.
MASTHEAD_HOST_DEVICE constexpr int owned_row(int lane) {
  return (lane & 1) << 3 | (lane & 2) << 1 | (lane & 4) >> 1 | (lane & 8) >> 3;
}

/// The totals of 16 rows, `row_stride` partials apart: lane l returns that of row owned_row(l). All lanes
/// call it; `rows` of the 16 exist.
__device__ __forceinline__ RowTotal total_of_16_rows(const RowPartial* first, std::int64_t row_stride,
                                                     int rows, int parts, int lane) {
  RowPartial part[16];
  float values[16];
  const auto load_span = [&](int span) {
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      part[i] = i < rows ? load_partial(first + i * row_stride, span + lane, parts) : RowPartial{};
    }
  };
#pragma unroll
  for (int i = 0; i < 16; ++i) values[i] = negative_infinity<float>;
#pragma unroll 1
  for (int span = 0; span < parts; span += span_parts) {
    load_span(span);
#pragma unroll
    for (int i = 0; i < 16; ++i) values[i] = larger(values[i], part[i].reference);
  }
  const float reference =
      finite_reference(reduce_16_rows(values, lane, [](float a, float b) { return larger(a, b); }));

  float sum = 0;
#pragma unroll 1
  for (int span = 0; span < parts; span += span_parts) {
    if (parts > span_parts) load_span(span);
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      const float row_reference = __shfl_sync(0xffffffffu, reference, owned_row(i));
      values[i] = part[i].sum * exp2_flushed(part[i].reference - row_reference);
    }
    sum += reduce_16_rows(values, lane, [](float a, float b) { return a + b; });
  }
  return {reference, sum};
}

/// operation over the warp, in every lane, by shuffles of xor 1, 2, 4, 8, 16.
template <class Operation>
__device__ __forceinline__ float over_warp(float value, Operation operation) {
#pragma unroll
  for (int mask = 1; mask < 32; mask *= 2) {
    value = operation(value, __shfl_xor_sync(0xffffffffu, value, mask));
  }
  return value;
}

/// The total of one row by a warp, in every lane; the same bits as total_of_16_rows. Unlike the others it
/// reads through L1, twice: a lane of the warp has acquired what others wrote.
__device__ __forceinline__ RowTotal warp_row_total(const RowPartial* row, int parts, int lane) {
  constexpr int under_way = 4;
  float reference = negative_infinity<float>;
  const RowPartial* own = row + lane;
#pragma unroll 1
  for (int left = parts - lane; left > 0; left -= under_way * span_parts, own += under_way * span_parts) {
#pragma unroll
    for (int i = 0; i < under_way; ++i) {
      if (i * span_parts < left) reference = larger(reference, own[i * span_parts].reference);
    }
  }
  reference = finite_reference(over_warp(reference, [](float a, float b) { return larger(a, b); }));
  float sum = 0;
  own = row + lane;
#pragma unroll 1
  for (int left = parts - lane; left + lane > 0; left -= span_parts, own += span_parts) {
    RowPartial part;
    if (left > 0) part = *own;
    sum += over_warp(part.sum * exp2_flushed(part.reference - reference),
                     [](float a, float b) { return a + b; });
  }
  return {reference, sum};
}

/// The total of one row by a block of `warps` warps, in every thread; the same bits as total_of_16_rows. A
/// part is kept as `pieces`. All threads call it; it synchronises the block when a row has more than one
/// span, and on return the storage may be used again.
template <int warps, int pieces = 1>
class BlockRowTotal {
 public:
  struct TempStorage {
    float reference[warps], sum[warps];
  };

  __device__ explicit BlockRowTotal(TempStorage& storage) : storage_(storage) {}

  __device__ RowTotal operator()(const RowPartial* row, int parts) {
    constexpr int round = warps * span_parts;
    const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
    const bool one_span = parts <= span_parts;  // then every warp sums it for itself
    const int own = one_span ? lane : thread;
    const RowPartial first = load_partial<pieces>(row, own, parts);
    float reference = first.reference;
    for (int part = own + round; part < parts; part += round) {
      reference = larger(reference, load_partial<pieces>(row, part, parts).reference);
    }
    reference = over_warp(reference, [](float a, float b) { return larger(a, b); });
    if (!one_span) {
      if (lane == 0) storage_.reference[warp] = reference;
      __syncthreads();
#pragma unroll
      for (int w = 0; w < warps; ++w) reference = larger(reference, storage_.reference[w]);
    }
    reference = finite_reference(reference);
    float sum = 0;
    for (int start = 0; start < parts; start += round) {
      const RowPartial part = start == 0 ? first : load_partial<pieces>(row, start + own, parts);
      const float span = over_warp(part.sum * exp2_flushed(part.reference - reference),
                                   [](float a, float b) { return a + b; });
      if (one_span) return {reference, span};
      if (lane == 0) storage_.sum[warp] = span;
      __syncthreads();
#pragma unroll
      for (int w = 0; w < warps; ++w) sum += storage_.sum[w];
      __syncthreads();
    }
    return {reference, sum};
  }

 private:
  TempStorage& storage_;
};

#endif  // __CUDACC__

}  // namespace masthead::inline v0

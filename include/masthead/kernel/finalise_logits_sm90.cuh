#pragma once
/// The second half of the transposed Hopper path for rows of moderate width: softmax of float logits, with
/// the bits that the wide policy's tiles and codes give.

#include "masthead/gemm/epilogue_sm90.cuh"
#include "masthead/ptx/grid_dependency.cuh"

namespace masthead::inline v0 {

template <class U>
struct FinaliseLogitsParams {
  Matrix<const float> logits;  // (batch, out_features), log2 units; rows start at multiples of 16 bytes
  Matrix<U> y;                 // (batch, out_features), 16-bit
};

/// A row in the registers of one block: a warp takes parts of 256 columns, which share a reference.
struct FinaliseLogits {
  static constexpr int threads = 512, warps = threads / 32;
  static constexpr int part_columns = 256, lane_columns = part_columns / 32;
  /// Of a warp, at most: 2 or 4.
  static constexpr int parts_a_warp = 4;
  /// Columns of a row, at most.
  static constexpr std::int64_t columns = std::int64_t{parts_a_warp} * warps * part_columns;
};

/// The statistics of one part; values become distances from its reference. A lane holds 8 adjacent columns:
/// the sum takes column bits in the canonical order (reduce/row_partials.cuh).
__device__ __forceinline__ RowPartial part_of_lanes(float (&values)[FinaliseLogits::lane_columns]) {
  float maximum = values[0];
#pragma unroll
  for (int i = 1; i < FinaliseLogits::lane_columns; ++i) maximum = fmaxf(maximum, values[i]);
#pragma unroll
  for (int mask = 1; mask < 32; mask *= 2) {
    maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffffu, maximum, mask));
  }
  const float reference = integer_reference(maximum), subtracted = finite_reference(reference);
  float sums[FinaliseLogits::lane_columns / 2];
#pragma unroll
  for (int i = 0; i < FinaliseLogits::lane_columns / 2; ++i) {
    values[2 * i] = subtracted - values[2 * i];
    values[2 * i + 1] = subtracted - values[2 * i + 1];
    sums[i] = exp2_flushed(-values[2 * i]) + exp2_flushed(-values[2 * i + 1]);
#pragma unroll
    for (int mask = 1; mask < 8; mask *= 2) sums[i] += __shfl_xor_sync(0xffffffffu, sums[i], mask);
  }
  float sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
#pragma unroll
  for (int mask = 8; mask < 32; mask *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, mask);
  return {reference, sum};
}

/// The total of a row from its parts in shared memory, in every lane: spans of 32 parts in ascending order.
template <int count>
__device__ __forceinline__ RowTotal total_of_spans(const RowPartial (&parts)[count], int lane) {
  constexpr int spans = count / span_parts;
  float reference = negative_infinity<float>;
#pragma unroll
  for (int span = 0; span < spans; ++span) {
    reference = larger(reference, parts[span * span_parts + lane].reference);
  }
#pragma unroll
  for (int mask = 1; mask < 32; mask *= 2) {
    reference = larger(reference, __shfl_xor_sync(0xffffffffu, reference, mask));
  }
  reference = finite_reference(reference);
  float sum = 0;
#pragma unroll
  for (int span = 0; span < spans; ++span) {
    const RowPartial part = parts[span * span_parts + lane];
    float of_span = part.sum * exp2_flushed(part.reference - reference);
#pragma unroll
    for (int mask = 1; mask < 32; mask *= 2) of_span += __shfl_xor_sync(0xffffffffu, of_span, mask);
    sum += of_span;
  }
  return {reference, sum};
}

/// Grid: the rows, of at most parts_a_warp / 4 of FinaliseLogits::columns.
template <class U, int parts_a_warp>
__global__ void __launch_bounds__(FinaliseLogits::threads)
    finalise_logits_sm90_kernel(const __grid_constant__ FinaliseLogitsParams<U> p) {
  using Code = LogitCode<dtype_of<U>>;
  constexpr int lane_columns = FinaliseLogits::lane_columns;
  __shared__ RowPartial parts[FinaliseLogits::warps * parts_a_warp];
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const float* logits = p.logits.data + std::int64_t{blockIdx.x} * p.logits.row_stride;
  U* y = p.y.data + std::int64_t{blockIdx.x} * p.y.row_stride;
  const int columns = static_cast<int>(p.y.columns);
  const auto first_column = [&](int i) {
    return (warp + i * FinaliseLogits::warps) * FinaliseLogits::part_columns + lane * lane_columns;
  };
  ptx::grid_dependency_trigger();
  ptx::grid_dependency_wait();

  float values[parts_a_warp][lane_columns];
#pragma unroll
  for (int i = 0; i < parts_a_warp; ++i) {
#pragma unroll
    for (int v = 0; v < lane_columns; v += 4) {
      const int column = first_column(i) + v;
      // The row's stride is a multiple of 4: what lies between its end and the next row is not used.
      float4 four = make_float4(0, 0, 0, 0);
      if (column < columns) four = __ldcg(reinterpret_cast<const float4*>(logits + column));
      values[i][v] = column < columns ? four.x : negative_infinity<float>;
      values[i][v + 1] = column + 1 < columns ? four.y : negative_infinity<float>;
      values[i][v + 2] = column + 2 < columns ? four.z : negative_infinity<float>;
      values[i][v + 3] = column + 3 < columns ? four.w : negative_infinity<float>;
    }
  }
  float reference[parts_a_warp];
#pragma unroll
  for (int i = 0; i < parts_a_warp; ++i) {
    RowPartial part;
    if ((warp + i * FinaliseLogits::warps) * FinaliseLogits::part_columns < columns) {
      part = part_of_lanes(values[i]);
    }
    reference[i] = part.reference;
    if (lane == 0) parts[warp + i * FinaliseLogits::warps] = part;
  }
  __syncthreads();
  const RowTotal total = total_of_spans(parts, lane);
  const bool vectors = reinterpret_cast<std::uintptr_t>(y) % 16 == 0;
#pragma unroll
  for (int i = 0; i < parts_a_warp; ++i) {
    const int column = first_column(i);
    if (column >= columns) continue;
    const float factor = total.factor(reference[i]);
    std::uint32_t packed[lane_columns / 2];
#pragma unroll
    for (int v = 0; v < lane_columns; v += 2) {
      packed[v / 2] =
          narrow_pair<dtype_of<U>>(coded_exponential<dtype_of<U>>(Code::encode(values[i][v])) * factor,
                                   coded_exponential<dtype_of<U>>(Code::encode(values[i][v + 1])) * factor);
    }
    if (vectors && column + lane_columns <= columns) {
      __stwb(reinterpret_cast<uint4*>(y + column), make_uint4(packed[0], packed[1], packed[2], packed[3]));
    } else {
#pragma unroll
      for (int v = 0; v < lane_columns; ++v) {
        if (column + v < columns) {
          reinterpret_cast<std::uint16_t*>(y)[column + v] =
              static_cast<std::uint16_t>(packed[v / 2] >> (v % 2 * 16));
        }
      }
    }
  }
}

}  // namespace masthead::inline v0

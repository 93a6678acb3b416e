#pragma once
/// The second kernel of the swap-AB engine's row-blocks path, for rows of moderate width: softmax of float
/// logits, with the bits that the tiles and quantized logits of m128n256 give.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include "masthead/core/matrix.hpp"
#include "masthead/epilogue/lane_softmax.cuh"
#include "masthead/epilogue/narrow.cuh"
#include "masthead/ptx/grid_dependency.cuh"
#include "masthead/reduce/row_total.cuh"
#include "masthead/tile/normalize_rows.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Parameters of normalize_logits_sm90_kernel.
template <class U>
struct NormalizeLogitsParams {
  Matrix<const float> logits;  // (batch, out_features), log4 units; rows start at multiples of 16 bytes
  Matrix<U> y;                 // (batch, out_features), 16-bit
};

/// Normalizes a row per block. Grid: the rows, each of at most parts_per_warp / 4 of
/// NormalizeLogits::columns.
template <class U, int parts_per_warp>
__global__ void __launch_bounds__(NormalizeLogits::threads)
    normalize_logits_sm90_kernel(const __grid_constant__ NormalizeLogitsParams<U> p) {
  using Code = QuantizedLogit<dtype_of<U>>;
  constexpr int lane_columns = NormalizeLogits::lane_columns;
  __shared__ SoftmaxPartial parts[NormalizeLogits::warps * parts_per_warp];  // (column part)
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const float* logits = p.logits.data + std::int64_t{blockIdx.x} * p.logits.row_stride;
  U* y = p.y.data + std::int64_t{blockIdx.x} * p.y.row_stride;
  const int columns = static_cast<int>(p.y.columns);
  const auto first_column = [&](int i) {
    return (warp + i * NormalizeLogits::warps) * NormalizeLogits::part_columns + lane * lane_columns;
  };
  ptx::grid_dependency_trigger();
  ptx::grid_dependency_wait();

  float values[parts_per_warp][lane_columns];
#pragma unroll
  for (int i = 0; i < parts_per_warp; ++i) {
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
  float part_max[parts_per_warp];
#pragma unroll
  for (int i = 0; i < parts_per_warp; ++i) {
    SoftmaxPartial part;
    if ((warp + i * NormalizeLogits::warps) * NormalizeLogits::part_columns < columns) {
      part = part_of_lanes(values[i]);
    }
    part_max[i] = part.max;
    if (lane == 0) parts[warp + i * NormalizeLogits::warps] = part;
  }
  __syncthreads();
  const SoftmaxTotal total = total_of_spans(parts, lane);
  const bool vectors = reinterpret_cast<std::uintptr_t>(y) % 16 == 0;
#pragma unroll
  for (int i = 0; i < parts_per_warp; ++i) {
    const int column = first_column(i);
    if (column >= columns) continue;
    const float factor = total.factor(part_max[i]);
    std::uint32_t packed[lane_columns / 2];
#pragma unroll
    for (int v = 0; v < lane_columns; v += 2) {
      packed[v / 2] = narrow_pair<dtype_of<U>>(
          quantized_exponential<dtype_of<U>>(Code::encode(values[i][v])) * factor,
          quantized_exponential<dtype_of<U>>(Code::encode(values[i][v + 1])) * factor);
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

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

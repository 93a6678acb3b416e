#pragma once
/// Softmax partials of column parts of 256 columns that the lanes of a warp hold side by side.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include "masthead/numeric/quantized_logit.hpp"
#include "masthead/numeric/softmax_state.hpp"
#include "masthead/tile/normalize_rows.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// The softmax partials of one column part; values become distances from its shift. A lane holds 8 adjacent
/// columns: the sum takes column bits in the canonical order (reduce/row_total.cuh). All lanes of the warp
/// call it.
__device__ __forceinline__ SoftmaxPartial part_of_lanes(float (&values)[NormalizeLogits::lane_columns]) {
  float maximum = values[0];
#pragma unroll
  for (int i = 1; i < NormalizeLogits::lane_columns; ++i) maximum = fmaxf(maximum, values[i]);
#pragma unroll
  for (int mask = 1; mask < 32; mask *= 2) {
    maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffffu, maximum, mask));
  }
  const float part_max = integer_max(maximum);
  const LogitDistance distance(part_max);
  float sums[NormalizeLogits::lane_columns / 2];
#pragma unroll
  for (int i = 0; i < NormalizeLogits::lane_columns / 2; ++i) {
    values[2 * i] = distance(values[2 * i]);
    values[2 * i + 1] = distance(values[2 * i + 1]);
    sums[i] = exp2_flushed(-values[2 * i]) + exp2_flushed(-values[2 * i + 1]);
#pragma unroll
    for (int mask = 1; mask < 8; mask *= 2) sums[i] += __shfl_xor_sync(0xffffffffu, sums[i], mask);
  }
  float sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
#pragma unroll
  for (int mask = 8; mask < 32; mask *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, mask);
  return {part_max, sum};
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

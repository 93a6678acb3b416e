#pragma once
/// Training mode between GEMM and softmax: the moments of the columns of x W^T.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/core/integer.hpp"
#include "masthead/core/matrix.hpp"
#include "masthead/reduce/column_statistics.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Parameters of column_statistics_kernel. The batch is cut into `splits` splits of equally many rows, each a
/// block's work; their moments are merged in ascending order.
template <class Sum>
struct ColumnStatisticsParams {
  Matrix<const Sum> sums;  // (batch, out_features): x W^T without bias
  Moments<Sum>* moments;   // (splits, out_features)
  int splits;
  std::int64_t* batches_tracked;  // null, or the counter to advance
  unsigned* any_center;           // set to 0 for batch_affine_kernel
};

/// Takes the moments of 32 columns over one split per block. Grid: splits * blocks of 32 features.
template <class Sum>
__global__ void __launch_bounds__(BlockColumnStatistics<Sum>::block_threads)
    column_statistics_kernel(const __grid_constant__ ColumnStatisticsParams<Sum> p) {
  using Statistics = BlockColumnStatistics<Sum>;
  __shared__ typename Statistics::TempStorage storage;
  constexpr int columns = 32;

  // The counter advances here, one kernel ahead of the one whose threads read it.
  if (blockIdx.x == 0 && threadIdx.x == 0) {
    if (p.batches_tracked != nullptr) ++*p.batches_tracked;
    *p.any_center = 0;
  }

  const int split = static_cast<int>(blockIdx.x) % p.splits;
  const std::int64_t column = std::int64_t{blockIdx.x / p.splits} * columns + threadIdx.x % columns;
  const std::int64_t length = ceil_div(p.sums.rows, p.splits), first = split * length;
  const std::int64_t rows = first + length < p.sums.rows ? length : p.sums.rows - first;
  const bool inside = column < p.sums.columns && rows > 0;
  const Sum* sums = p.sums.data + first * p.sums.row_stride + column;
  const Moments<Sum> moments =
      Statistics(storage)([&](std::int64_t row) { return sums[row * p.sums.row_stride]; }, inside ? rows : 0);
  if (threadIdx.x < columns && column < p.sums.columns) p.moments[split * p.sums.columns + column] = moments;
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

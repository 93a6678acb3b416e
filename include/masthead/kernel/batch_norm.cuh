#pragma once
/// Training mode between the GEMM and softmax: column statistics, then the affine of each feature.

#include <cstdint>

#include "masthead/numeric/feature.cuh"
#include "masthead/ptx/grid_dependency.cuh"
#include "masthead/reduce/column_statistics.cuh"
#include "masthead/tile/raster.hpp"

namespace masthead::inline v0 {

/// Rows are cut into `splits` equal parts, each a block's work; their moments are merged in ascending order.
template <class Sum>
struct ColumnStatisticsParams {
  Matrix<const Sum> sums;  // (batch, out_features): x W^T without bias
  Moments<Sum>* parts;     // (splits, out_features)
  int splits;
  std::int64_t* batches_tracked;  // null, or the counter to advance
};

/// Splits of a batch: about 128 rows each, at most 512 of them.
constexpr int column_statistics_splits(std::int64_t batch) {
  const std::int64_t splits = ceil_div(batch, 128);
  return static_cast<int>(splits < 512 ? splits : 512);
}

/// Grid: (splits * blocks of 32 features) in x.
template <class Sum>
__global__ void __launch_bounds__(BlockColumnStatistics<Sum>::block_threads)
    column_statistics_kernel(const __grid_constant__ ColumnStatisticsParams<Sum> p) {
  using Statistics = BlockColumnStatistics<Sum>;
  __shared__ typename Statistics::TempStorage storage;
  constexpr int columns = 32;

  // The counter advances here, one kernel ahead of the one whose threads read it.
  if (blockIdx.x == 0 && threadIdx.x == 0 && p.batches_tracked != nullptr) ++*p.batches_tracked;

  const int split = static_cast<int>(blockIdx.x) % p.splits;
  const std::int64_t column = std::int64_t{blockIdx.x / p.splits} * columns + threadIdx.x % columns;
  const std::int64_t length = ceil_div(p.sums.rows, p.splits), first = split * length;
  const std::int64_t rows = first + length < p.sums.rows ? length : p.sums.rows - first;
  const bool inside = column < p.sums.columns && rows > 0;
  const Sum* sums = p.sums.data + first * p.sums.row_stride + column;
  const Moments<Sum> moments =
      Statistics(storage)([&](std::int64_t row) { return sums[row * p.sums.row_stride]; }, inside ? rows : 0);
  if (threadIdx.x < columns && column < p.sums.columns) p.parts[split * p.sums.columns + column] = moments;
}

template <class T>
struct BatchAffineParams {
  using Sum = Accumulator<T>;

  Parameters<T> parameters;
  const Moments<Sum>* parts;  // (splits, out_features)
  int splits;
  Sum *multiplier, *addend;  // (out_features), out, in log2 units
  MutableVector running_mean, running_var;
  double momentum;                      // of the moving averages; negative: 1 / batches_tracked
  const std::int64_t* batches_tracked;  // counts this batch already
};

/// One thread a feature: batch moments to the affine of the raw sums, and the running statistics' update.
template <class T>
__global__ void __launch_bounds__(128) batch_affine_kernel(const __grid_constant__ BatchAffineParams<T> p) {
  using Sum = Accumulator<T>;
  const std::int64_t n = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x,
                     features = p.parameters.weight.rows;
  ptx::grid_dependency_trigger();
  ptx::grid_dependency_wait();
  if (n >= features) return;
  Moments<Sum> batch;
  for (int split = 0; split < p.splits; ++split) batch = merge(batch, p.parts[split * features + n]);

  // The bias shifts sum and mean alike and cancels; only the running mean sees it.
  Feature feature = load_feature(p.parameters, n);
  const double bias = feature.bias;
  feature.bias = 0;
  feature.mean = batch.mean;
  feature.variance = batch.biased_variance();
  const Affine affine = fold(feature, p.parameters.epsilon, log2e);
  p.multiplier[n] = static_cast<Sum>(affine.multiplier);
  p.addend[n] = static_cast<Sum>(affine.addend);

  if (p.running_mean.data != nullptr) {
    const double factor = p.momentum < 0 ? 1.0 / static_cast<double>(*p.batches_tracked) : p.momentum;
    store_feature(
        p.running_mean, n,
        running_update(load_feature(ConstVector(p.running_mean), n, 0.0), batch.mean + bias, factor));
    store_feature(
        p.running_var, n,
        running_update(load_feature(ConstVector(p.running_var), n, 1.0), batch.unbiased_variance(), factor));
  }
}

}  // namespace masthead::inline v0

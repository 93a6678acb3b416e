#pragma once
/// Training mode between the GEMM and softmax: column statistics, then the affine of each feature.

#include <cstdint>

#include "masthead/numeric/feature.cuh"
#include "masthead/ptx/grid_dependency.cuh"
#include "masthead/ptx/reciprocal.cuh"
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

/// What a training batch updates.
struct BatchUpdate {
  MutableVector running_mean, running_var;
  double momentum;                // of the moving averages; negative: 1 / batches_tracked
  std::int64_t* batches_tracked;  // null, or the counter

  /// The momentum of this batch, which `batches_tracked` lacks `missing` (0 or 1) of.
  __device__ double factor(int missing) const {
    return momentum < 0 ? 1.0 / static_cast<double>(*batches_tracked + missing) : momentum;
  }
};

/// What the affine of a feature's raw sums takes besides the moments of the batch, on its way.
struct PendingBatchFeature {
  PendingElement gamma, beta, scale;

  template <class T>
  __device__ static PendingBatchFeature load(const Parameters<T>& parameters, std::int64_t index) {
    return {PendingElement::load(parameters.gamma, index), PendingElement::load(parameters.beta, index),
            PendingElement::load(parameters.scale, index)};
  }

  /// In log2 units. Without a division or square root, whose slow paths are calls: they would spill what the
  /// caller holds.
  template <class Sum>
  __device__ Affine affine(const Moments<Sum>& batch, double epsilon) const {
    const auto count = static_cast<Sum>(batch.count);
    return fold_slope({.bias = 0,  // it shifts sum and mean alike and cancels
                       .gamma = gamma.value(1.0),
                       .beta = beta.value(0.0),
                       .mean = batch.mean,
                       .scale = scale.value(1.0)},
                      inverse_root(batch.m2 * ptx::reciprocal(count) + epsilon), log2e);
  }

 private:
  /// 1 / sqrt(value): two Newton steps double the 23 bits of the first guess twice.
  __device__ static double inverse_root(double value) {
    const double guess = rsqrtf(static_cast<float>(value));
    double root = guess;
#pragma unroll
    for (int step = 0; step < 2; ++step) root = fma(0.5 * root, fma(-value * root, root, 1.0), root);
    return guess > 0 && guess <= 0x1p127 ? root : guess;
  }
};

/// The running statistics of feature n move towards this batch's by `factor`. They are there.
template <class T, class Sum>
__device__ void update_running(const BatchUpdate& update, const Parameters<T>& parameters, std::int64_t n,
                               const Moments<Sum>& batch, double factor) {
  const double bias = load_feature(parameters, n).bias;
  store_feature(
      update.running_mean, n,
      running_update(load_feature(ConstVector(update.running_mean), n, 0.0), batch.mean + bias, factor));
  store_feature(update.running_var, n,
                running_update(load_feature(ConstVector(update.running_var), n, 1.0),
                               batch.unbiased_variance(), factor));
}

template <class T>
struct BatchAffineParams {
  using Sum = Accumulator<T>;

  Parameters<T> parameters;
  const Moments<Sum>* parts;  // (splits, out_features)
  int splits;
  Sum *multiplier, *addend;  // (out_features), out, in log2 units
  BatchUpdate update;
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
  const PendingBatchFeature pending = PendingBatchFeature::load(p.parameters, n);
  Moments<Sum> batch;
  for (int split = 0; split < p.splits; ++split) batch = merge(batch, p.parts[split * features + n]);
  const Affine affine = pending.affine(batch, p.parameters.epsilon);
  p.multiplier[n] = static_cast<Sum>(affine.multiplier);
  p.addend[n] = static_cast<Sum>(affine.addend);
  if (p.update.running_mean.data != nullptr) {
    update_running(p.update, p.parameters, n, batch, p.update.factor(0));
  }
}

}  // namespace masthead::inline v0

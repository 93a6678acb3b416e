#pragma once
/// Training mode between the GEMM and softmax: column statistics, then the affine of each feature.

#include <cstdint>
#include <type_traits>

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

/// What turns the moments of a batch into the affine of a feature's raw sums, in log2 units. The bias of the
/// linear layer shifts sum and mean alike and cancels.
struct BatchSlope {
  double multiplier;  ///< scale * gamma
  double addend;      ///< scale * beta

  template <class T>
  __device__ static BatchSlope of(const Parameters<T>& parameters, std::int64_t n) {
    const PendingElement gamma = PendingElement::load(parameters.gamma, n),
                         beta = PendingElement::load(parameters.beta, n),
                         scale = PendingElement::load(parameters.scale, n);
    const double factor = log2e * scale.value(1.0);
    return {factor * gamma.value(1.0), factor * beta.value(0.0)};
  }

  template <class Sum>
  __device__ Affine affine(const Moments<Sum>& batch, double epsilon) const {
    const double variance = batch.m2 * ptx::reciprocal(static_cast<Sum>(batch.count)),
                 slope = multiplier * inverse_root<Sum>(variance + epsilon);
    return {slope, addend - batch.mean * slope};
  }

 private:
  /// 1 / sqrt(value). Of a variance in float, one Newton step to 44 bits: the slow paths of a division and of
  /// a square root are calls, which spill what the caller holds.
  template <class Sum>
  __device__ static double inverse_root(double value) {
    if constexpr (std::is_same_v<Sum, double>) {
      return 1 / sqrt(value);
    } else {
      const double root = rsqrtf(static_cast<float>(value));
      const double better = fma(0.5 * root, fma(-value * root, root, 1.0), root);
      return isnan(better) ? root : better;  // of 0 and infinity
    }
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

/// The moments of a batch from those of `splits` parts of it, `stride` apart, in ascending order. The first
/// is not empty. Several are under way at the same time.
template <class Sum>
__device__ Moments<Sum> merge_parts(const Moments<Sum>* parts, std::int64_t stride, int splits) {
  constexpr int group = std::is_same_v<Sum, double> ? 1 : 8;
  Moments<Sum> batch = *parts;
#pragma unroll 1
  for (int first = 1; first < splits; first += group) {
    Moments<Sum> part[group];
#pragma unroll
    for (int i = 0; i < group; ++i) {
      const int split = first + i;  // no branch: it would wait for each
      part[i] = parts[(split < splits ? split : splits - 1) * stride];
      if (split >= splits) part[i] = {0, part[i].mean, 0};
    }
#pragma unroll
    for (int i = 0; i < group; ++i) {
      const std::int64_t count = batch.count + part[i].count;
      const Sum delta = part[i].mean - batch.mean,
                weight = static_cast<Sum>(part[i].count) * ptx::reciprocal(static_cast<Sum>(count));
      batch.mean += delta * weight;
      batch.m2 += part[i].m2 + delta * delta * (static_cast<Sum>(batch.count) * weight);
      batch.count = count;
    }
  }
  return batch;
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
  const Moments<Sum> batch = merge_parts(p.parts + n, features, p.splits);
  const Affine affine = BatchSlope::of(p.parameters, n).affine(batch, p.parameters.epsilon);
  p.multiplier[n] = static_cast<Sum>(affine.multiplier);
  p.addend[n] = static_cast<Sum>(affine.addend);
  if (p.update.running_mean.data != nullptr) {
    update_running(p.update, p.parameters, n, batch, p.update.factor(0));
  }
}

}  // namespace masthead::inline v0

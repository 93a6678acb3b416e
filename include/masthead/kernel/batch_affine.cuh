#pragma once
/// Training mode between the column statistics and softmax: the affine of each feature.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/epilogue/batch_norm.cuh"
#include "masthead/numeric/affine.hpp"
#include "masthead/ptx/grid_dependency.cuh"
#include "masthead/reduce/column_statistics.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Parameters of batch_affine_kernel.
template <class T>
struct BatchAffineParams {
  using Sum = Accumulator<T>;

  Parameters<T> parameters;
  const Moments<Sum>* moments;  // (splits, out_features)
  int splits;
  int lanes;                   // threads per feature, 1 or 32, which share its splits
  Sum *multiplier, *addend;    // (out_features), out, in log4 units
  ColumnCenters<Sum> centers;  // (out_features), out; `any` is 0 before
  BatchUpdate update;
};

/// Turns the moments of the batch into the affine of the raw sums, and updates the running statistics.
/// `lanes` threads per feature.
template <class T>
__global__ void __launch_bounds__(128) batch_affine_kernel(const __grid_constant__ BatchAffineParams<T> p) {
  using Sum = Accumulator<T>;
  const std::int64_t thread = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x, n = thread / p.lanes,
                     features = p.parameters.weight.rows;
  const int lane = static_cast<int>(thread % p.lanes);
  ptx::grid_dependency_trigger();
  ptx::grid_dependency_wait();
  if (n >= features) return;
  std::int64_t count;
  MomentSum sum = sum_of_splits(p.moments + n, features, p.splits, lane, p.lanes, count);
  // Lanes of a warp have a feature together, or none of them.
  for (int mask = 1; mask < p.lanes; mask *= 2) {
    count += __shfl_xor_sync(0xffffffffu, count, mask);
    sum.add(__shfl_xor_sync(0xffffffffu, sum.first(), mask),
            __shfl_xor_sync(0xffffffffu, sum.second(), mask));
  }
  if (lane != 0) return;
  const Moments<double> batch = sum.total(count, 1.0 / static_cast<double>(count));
  const RoundedAffine<Sum> affine = BatchSlope::of(p.parameters, n)
                                        .template affine<Sum>(batch, p.parameters.epsilon)
                                        .template rounded<Sum>();
  p.multiplier[n] = affine.multiplier;
  p.addend[n] = affine.addend;
  p.centers.center[n] = affine.center;
  if (affine.center != 0) *p.centers.any = 1;
  if (p.update.running_mean.data != nullptr) {
    update_running(p.update, p.parameters, n, batch, p.update.factor(0));
  }
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

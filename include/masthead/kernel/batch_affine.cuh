#pragma once
/// Training mode between the column statistics and softmax: the affine of each feature.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/epilogue/batch_norm.cuh"
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
  Sum *multiplier, *addend;  // (out_features), out, in log2 units
  BatchUpdate update;
};

/// Turns the moments of the batch into the affine of the raw sums, and updates the running statistics. One
/// thread per feature.
template <class T>
__global__ void __launch_bounds__(128) batch_affine_kernel(const __grid_constant__ BatchAffineParams<T> p) {
  using Sum = Accumulator<T>;
  const std::int64_t n = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x,
                     features = p.parameters.weight.rows;
  ptx::grid_dependency_trigger();
  ptx::grid_dependency_wait();
  if (n >= features) return;
  const Moments<Sum> batch = merge_splits(p.moments + n, features, p.splits);
  const Affine affine = BatchSlope::of(p.parameters, n).affine(batch, p.parameters.epsilon);
  p.multiplier[n] = static_cast<Sum>(affine.multiplier);
  p.addend[n] = static_cast<Sum>(affine.addend);
  if (p.update.running_mean.data != nullptr) {
    update_running(p.update, p.parameters, n, batch, p.update.factor(0));
  }
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

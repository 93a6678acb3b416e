#pragma once
/// BatchNorm and scale folded into a weight and a bias.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/core/dtype.cuh"
#include "masthead/numeric/feature.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Parameters of fold_batch_norm_kernel.
template <class T>
struct FoldBatchNormParams {
  Parameters<T> parameters;
  Matrix<T> weight;    // (out_features, in_features)
  MutableVector bias;  // (out_features)
};

/// Folds the parameters into a weight and a bias. One block per feature.
template <class T>
__global__ void __launch_bounds__(256)
    fold_batch_norm_kernel(const __grid_constant__ FoldBatchNormParams<T> p) {
  const std::int64_t n = blockIdx.x;
  const Affine affine = fold(load_feature(p.parameters, n), p.parameters.epsilon, 1.0);
  const T* from = p.parameters.weight.data + n * p.parameters.weight.row_stride;
  T* to = p.weight.data + n * p.weight.row_stride;
  for (std::int64_t k = threadIdx.x; k < p.weight.columns; k += blockDim.x) {
    to[k] = narrow<T>(static_cast<Accumulator<T>>(affine.multiplier * static_cast<double>(widen(from[k]))));
  }
  __syncthreads();  // the bias may be folded in place: every thread has read it
  if (threadIdx.x == 0) store_feature(p.bias, n, affine.addend);
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

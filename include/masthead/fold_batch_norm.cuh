#pragma once
/// BatchNorm and scale folded into a linear layer's weight and bias, for export.

#include <cstdint>

#include "masthead/host/launch.cuh"
#include "masthead/numeric/feature.cuh"
#include "masthead/tile/raster.hpp"

namespace masthead::inline v0 {

template <class T>
struct FoldBatchNormParams {
  Parameters<T> parameters;
  Matrix<T> weight;    // (out_features, in_features)
  MutableVector bias;  // (out_features)
};

/// One block a feature.
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
  if (threadIdx.x == 0) store_feature(p.bias, n, affine.addend);
}

/// Writes `weight` (out_features, in_features) and `bias` (out_features, any dtype) such that
/// softmax(x weight^T + bias) is the head's result in eval mode; the scale, if given, is folded in too.
///
/// Products are rounded once, to T: for 16-bit weights that is less exact than the head itself, which leaves
/// the weight alone. `weight` may be the parameters' own. Queued on `stream`, no synchronisation. Throws
/// Error for bad arguments, outputs untouched.
template <class T>
void fold_batch_norm(const Parameters<T>& parameters, const Matrix<T>& weight, const MutableVector& bias,
                     cudaStream_t stream) {
  const Device device = Device::current(stream);
  require(check_fold_batch_norm(parameters, weight, bias));
  require(check_device_pointers(parameters, device));
  require(check_device_pointer("folded weight", weight.data, device));
  require(check_device_pointer("folded bias", bias.data, device));
  launch("fold_batch_norm_kernel", fold_batch_norm_kernel<T>,
         {.blocks = weight.rows, .block_threads = 256, .stream = stream},
         FoldBatchNormParams<T>{parameters, weight, bias});
}

}  // namespace masthead::inline v0

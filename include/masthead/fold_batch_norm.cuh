#pragma once
/// BatchNorm and scale folded into a linear layer's weight and bias, for export.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/kernel/fold_batch_norm.cuh"
#include "masthead/launch/device.cuh"
#include "masthead/launch/launch.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::inline MASTHEAD_ARCHITECTURES {

/// Writes `weight` (out_features, in_features) and `bias` (out_features, any dtype) such that softmax(x
/// weight^T + bias) is the head's result in eval mode; the scale, if given, is folded in too.
///
/// Folded elements are rounded once, to T: for 16-bit weights that is less exact than the head itself, which
/// leaves the weight alone. `weight` and `bias` may be the parameters' own. The call is queued on `stream`
/// and does not synchronize. Throws Error for bad arguments, with the outputs untouched.
template <class T>
void fold_batch_norm(const Parameters<T>& parameters, const Matrix<T>& weight, const MutableVector& bias,
                     cudaStream_t stream) {
  const detail::Device device = detail::Device::current(stream);
  detail::refuse_if(detail::check_fold_batch_norm(parameters, weight, bias));
  detail::refuse_if(detail::check_device_pointers(parameters, device));
  detail::refuse_if(detail::check_device_pointer("folded weight", weight.data, device));
  detail::refuse_if(detail::check_device_pointer("folded bias", bias.data, device));
  detail::launch("fold_batch_norm_kernel", detail::fold_batch_norm_kernel<T>,
                 {.blocks = weight.rows, .block_threads = 256, .stream = stream},
                 detail::FoldBatchNormParams<T>{parameters, weight, bias});
}

}  // namespace masthead::inline v0::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

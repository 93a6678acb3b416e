#pragma once
/// The softmax that ends a head's forward pass, compiled once for all heads: it is as much to compile as the
/// rest of a head, and the same in all. The operators never ask for its logarithm.

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "masthead/scale_softmax.cuh"

namespace masthead {

using SoftmaxOnly = detail::OutputConstant<Output::softmax>;

extern template void detail::launch_selected_softmax(const detail::SoftmaxParams<double, double>&,
                                                     SoftmaxOnly, int architecture, cudaStream_t);
extern template void detail::launch_selected_softmax(const detail::SoftmaxParams<float, float>&, SoftmaxOnly,
                                                     int architecture, cudaStream_t);
extern template void detail::launch_selected_softmax(const detail::SoftmaxParams<float, __nv_bfloat16>&,
                                                     SoftmaxOnly, int architecture, cudaStream_t);
extern template void detail::launch_selected_softmax(const detail::SoftmaxParams<float, __half>&, SoftmaxOnly,
                                                     int architecture, cudaStream_t);

}  // namespace masthead

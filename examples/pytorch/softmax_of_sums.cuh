#pragma once
/// The softmax that ends a head's forward pass, compiled once for all heads: it is as much to compile as the
/// rest of a head, and the same in all.

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "masthead/softmax/scale_softmax.cuh"

namespace masthead {

extern template void detail::launch_selected_softmax(const SoftmaxParams<double, double>&, Output,
                                                     const Device&, cudaStream_t);
extern template void detail::launch_selected_softmax(const SoftmaxParams<float, float>&, Output,
                                                     const Device&, cudaStream_t);
extern template void detail::launch_selected_softmax(const SoftmaxParams<float, __nv_bfloat16>&, Output,
                                                     const Device&, cudaStream_t);
extern template void detail::launch_selected_softmax(const SoftmaxParams<float, __half>&, Output,
                                                     const Device&, cudaStream_t);

}  // namespace masthead

#include "typed_head_training.cuh"

namespace masthead_pytorch {

template void TypedHead<mh::Precision::fp16>::forward_training(const InputMatrix&, const OutputMatrix&,
                                                               const mh::ForwardOptions&, cudaStream_t) const;

}  // namespace masthead_pytorch

#pragma once
/// TypedHead in training mode.

#include "typed_head.cuh"

namespace masthead_pytorch {

template <mh::Precision precision, class U>
void TypedHead<precision, U>::forward_training(const InputMatrix& x, const OutputMatrix& y,
                                               const mh::ForwardOptions& options, cudaStream_t stream) const {
  head_.forward_training(typed<const T>(x), typed<U>(y), options, stream);
}

}  // namespace masthead_pytorch

#pragma once
/// TypedHead in eval mode.

#include "typed_head.cuh"

namespace masthead_pytorch {

template <mh::Precision precision, class U>
void TypedHead<precision, U>::forward(const InputMatrix& x, const OutputMatrix& y,
                                      const mh::ForwardOptions& options, cudaStream_t stream) const {
  head_.forward(typed<const T>(x), typed<U>(y), options, stream);
}

}  // namespace masthead_pytorch

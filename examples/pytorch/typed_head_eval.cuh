#pragma once
/// TypedHead in eval mode.

#include "typed_head.cuh"

namespace masthead_pytorch {

template <mh::Precision precision, class U>
void TypedHead<precision, U>::forward(const InputMatrix& x, const OutputMatrix& y,
                                      const mh::Workspace& workspace, cudaStream_t stream) const {
  head_.forward(typed<const T>(x), typed<U>(y), workspace, stream);
}

}  // namespace masthead_pytorch

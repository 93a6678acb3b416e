#pragma once
/// masthead::scale_softmax of an x of T to a y of U.

#include "softmax_of_sums.cuh"
#include "typed.cuh"

namespace masthead_pytorch {

template <class T, class U = T>
void typed_scale_softmax(const InputMatrix& x, const mh::ConstVector& scale, const OutputMatrix& y,
                         cudaStream_t stream) {
  mh::scale_softmax<mh::Output::softmax>(typed<const T>(x), scale, typed<U>(y), stream);
}

}  // namespace masthead_pytorch

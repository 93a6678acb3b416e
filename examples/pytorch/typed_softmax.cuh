#pragma once
/// masthead::scale_softmax with the dtype of y as data.

#include "softmax_of_sums.cuh"
#include "typed.cuh"

namespace masthead_pytorch {

template <class T>
void typed_scale_softmax(const InputMatrix& x, const mh::ConstVector& scale, const OutputMatrix& y,
                         cudaStream_t stream) {
  using Sum = mh::Accumulator<T>;
  if (y.dtype == mh::dtype_of<Sum>) {
    mh::scale_softmax(typed<const T>(x), scale, typed<Sum>(y), stream);
  } else {
    mh::scale_softmax(typed<const T>(x), scale, typed<T>(y), stream);
  }
}

}  // namespace masthead_pytorch

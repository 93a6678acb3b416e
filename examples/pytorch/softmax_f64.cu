#include "typed_softmax.cuh"

namespace masthead_pytorch {

void scale_softmax_f64(const InputMatrix& x, const mh::ConstVector& scale, const OutputMatrix& y,
                       cudaStream_t stream) {
  typed_scale_softmax<double>(x, scale, y, stream);
}

}  // namespace masthead_pytorch

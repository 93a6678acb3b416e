#include "typed_softmax.cuh"

namespace masthead_pytorch {

void scale_softmax_bf16_f32(const InputMatrix& x, const mh::ConstVector& scale, const OutputMatrix& y,
                            cudaStream_t stream) {
  typed_scale_softmax<__nv_bfloat16, float>(x, scale, y, stream);
}

}  // namespace masthead_pytorch

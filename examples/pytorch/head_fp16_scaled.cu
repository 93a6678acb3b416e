#include "typed_head_eval.cuh"

namespace masthead_pytorch {

using ScaledHead = TypedHead<mh::Precision::fp16_scaled>;

// Its kernels are left out: training changes the weight at every step, and to pack it takes longer than is
// won.
template <>
void ScaledHead::forward_training(const InputMatrix&, const OutputMatrix&, const mh::ForwardOptions&,
                                  cudaStream_t) const {
  throw mh::Error("precision", "fp16_scaled", "is compiled for eval mode alone: training takes tf32");
}

std::unique_ptr<AnyHead> make_head_fp16_scaled(const HeadParameters& parameters, cudaStream_t stream) {
  return std::make_unique<ScaledHead>(parameters, stream);
}

}  // namespace masthead_pytorch

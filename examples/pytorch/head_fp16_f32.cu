#include "typed_head_eval.cuh"
#include "typed_head_training.cuh"

namespace masthead_pytorch {

std::unique_ptr<AnyHead> make_head_fp16_f32(const HeadParameters& parameters, cudaStream_t stream) {
  return std::make_unique<TypedHead<mh::Precision::fp16, float>>(parameters, stream);
}

}  // namespace masthead_pytorch

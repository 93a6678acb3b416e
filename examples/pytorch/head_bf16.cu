#include "typed_head_eval.cuh"

namespace masthead_pytorch {

std::unique_ptr<AnyHead> make_head_bf16(const HeadParameters& parameters, cudaStream_t stream) {
  return std::make_unique<TypedHead<mh::Precision::bf16>>(parameters, stream);
}

}  // namespace masthead_pytorch

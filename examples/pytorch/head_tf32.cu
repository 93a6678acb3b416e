#include "typed_head_eval.cuh"

namespace masthead_pytorch {

std::unique_ptr<AnyHead> make_head_tf32(const HeadParameters& parameters, cudaStream_t stream) {
  return std::make_unique<TypedHead<mh::Precision::tf32>>(parameters, stream);
}

}  // namespace masthead_pytorch

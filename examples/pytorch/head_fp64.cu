#include "typed_head_eval.cuh"
#include "typed_head_training.cuh"

namespace masthead_pytorch {

std::unique_ptr<AnyHead> make_head_fp64(const HeadParameters& parameters, cudaStream_t stream) {
  return std::make_unique<TypedHead<mh::Precision::fp64>>(parameters, stream);
}

}  // namespace masthead_pytorch

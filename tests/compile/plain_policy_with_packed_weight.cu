// expect: masthead::linear_batch_norm_softmax: a policy of MathMode plain or tf32 multiplies the weight where
//   it is and takes no PackedWeight
#include "masthead/linear_batch_norm_softmax.cuh"

using Plain = masthead::Policy<masthead::Dtype::f32, masthead::Tile{.m = 128, .n = 128, .k = 16}, 256>;

void call(const masthead::HeadArguments<float, float>& arguments, const masthead::PackedWeight& weight,
          const masthead::Workspace& workspace, cudaStream_t stream) {
  masthead::linear_batch_norm_softmax<Plain>(arguments, weight, workspace, stream);
  masthead::linear_batch_norm_softmax_training<Plain>(arguments, weight, {}, workspace, stream);
}

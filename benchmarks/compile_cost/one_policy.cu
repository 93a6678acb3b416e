// What a user of one policy compiles: measured by compile_cost.py.
#include <masthead/linear_batch_norm_softmax.cuh>

namespace mh = masthead;
using MyPolicy = mh::Policy<mh::Dtype::bf16, mh::Tile{.m = 128, .n = 128, .k = 32}, 256>;

void forward(const mh::HeadArguments<__nv_bfloat16, __nv_bfloat16>& arguments, const mh::Workspace& workspace,
             cudaStream_t stream) {
  mh::linear_batch_norm_softmax<MyPolicy>(arguments, workspace, stream);
}

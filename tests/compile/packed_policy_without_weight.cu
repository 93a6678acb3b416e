// expect: masthead::linear_batch_norm_softmax: a policy of MathMode f16, f16x3 or e4m3 multiplies packed
//   operands and takes the packed weight, PackedWeight::of<math_mode>(weight, device, stream), behind the
//   arguments
#include "masthead/linear_batch_norm_softmax.cuh"

using Packed = masthead::PolicyFor<
    masthead::detail::shipped_wgmma(masthead::MathMode::f16x3, masthead::Dtype::f32).m128>;

void call(const masthead::HeadArguments<float, float>& arguments, const masthead::Workspace& workspace,
          cudaStream_t stream) {
  masthead::linear_batch_norm_softmax<Packed>(arguments, workspace, stream);
  masthead::linear_batch_norm_softmax_training<Packed>(arguments, {}, workspace, stream);
}

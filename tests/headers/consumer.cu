// A program that calls the GPU library. nvcc's host pass compiles it with all warnings that strict projects
// turn on as errors, with the headers on -I: a warning in a template is one in the user's build.
#include <cuda_bf16.h>

#include <cstddef>

#include "masthead/masthead.cuh"

namespace mh = masthead;

void head(const __nv_bfloat16* x, const __nv_bfloat16* weight, float* vectors, __nv_bfloat16* y, float* wide,
          void* memory, std::size_t bytes, cudaStream_t stream) {
  // Sizes as programs have them, std::size_t: braces take them.
  const std::size_t batch = 3, in = 4, out = 2;
  const mh::Parameters<__nv_bfloat16> parameters{.weight = {weight, out, in},
                                                 .bias = {vectors, out},
                                                 .running_mean = {vectors, out},
                                                 .running_var = {vectors, out},
                                                 .scale = {vectors, 1}};
  mh::Head<mh::Precision::bf16> run(parameters, stream);
  const mh::Workspace workspace{memory, bytes};
  run.forward({x, batch, in}, {y, batch, out}, stream);
  run.forward({x, batch, in}, mh::Matrix<float>(wide, batch, out), {.workspace = workspace}, stream);
  run.forward_training({x, batch, in}, {y, batch, out},
                       {.running = {.mean = {vectors, out}, .var = {vectors, out}, .momentum = 0.5}}, stream);
  run.update(stream);
}

void softmax(const float* x, float* y, std::size_t rows, std::size_t columns, cudaStream_t stream) {
  mh::scale_softmax(mh::Matrix(x, rows, columns), {}, mh::Matrix(y, rows, columns), stream);
}

void fold(const mh::Parameters<float>& parameters, float* weight, float* bias, std::size_t out,
          std::size_t in, cudaStream_t stream) {
  mh::fold_batch_norm(parameters, {weight, out, in}, {bias, out}, stream);
}

void explicit_policies(const mh::HeadArguments<float, float>& arguments, const mh::Workspace& workspace,
                       cudaStream_t stream) {
  using Simt = mh::Policy<mh::Dtype::f32, mh::Tile{.m = 128, .n = 128, .k = 16}, 256>;
  mh::linear_batch_norm_softmax<Simt>(arguments, workspace, stream);
  mh::linear_batch_norm_softmax_training<Simt>(arguments, {}, workspace, stream);
}

void quantized(const mh::QuantizedArguments<float>& arguments, const mh::Workspace& workspace,
               cudaStream_t stream) {
  using Policy = mh::PolicyFor<mh::detail::shipped_wgmma(mh::MathMode::e4m3, mh::Dtype::e4m3).m64>;
  mh::linear_batch_norm_softmax<Policy>(arguments, workspace, stream);
}

/// The operators on CUDA tensors: by the library, on the current stream.

#include <ATen/Context.h>
#include <ATen/cuda/EmptyTensor.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include "head_cache.hpp"
#include "masthead/policy/select.hpp"
#include "operators.hpp"

namespace masthead_pytorch {
namespace {

namespace mh = masthead;

/// Whether the products are what takes tf32 its time, and not reading the weight or a launch: then it takes
/// the policy for many rows and features. Rows are padded to what TMA reads.
bool bound_by_products(const HeadTensors& t) {
  constexpr std::int64_t any_in_features = 1 << 10;
  return mh::select_policy(mh::Precision::tf32, 90, t.x.size(0), any_in_features, t.weight.size(0)) ==
         mh::detail::shipped_wgmma(mh::MathMode::tf32, mh::Dtype::f32).m128;
}

/// The one place that says which precision computes a head. Asked when an operator runs, also by compiled
/// code.
mh::Precision precision_of(const HeadTensors& t, mh::Mode mode) {
  switch (dtype_of(t.x)) {
    case mh::Dtype::f64:
      return mh::Precision::fp64;
    case mh::Dtype::f16:
      return mh::Precision::fp16;
    case mh::Dtype::bf16:
      return mh::Precision::bf16;
    default:
      // What PyTorch's own matrix products go by; torch.set_float32_matmul_precision sets it.
      const bool allows_tf32 =
          at::globalContext().float32Precision(at::Float32Backend::CUDA, at::Float32Op::MATMUL) ==
          at::Float32Precision::TF32;
      if (!allows_tf32) return mh::Precision::fp32;
      // The significant bits of tf32 at twice its rate, from a copy of the weight: worth it where the weight
      // stays.
      return mode == mh::Mode::eval && bound_by_products(t) ? mh::Precision::fp16_scaled
                                                            : mh::Precision::tf32;
  }
}

bool is_float(at::ScalarType dtype) {
  return dtype == at::kDouble || dtype == at::kFloat || dtype == at::kHalf || dtype == at::kBFloat16;
}

/// x's dtype or, where that has 16 bits, float.
bool is_output_of(at::ScalarType x, at::ScalarType y) {
  return y == x || (y == at::kFloat && (x == at::kHalf || x == at::kBFloat16));
}

/// What the library's own checks do not see: it is handed an address and a size.
void check_vector(const char* name, const OptionalTensor& v, const Tensor& x) {
  if (!v) return;
  TORCH_CHECK(v->device() == x.device(), "masthead: ", name, " is on ", v->device(), ", x is on ",
              x.device());
  TORCH_CHECK(v->dim() == 1, "masthead: ", name, " must have 1 dimension, has ", v->dim());
  TORCH_CHECK(v->is_contiguous(), "masthead: ", name, " must be contiguous");
}

mh::ConstVector const_vector(const OptionalTensor& v) {
  if (!v) return {};
  return {v->const_data_ptr(), dtype_of(*v), v->numel()};
}

mh::MutableVector mutable_vector(const OptionalTensor& v) {
  if (!v) return {};
  return {v->mutable_data_ptr(), dtype_of(*v), v->numel()};
}

void check(const HeadTensors& t) {
  TORCH_CHECK(t.x.dim() == 2, "masthead: x must have 2 dimensions, has ", t.x.dim());
  TORCH_CHECK(t.weight.dim() == 2, "masthead: weight must have 2 dimensions, has ", t.weight.dim());
  TORCH_CHECK(t.weight.device() == t.x.device(), "masthead: weight is on ", t.weight.device(), ", x is on ",
              t.x.device());
  TORCH_CHECK(t.weight.scalar_type() == t.x.scalar_type(), "masthead: weight is ", t.weight.scalar_type(),
              ", x is ", t.x.scalar_type());
  TORCH_CHECK(t.weight.size(1) == t.x.size(1), "masthead: x has ", t.x.size(1), " columns, weight ",
              t.weight.size(1));
  check_vector("bias", t.bias, t.x);
  check_vector("gamma", t.gamma, t.x);
  check_vector("beta", t.beta, t.x);
  check_vector("running_mean", t.running_mean, t.x);
  check_vector("running_var", t.running_var, t.x);
  check_vector("scale", t.scale, t.x);
}

/// Whether the library computes this, and as fast as PyTorch: all but fp64 and fp32 need tensor cores.
bool is_for_library(const HeadTensors& t, mh::Mode mode, at::ScalarType y) {
  const at::ScalarType x = t.x.scalar_type();
  if (!is_float(x) || !is_output_of(x, y) || t.weight.numel() == 0) return false;
  const mh::Precision precision = precision_of(t, mode);
  if (precision == mh::Precision::fp64 || precision == mh::Precision::fp32) return true;
  int major = 0;
  C10_CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, t.x.get_device()));
  constexpr std::int64_t most =
      (std::int64_t{1} << 31) - 16;  // TMA counts rows and padded columns in 31 bits
  return major == 9 && t.x.size(0) <= most && t.x.size(1) <= most && t.weight.size(0) <= most;
}

/// at::empty without the way through the dispatcher, which takes longer than the allocation.
Tensor empty(at::IntArrayRef sizes, at::ScalarType dtype, const Tensor& like) {
  return Tensor(at::detail::empty_cuda(sizes, dtype, like.device(), std::nullopt));
}

/// A pass by the library. `running`: what training mode updates.
Tensor run_head(const HeadTensors& t, mh::Mode mode, at::ScalarType dtype,
                const mh::RunningStatistics& running = {}) {
  const Tensor y = empty({t.x.size(0), t.weight.size(0)}, dtype, t.x);
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream(t.x.get_device());
  const mh::Precision precision = precision_of(t, mode);
  const HeadParameters parameters{
      input_matrix(t.weight),       const_vector(t.bias),        const_vector(t.gamma), const_vector(t.beta),
      const_vector(t.running_mean), const_vector(t.running_var), const_vector(t.scale), t.epsilon};
  const std::shared_ptr<CachedHead> cached = HeadCache::instance().find(
      {t.weight.const_data_ptr(), precision, dtype_of(y)}, t.weight, parameters, stream);
  const AnyHead& head = cached->current(t.weight, stream, mode == mh::Mode::training);
  const Tensor x = is_readable(precision, t.x) ? t.x : readable_copy(precision, t.x);
  const InputMatrix in = input_matrix(x);
  const OutputMatrix out{y.mutable_data_ptr(), dtype_of(y), y.size(0), y.size(1), y.size(1)};
  const std::int64_t bytes = head.workspace_bytes(in, mode);
  const Tensor workspace = empty({bytes}, at::kByte, t.x);
  const mh::ForwardOptions options{.workspace = mh::Workspace{workspace.mutable_data_ptr(), bytes},
                                   .running = running};
  if (mode == mh::Mode::eval) {
    head.forward(in, out, options, stream);
  } else {
    head.forward_training(in, out, options, stream);
  }
  return y;
}

Tensor head_cuda(const Tensor& x, const Tensor& weight, const OptionalTensor& bias,
                 const OptionalTensor& gamma, const OptionalTensor& beta, const Tensor& running_mean,
                 const Tensor& running_var, const OptionalTensor& scale, double epsilon,
                 OptionalDtype dtype) {
  const OptionalTensor mean(running_mean), var(running_var);
  const HeadTensors t{x, weight, bias, gamma, beta, mean, var, scale, epsilon};
  check(t);
  const at::ScalarType y = output_dtype(x, scale, dtype);
  const c10::cuda::CUDAGuard guard(x.device());
  if (!is_for_library(t, mh::Mode::eval, y)) return composite(t, dtype);
  if (x.size(0) == 0) return empty({0, weight.size(0)}, y, x);
  return run_head(t, mh::Mode::eval, y);
}

Tensor head_training_cuda(const Tensor& x, const Tensor& weight, const OptionalTensor& bias,
                          const OptionalTensor& gamma, const OptionalTensor& beta,
                          const OptionalTensor& running_mean, const OptionalTensor& running_var,
                          const OptionalTensor& batches_tracked, const OptionalTensor& scale, double epsilon,
                          std::optional<double> momentum, OptionalDtype dtype) {
  const HeadTensors t{x, weight, bias, gamma, beta, running_mean, running_var, scale, epsilon};
  check(t);
  check_batch(t);
  const at::ScalarType y = output_dtype(x, scale, dtype);
  const c10::cuda::CUDAGuard guard(x.device());
  if (!is_for_library(t, mh::Mode::training, y))
    return composite_training(t, batches_tracked, momentum, dtype);
  mh::RunningStatistics running{mutable_vector(running_mean), mutable_vector(running_var), nullptr, momentum};
  if (batches_tracked) {
    TORCH_CHECK(batches_tracked->device() == x.device() && batches_tracked->scalar_type() == at::kLong &&
                    batches_tracked->numel() == 1,
                "masthead: num_batches_tracked must be one int64 on x's device");
    running.batches_tracked = batches_tracked->mutable_data_ptr<std::int64_t>();
  }
  return run_head(t, mh::Mode::training, y, running);
}

Tensor scale_softmax_cuda(const Tensor& x, const OptionalTensor& scale, OptionalDtype dtype) {
  TORCH_CHECK(x.dim() == 2, "masthead: x must have 2 dimensions, has ", x.dim());
  check_vector("scale", scale, x);
  const at::ScalarType type = output_dtype(x, scale, dtype);
  const c10::cuda::CUDAGuard guard(x.device());
  if (!is_float(x.scalar_type()) || !is_output_of(x.scalar_type(), type)) {
    return composite_scale_softmax(x, scale, dtype);
  }
  const Tensor in = x.stride(1) == 1 && x.stride(0) >= x.size(1) ? x : x.contiguous();
  const Tensor y = empty(x.sizes(), type, x);
  if (y.numel() == 0) return y;
  scale_softmax(input_matrix(in), const_vector(scale),
                {y.mutable_data_ptr(), dtype_of(y), y.size(0), y.size(1), y.size(1)},
                c10::cuda::getCurrentCUDAStream(x.get_device()));
  return y;
}

}  // namespace

TORCH_LIBRARY_IMPL(masthead, CUDA, m) {
  m.impl("linear_bn_scale_softmax", head_cuda);
  m.impl("linear_bn_scale_softmax.training", head_training_cuda);
  m.impl("scale_softmax", scale_softmax_cuda);
}

}  // namespace masthead_pytorch

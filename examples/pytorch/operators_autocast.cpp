/// The operators under autocast, with the dtypes of the reference module: Linear in autocast's dtype,
/// BatchNorm's vectors and scale as they are, softmax in float.

#include <ATen/autocast_mode.h>
#include <torch/library.h>

#include "operators.hpp"

namespace masthead_pytorch {
namespace {

/// autocast gives float for what it is allowed to cast, and leaves double alone.
OptionalDtype autocast_softmax_dtype(const Tensor& x, OptionalDtype dtype) {
  if (dtype || !x.is_floating_point() || x.scalar_type() == at::kDouble) return dtype;
  return at::kFloat;
}

class AutocastOperand {
 public:
  AutocastOperand() : dtype_(at::autocast::get_autocast_dtype(at::kCUDA)) {}
  Tensor operator()(const Tensor& t) const { return at::autocast::cached_cast(dtype_, t, at::kCUDA); }
  OptionalTensor operator()(const OptionalTensor& t) const {
    return t ? OptionalTensor((*this)(*t)) : std::nullopt;
  }

 private:
  at::ScalarType dtype_;
};

const c10::DispatchKeySet autocast_keys(c10::DispatchKey::AutocastCUDA);

Tensor head_autocast(const Tensor& x, const Tensor& weight, const OptionalTensor& bias,
                     const OptionalTensor& gamma, const OptionalTensor& beta, const Tensor& running_mean,
                     const Tensor& running_var, const OptionalTensor& scale, double epsilon,
                     OptionalDtype dtype) {
  const c10::impl::ExcludeDispatchKeyGuard guard(autocast_keys);
  const AutocastOperand operand;
  return head_operator().call(operand(x), operand(weight), operand(bias), gamma, beta, running_mean,
                              running_var, scale, epsilon, autocast_softmax_dtype(x, dtype));
}

Tensor head_training_autocast(const Tensor& x, const Tensor& weight, const OptionalTensor& bias,
                              const OptionalTensor& gamma, const OptionalTensor& beta,
                              const OptionalTensor& running_mean, const OptionalTensor& running_var,
                              const OptionalTensor& batches_tracked, const OptionalTensor& scale,
                              double epsilon, std::optional<double> momentum, OptionalDtype dtype) {
  const c10::impl::ExcludeDispatchKeyGuard guard(autocast_keys);
  const AutocastOperand operand;
  return head_training_operator().call(operand(x), operand(weight), operand(bias), gamma, beta, running_mean,
                                       running_var, batches_tracked, scale, epsilon, momentum,
                                       autocast_softmax_dtype(x, dtype));
}

Tensor scale_softmax_autocast(const Tensor& x, const OptionalTensor& scale, OptionalDtype dtype) {
  const c10::impl::ExcludeDispatchKeyGuard guard(autocast_keys);
  return scale_softmax_operator().call(x, scale, autocast_softmax_dtype(x, dtype));
}

}  // namespace

TORCH_LIBRARY_IMPL(masthead, AutocastCUDA, m) {
  m.impl("linear_bn_scale_softmax", head_autocast);
  m.impl("linear_bn_scale_softmax.training", head_training_autocast);
  m.impl("scale_softmax", scale_softmax_autocast);
}

}  // namespace masthead_pytorch

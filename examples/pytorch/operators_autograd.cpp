/// The operators under autograd, and what training mode does to version counters.

#include <ATen/ops/_softmax_backward_data.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/native_batch_norm.h>
#include <ATen/ops/native_batch_norm_backward.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "operators.hpp"

namespace masthead_pytorch {
namespace {

Tensor head_training_inplace(const Tensor& x, const Tensor& weight, const OptionalTensor& bias,
                             const OptionalTensor& gamma, const OptionalTensor& beta,
                             const OptionalTensor& running_mean, const OptionalTensor& running_var,
                             const OptionalTensor& batches_tracked, const OptionalTensor& scale,
                             double epsilon, std::optional<double> momentum, OptionalDtype dtype) {
  Tensor y;
  {
    const at::AutoDispatchBelowADInplaceOrView guard;
    y = head_training_operator().call(x, weight, bias, gamma, beta, running_mean, running_var,
                                      batches_tracked, scale, epsilon, momentum, dtype);
  }
  for (const OptionalTensor* changed : {&running_mean, &running_var, &batches_tracked}) {
    if (*changed) torch::autograd::impl::bump_version(**changed);
  }
  return y;
}

bool wants_grad(const OptionalTensor& t) { return t && t->requires_grad(); }

Tensor or_undefined(const OptionalTensor& t) { return t ? *t : Tensor(); }

OptionalTensor if_defined(const Tensor& t) { return t.defined() ? OptionalTensor(t) : std::nullopt; }

/// The gradient of logits = scale * z at (z, scale), from that of the logits.
Tensor scale_gradient(const Tensor& logits_gradient, const Tensor& z, const Tensor& scale) {
  return logits_gradient.mul(z).sum_to_size(scale.sizes()).to(scale.scalar_type());
}

/// Backward computes the batch norm's input again with PyTorch's operators, in the dtypes the reference
/// module computes it in: all that is kept of the forward pass is y.
struct HeadFunction : torch::autograd::Function<HeadFunction> {
  static constexpr bool is_traceable = true;

  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x, const Tensor& weight,
                        const OptionalTensor& bias, const OptionalTensor& gamma, const OptionalTensor& beta,
                        const OptionalTensor& running_mean, const OptionalTensor& running_var,
                        const OptionalTensor& batches_tracked, const OptionalTensor& scale, double epsilon,
                        std::optional<double> momentum, OptionalDtype dtype, bool training) {
    const at::AutoDispatchBelowAutograd guard;
    const Tensor y =
        training ? head_training_operator().call(x, weight, bias, gamma, beta, running_mean, running_var,
                                                 batches_tracked, scale, epsilon, momentum, dtype)
                 : head_operator().call(x, weight, bias, gamma, beta, *running_mean, *running_var, scale,
                                        epsilon, dtype);
    context->save_for_backward({x, weight, or_undefined(bias), or_undefined(gamma), or_undefined(beta),
                                training ? Tensor() : *running_mean, training ? Tensor() : *running_var,
                                or_undefined(scale), y});
    context->saved_data["epsilon"] = epsilon;
    context->saved_data["training"] = training;
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1], &bias = saved[2], &gamma = saved[3], &beta = saved[4],
                 &mean = saved[5], &var = saved[6], &scale = saved[7], &y = saved[8];
    const double epsilon = context->saved_data["epsilon"].toDouble();
    const bool training = context->saved_data["training"].toBool();
    const auto wanted = [](const Tensor& t) { return t.defined() && t.requires_grad(); };

    const Tensor z = at::linear(x, weight, if_defined(bias));
    const auto [normalized, save_mean, save_invstd] = at::native_batch_norm(
        z, if_defined(gamma), if_defined(beta), if_defined(mean), if_defined(var), training, 0, epsilon);
    Tensor gradient = at::_softmax_backward_data(gradients[0], y, 1, y.scalar_type());

    torch::autograd::variable_list out(13);
    if (wanted(scale)) out[8] = scale_gradient(gradient, normalized, scale);
    if (scale.defined()) gradient = gradient.mul(scale);
    const auto [z_gradient, gamma_gradient, beta_gradient] = at::native_batch_norm_backward(
        gradient.to(z.scalar_type()), z, if_defined(gamma), if_defined(mean), if_defined(var), save_mean,
        save_invstd, training, epsilon, {true, wanted(gamma), wanted(beta)});
    if (wanted(x)) out[0] = z_gradient.matmul(weight);
    if (wanted(weight)) out[1] = z_gradient.t().matmul(x);
    if (wanted(bias)) out[2] = z_gradient.sum(0);
    if (wanted(gamma)) out[3] = gamma_gradient;
    if (wanted(beta)) out[4] = beta_gradient;
    return out;
  }
};

Tensor head_autograd(const Tensor& x, const Tensor& weight, const OptionalTensor& bias,
                     const OptionalTensor& gamma, const OptionalTensor& beta, const Tensor& running_mean,
                     const Tensor& running_var, const OptionalTensor& scale, double epsilon,
                     OptionalDtype dtype) {
  if (at::GradMode::is_enabled() && (x.requires_grad() || weight.requires_grad() || wants_grad(bias) ||
                                     wants_grad(gamma) || wants_grad(beta) || wants_grad(scale))) {
    return HeadFunction::apply(x, weight, bias, gamma, beta, OptionalTensor(running_mean),
                               OptionalTensor(running_var), OptionalTensor(), scale, epsilon,
                               std::optional<double>(), dtype, false);
  }
  const at::AutoDispatchBelowAutograd guard;
  return head_operator().call(x, weight, bias, gamma, beta, running_mean, running_var, scale, epsilon, dtype);
}

Tensor head_training_autograd(const Tensor& x, const Tensor& weight, const OptionalTensor& bias,
                              const OptionalTensor& gamma, const OptionalTensor& beta,
                              const OptionalTensor& running_mean, const OptionalTensor& running_var,
                              const OptionalTensor& batches_tracked, const OptionalTensor& scale,
                              double epsilon, std::optional<double> momentum, OptionalDtype dtype) {
  if (at::GradMode::is_enabled() && (x.requires_grad() || weight.requires_grad() || wants_grad(bias) ||
                                     wants_grad(gamma) || wants_grad(beta) || wants_grad(scale))) {
    return HeadFunction::apply(x, weight, bias, gamma, beta, running_mean, running_var, batches_tracked,
                               scale, epsilon, momentum, dtype, true);
  }
  const at::AutoDispatchBelowAutograd guard;
  return head_training_operator().call(x, weight, bias, gamma, beta, running_mean, running_var,
                                       batches_tracked, scale, epsilon, momentum, dtype);
}

struct ScaleSoftmaxFunction : torch::autograd::Function<ScaleSoftmaxFunction> {
  static constexpr bool is_traceable = true;

  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x,
                        const OptionalTensor& scale, OptionalDtype dtype) {
    const at::AutoDispatchBelowAutograd guard;
    const Tensor y = scale_softmax_operator().call(x, scale, dtype);
    context->save_for_backward({x, or_undefined(scale), y});
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const Tensor &x = saved[0], &scale = saved[1], &y = saved[2];
    const Tensor gradient = at::_softmax_backward_data(gradients[0], y, 1, y.scalar_type());
    torch::autograd::variable_list out(3);
    if (x.requires_grad()) out[0] = (scale.defined() ? gradient.mul(scale) : gradient).to(x.scalar_type());
    if (scale.defined() && scale.requires_grad()) out[1] = scale_gradient(gradient, x, scale);
    return out;
  }
};

Tensor scale_softmax_autograd(const Tensor& x, const OptionalTensor& scale, OptionalDtype dtype) {
  if (at::GradMode::is_enabled() && (x.requires_grad() || wants_grad(scale))) {
    return ScaleSoftmaxFunction::apply(x, scale, dtype);
  }
  const at::AutoDispatchBelowAutograd guard;
  return scale_softmax_operator().call(x, scale, dtype);
}

}  // namespace

TORCH_LIBRARY_IMPL(masthead, ADInplaceOrView, m) {
  m.impl("linear_bn_scale_softmax.training", head_training_inplace);
}

TORCH_LIBRARY_IMPL(masthead, Autograd, m) {
  m.impl("linear_bn_scale_softmax", head_autograd);
  m.impl("linear_bn_scale_softmax.training", head_training_autograd);
  m.impl("scale_softmax", scale_softmax_autograd);
}

}  // namespace masthead_pytorch

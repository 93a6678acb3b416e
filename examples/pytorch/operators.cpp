#include "operators.hpp"

#include <ATen/Context.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/result_type.h>
#include <ATen/ops/softmax.h>
#include <torch/library.h>

#include "head_cache.hpp"

namespace masthead_pytorch {

namespace {

template <class Signature>
c10::TypedOperatorHandle<Signature> find_operator(const char* name, const char* overload) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, overload).typed<Signature>();
}

Tensor scaled(const Tensor& x, const OptionalTensor& scale) { return scale ? scale->mul(x) : x; }

Tensor composite(const HeadTensors& t, bool training, double factor, OptionalDtype dtype) {
  const Tensor normalized =
      at::batch_norm(at::linear(t.x, t.weight, t.bias), t.gamma, t.beta, t.running_mean, t.running_var,
                     training, factor, t.epsilon, at::globalContext().userEnabledCuDNN());
  return at::softmax(scaled(normalized, t.scale), 1, dtype);
}

}  // namespace

const c10::TypedOperatorHandle<HeadSignature>& head_operator() {
  static const auto found = find_operator<HeadSignature>("masthead::linear_bn_scale_softmax", "");
  return found;
}
const c10::TypedOperatorHandle<HeadTrainingSignature>& head_training_operator() {
  static const auto found =
      find_operator<HeadTrainingSignature>("masthead::linear_bn_scale_softmax", "training");
  return found;
}
const c10::TypedOperatorHandle<ScaleSoftmaxSignature>& scale_softmax_operator() {
  static const auto found = find_operator<ScaleSoftmaxSignature>("masthead::scale_softmax", "");
  return found;
}

at::ScalarType output_dtype(const Tensor& x, const OptionalTensor& scale, OptionalDtype dtype) {
  if (dtype) return *dtype;
  return scale ? at::result_type(*scale, x) : x.scalar_type();
}

Tensor composite(const HeadTensors& t, OptionalDtype dtype) { return composite(t, false, 0, dtype); }

Tensor composite_training(const HeadTensors& t, const OptionalTensor& batches_tracked,
                          std::optional<double> momentum, OptionalDtype dtype) {
  if (batches_tracked) Tensor(*batches_tracked).add_(1);
  double factor = momentum.value_or(0);
  if (!momentum && batches_tracked) factor = 1.0 / batches_tracked->item<double>();
  return composite(t, true, factor, dtype);
}

Tensor composite_scale_softmax(const Tensor& x, const OptionalTensor& scale, OptionalDtype dtype) {
  return at::softmax(scaled(x, scale), 1, dtype);
}

void check_batch(const HeadTensors& t) {
  TORCH_CHECK(t.x.size(0) > 1, "Expected more than 1 value per channel when training, got input size ",
              at::IntArrayRef({t.x.size(0), t.weight.size(0)}));
}

namespace {

Tensor head_cpu(const Tensor& x, const Tensor& weight, const OptionalTensor& bias,
                const OptionalTensor& gamma, const OptionalTensor& beta, const Tensor& running_mean,
                const Tensor& running_var, const OptionalTensor& scale, double epsilon, OptionalDtype dtype) {
  return composite({x, weight, bias, gamma, beta, running_mean, running_var, scale, epsilon}, false, 0,
                   dtype);
}

Tensor head_training_cpu(const Tensor& x, const Tensor& weight, const OptionalTensor& bias,
                         const OptionalTensor& gamma, const OptionalTensor& beta,
                         const OptionalTensor& running_mean, const OptionalTensor& running_var,
                         const OptionalTensor& batches_tracked, const OptionalTensor& scale, double epsilon,
                         std::optional<double> momentum, OptionalDtype dtype) {
  const HeadTensors t{x, weight, bias, gamma, beta, running_mean, running_var, scale, epsilon};
  check_batch(t);
  return composite_training(t, batches_tracked, momentum, dtype);
}

Tensor scale_softmax_cpu(const Tensor& x, const OptionalTensor& scale, OptionalDtype dtype) {
  return composite_scale_softmax(x, scale, dtype);
}

Tensor head_meta(const Tensor& x, const Tensor& weight, const OptionalTensor&, const OptionalTensor&,
                 const OptionalTensor&, const Tensor&, const Tensor&, const OptionalTensor& scale, double,
                 OptionalDtype dtype) {
  return at::empty_symint({x.sym_size(0), weight.sym_size(0)},
                          x.options().dtype(output_dtype(x, scale, dtype)));
}

Tensor head_training_meta(const Tensor& x, const Tensor& weight, const OptionalTensor&, const OptionalTensor&,
                          const OptionalTensor&, const OptionalTensor&, const OptionalTensor&,
                          const OptionalTensor&, const OptionalTensor& scale, double, std::optional<double>,
                          OptionalDtype dtype) {
  return at::empty_symint({x.sym_size(0), weight.sym_size(0)},
                          x.options().dtype(output_dtype(x, scale, dtype)));
}

Tensor scale_softmax_meta(const Tensor& x, const OptionalTensor& scale, OptionalDtype dtype) {
  return at::empty_symint(x.sym_sizes(), x.options().dtype(output_dtype(x, scale, dtype)));
}

}  // namespace

TORCH_LIBRARY(masthead, m) {
  m.def(
      "linear_bn_scale_softmax(Tensor x, Tensor weight, Tensor? bias, Tensor? gamma, Tensor? beta, "
      "Tensor running_mean, Tensor running_var, Tensor? scale, float epsilon, ScalarType? dtype=None) -> "
      "Tensor");
  m.def(
      "linear_bn_scale_softmax.training(Tensor x, Tensor weight, Tensor? bias, Tensor? gamma, Tensor? beta, "
      "Tensor(a!)? running_mean, Tensor(b!)? running_var, Tensor(c!)? num_batches_tracked, Tensor? scale, "
      "float epsilon, float? momentum, ScalarType? dtype=None) -> Tensor");
  m.def("weights_changed() -> ()", [] { HeadCache::instance().weights_changed(); });
  m.def("scale_softmax(Tensor x, Tensor? scale=None, ScalarType? dtype=None) -> Tensor");
}

TORCH_LIBRARY_IMPL(masthead, CPU, m) {
  m.impl("linear_bn_scale_softmax", head_cpu);
  m.impl("linear_bn_scale_softmax.training", head_training_cpu);
  m.impl("scale_softmax", scale_softmax_cpu);
}

TORCH_LIBRARY_IMPL(masthead, Meta, m) {
  m.impl("linear_bn_scale_softmax", head_meta);
  m.impl("linear_bn_scale_softmax.training", head_training_meta);
  m.impl("scale_softmax", scale_softmax_meta);
}

}  // namespace masthead_pytorch

#pragma once
/// The operators masthead::linear_bn_scale_softmax (eval mode; overload `training`) and
/// masthead::scale_softmax: their signatures, and how their wrappers call them. masthead::weights_changed()
/// says that weights may have changed without their version counters.
///
/// operators.cpp has their schemas, shapes and CPU kernels, the other sources one dispatch key each.

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <optional>

namespace masthead_pytorch {

using at::Tensor;
using OptionalTensor = std::optional<Tensor>;
using OptionalDtype = std::optional<at::ScalarType>;

/// Normalizes with running_mean and running_var. y has `dtype`, or else what PyTorch's promotion gives for
/// scale * x.
using HeadSignature = Tensor(const Tensor& x, const Tensor& weight, const OptionalTensor& bias,
                             const OptionalTensor& gamma, const OptionalTensor& beta,
                             const Tensor& running_mean, const Tensor& running_var,
                             const OptionalTensor& scale, double epsilon, OptionalDtype dtype);

/// Normalizes with the batch's statistics and updates those that are given, in place.
using HeadTrainingSignature = Tensor(const Tensor& x, const Tensor& weight, const OptionalTensor& bias,
                                     const OptionalTensor& gamma, const OptionalTensor& beta,
                                     const OptionalTensor& running_mean, const OptionalTensor& running_var,
                                     const OptionalTensor& batches_tracked, const OptionalTensor& scale,
                                     double epsilon, std::optional<double> momentum, OptionalDtype dtype);

/// softmax(scale * x, dim=1).
using ScaleSoftmaxSignature = Tensor(const Tensor& x, const OptionalTensor& scale, OptionalDtype dtype);

/// The operators by way of the dispatcher.
const c10::TypedOperatorHandle<HeadSignature>& head_operator();
const c10::TypedOperatorHandle<HeadTrainingSignature>& head_training_operator();
const c10::TypedOperatorHandle<ScaleSoftmaxSignature>& scale_softmax_operator();

/// The tensors that eval and training mode have in common.
struct HeadTensors {
  const Tensor &x, &weight;
  const OptionalTensor &bias, &gamma, &beta, &running_mean, &running_var, &scale;
  double epsilon;
};

at::ScalarType output_dtype(const Tensor& x, const OptionalTensor& scale, OptionalDtype dtype);

/// The same by PyTorch's own operators.
Tensor composite(const HeadTensors& t, OptionalDtype dtype);
Tensor composite_training(const HeadTensors& t, const OptionalTensor& batches_tracked,
                          std::optional<double> momentum, OptionalDtype dtype);
Tensor composite_scale_softmax(const Tensor& x, const OptionalTensor& scale, OptionalDtype dtype);
void check_batch(const HeadTensors& t);

}  // namespace masthead_pytorch

#pragma once
/// The whole head with an explicit policy: y = softmax(scale * BatchNorm1d(x W^T + b), dim=1).

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>
#include <string>
#include <utility>

#include "masthead/launch/forward.cuh"
#include "masthead/launch/packed_weight.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0 {

/// The arguments of a head whose operands the caller has quantized to e4m3: x ~ x_scale[m] * head.x[m, k],
/// and likewise the weight. Each scale is a vector of float on the device with one element per row. Rows of
/// both operands start at multiples of 16 bytes.
template <class U>
struct QuantizedArguments {
  HeadArguments<__nv_fp8_e4m3, U> head = {};  ///< y is bfloat16 or float
  ConstVector x_scale = {};                   ///< (batch)
  ConstVector weight_scale = {};              ///< (out_features)
};

}  // namespace masthead::inline v0

namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

template <class U>
Reason check_quantized(const QuantizedArguments<U>& arguments, Mode mode, const RunningStatistics& running,
                       const Workspace& workspace) {
  const auto& [head, x_scale, weight_scale] = arguments;
  if (Reason reason = check_arguments(head, mode)) return reason;
  if (Reason reason = check_vector("x_scale", x_scale, false, {head.x.rows})) return reason;
  if (Reason reason = check_vector("weight_scale", weight_scale, false, {head.parameters.weight.rows})) {
    return reason;
  }
  for (const auto& [vector, argument] :
       {std::pair(x_scale, "x_scale"), std::pair(weight_scale, "weight_scale")}) {
    if (vector.dtype != Dtype::f32) {
      return Error(std::string(argument) + ".dtype", std::string(name(vector.dtype)), "must be f32");
    }
  }
  const NamedRegion all_written[] = {{"y", region_of(head.y)},
                                     {"running.mean", region_of(running.mean)},
                                     {"running.var", region_of(running.var)},
                                     {"workspace", region_of(workspace)}};
  for (const NamedRegion& written : all_written) {
    if (Reason reason =
            check_apart(written.name, written.region,
                        {{"x_scale", region_of(x_scale)}, {"weight_scale", region_of(weight_scale)}})) {
      return reason;
    }
  }
  if (Reason reason = check_rows_aligned("x", head.x)) return reason;
  return check_rows_aligned("weight", head.parameters.weight);
}

/// The request for operands that the caller has quantized to e4m3. Throws Error.
template <class U>
ForwardRequest<__nv_fp8_e4m3, U> quantized_request(const QuantizedArguments<U>& arguments, Mode mode,
                                                   const RunningStatistics& running,
                                                   const Workspace& workspace, cudaStream_t stream) {
  refuse_if(check_quantized(arguments, mode, running, workspace));
  const Device device = Device::current(stream);
  refuse_if(check_device_pointer("x_scale", arguments.x_scale.data, device));
  refuse_if(check_device_pointer("weight_scale", arguments.weight_scale.data, device));
  const auto view = [](const Matrix<const __nv_fp8_e4m3>& m, const ConstVector& scale) {
    return PackedMatrix{.data = m.data,
                        .scale = scale.data,
                        .rows = m.rows,
                        .columns = m.columns,
                        .row_stride = m.row_stride,
                        .part_stride = m.row_stride};
  };
  return {.arguments = arguments.head,
          .running = running,
          .device = device,
          .stream = stream,
          .packed_weight = view(arguments.head.parameters.weight, arguments.weight_scale),
          .packed_x = view(arguments.head.x, arguments.x_scale)};
}

/// The workspace of a pass with `Policy`.
template <class Policy, class T, class U>
ForwardWorkspace workspace_of(const HeadArguments<T, U>& arguments, Mode mode) {
  return plan_workspace(Policy::spec, {.batch = arguments.x.rows,
                                       .in_features = arguments.x.columns,
                                       .out_features = arguments.y.columns,
                                       .mode = mode,
                                       .output = arguments.output,
                                       .y = dtype_of<U>});
}

template <class Policy>
constexpr void lacks_packed_weight() {
  static_assert(
      !is_packed(Policy::spec.math_mode),
      "masthead::linear_batch_norm_softmax: a policy of MathMode f16, f16x3 or e4m3 multiplies packed "
      "operands and takes the packed weight, PackedWeight::of<math_mode>(weight, device, stream), "
      "behind the arguments");
}
template <class Policy>
constexpr void takes_no_packed_weight() {
  static_assert(
      is_packed(Policy::spec.math_mode),
      "masthead::linear_batch_norm_softmax: a policy of MathMode plain or tf32 multiplies the weight "
      "where it is and takes no PackedWeight");
}

/// Runs a pass with an explicit policy: check, plan, launch.
template <class Policy, Mode mode, class T, class U>
MASTHEAD_THIS_OBJECT void forward_explicit(const ForwardRequest<T, U>& request, const Workspace& workspace) {
  check_request(request, mode);
  forward<Policy, mode>(request, workspace);
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES

namespace masthead::inline v0::inline MASTHEAD_ARCHITECTURES {

/// Bytes of workspace, aligned to 256, that a pass with `Policy` over `arguments` needs, whatever the device
/// holds at once. Throws Error when they do not fit in 63 bits.
template <class Policy, class T, detail::HeadOutputOf<T> U>
std::int64_t workspace_bytes(const HeadArguments<T, U>& arguments, Mode mode = Mode::eval) {
  return detail::workspace_of<Policy>(arguments, mode).bytes;
}

/// Bytes of workspace, aligned to 256, that a pass with `Policy` over operands in e4m3 needs, whatever the
/// device holds at once. Throws Error when they do not fit in 63 bits.
template <class Policy, class U>
std::int64_t workspace_bytes(const QuantizedArguments<U>& arguments, Mode mode = Mode::eval) {
  return detail::workspace_of<Policy>(arguments.head, mode).bytes;
}

/// Runs the head in eval mode (running statistics) with an explicit policy whose math mode multiplies x and
/// the weight where they are (plain, tf32): one to three kernels, which ForwardPlan names.
///
/// The workspace holds workspace_bytes<Policy>(arguments) bytes on the device. A wgmma policy asks for x and
/// a weight that TMA can read: addresses, columns and row strides in multiples of 16 bytes. The call is
/// queued on `stream`: it does not synchronize or allocate, and can be captured; parameters are read when the
/// kernels run. It is deterministic; a row's bits do not depend on its batch. Throws Error before anything is
/// launched.
template <class Policy, class T, detail::HeadOutputOf<T> U>
requires(!detail::is_packed(Policy::spec.math_mode)) MASTHEAD_THIS_OBJECT
    void linear_batch_norm_softmax(const HeadArguments<T, U>& arguments, const Workspace& workspace,
                                   cudaStream_t stream) {
  detail::forward_explicit<Policy, Mode::eval>(
      detail::ForwardRequest<T, U>{
          .arguments = arguments, .running = {}, .device = detail::Device::current(stream), .stream = stream},
      workspace);
}

/// Runs the head in training mode with an explicit policy whose math mode multiplies x and the weight where
/// they are: BatchNorm normalizes with the mean and biased variance of this batch (at least 2 rows) and
/// updates `running` on the device. That takes one to four kernels. The workspace holds
/// workspace_bytes<Policy>(arguments, Mode::training) bytes. Otherwise it behaves as in eval mode.
template <class Policy, class T, detail::HeadOutputOf<T> U>
requires(!detail::is_packed(Policy::spec.math_mode)) MASTHEAD_THIS_OBJECT
    void linear_batch_norm_softmax_training(const HeadArguments<T, U>& arguments,
                                            const RunningStatistics& running, const Workspace& workspace,
                                            cudaStream_t stream) {
  detail::forward_explicit<Policy, Mode::training>(
      detail::ForwardRequest<T, U>{.arguments = arguments,
                                   .running = running,
                                   .device = detail::Device::current(stream),
                                   .stream = stream},
      workspace);
}

/// Runs the head in eval mode with an explicit policy whose math mode multiplies packed operands. `weight` is
/// PackedWeight::of<math_mode>(parameters.weight, ...), which the caller updates when the elements change; x
/// is packed in the workspace by one kernel more. The workspace holds workspace_bytes<Policy>(arguments)
/// bytes on the device. The call is queued on `stream`: it does not synchronize or allocate, and can be
/// captured. Throws Error before anything is launched.
template <class Policy, class T, detail::HeadOutputOf<T> U>
requires(detail::is_packed(Policy::spec.math_mode)) MASTHEAD_THIS_OBJECT
    void linear_batch_norm_softmax(const HeadArguments<T, U>& arguments, const PackedWeight& weight,
                                   const Workspace& workspace, cudaStream_t stream) {
  detail::forward_explicit<Policy, Mode::eval>(
      detail::ForwardRequest<T, U>{.arguments = arguments,
                                   .running = {},
                                   .device = detail::Device::current(stream),
                                   .stream = stream,
                                   .packed_weight = weight.view()},
      workspace);
}

/// Runs the head in training mode with an explicit policy whose math mode multiplies packed operands, and
/// updates `running` on the device. The workspace holds workspace_bytes<Policy>(arguments, Mode::training)
/// bytes. Otherwise it behaves as in eval mode.
template <class Policy, class T, detail::HeadOutputOf<T> U>
requires(detail::is_packed(Policy::spec.math_mode)) MASTHEAD_THIS_OBJECT
    void linear_batch_norm_softmax_training(const HeadArguments<T, U>& arguments, const PackedWeight& weight,
                                            const RunningStatistics& running, const Workspace& workspace,
                                            cudaStream_t stream) {
  detail::forward_explicit<Policy, Mode::training>(
      detail::ForwardRequest<T, U>{.arguments = arguments,
                                   .running = running,
                                   .device = detail::Device::current(stream),
                                   .stream = stream,
                                   .packed_weight = weight.view()},
      workspace);
}

/// Says, of a policy whose math mode multiplies packed operands, that the call lacks the packed weight.
template <class Policy, class T, detail::HeadOutputOf<T> U>
requires(detail::is_packed(Policy::spec.math_mode)) void linear_batch_norm_softmax(const HeadArguments<T, U>&,
                                                                                   const Workspace&,
                                                                                   cudaStream_t) {
  detail::lacks_packed_weight<Policy>();
}
template <class Policy, class T, detail::HeadOutputOf<T> U>
requires(detail::is_packed(Policy::spec.math_mode)) void linear_batch_norm_softmax_training(
    const HeadArguments<T, U>&, const RunningStatistics&, const Workspace&, cudaStream_t) {
  detail::lacks_packed_weight<Policy>();
}
/// Says, of a policy whose math mode multiplies x and the weight where they are, that it takes no packed
/// weight.
template <class Policy, class T, detail::HeadOutputOf<T> U>
requires(!detail::is_packed(Policy::spec.math_mode)) void linear_batch_norm_softmax(
    const HeadArguments<T, U>&, const PackedWeight&, const Workspace&, cudaStream_t) {
  detail::takes_no_packed_weight<Policy>();
}
template <class Policy, class T, detail::HeadOutputOf<T> U>
requires(!detail::is_packed(Policy::spec.math_mode)) void linear_batch_norm_softmax_training(
    const HeadArguments<T, U>&, const PackedWeight&, const RunningStatistics&, const Workspace&,
    cudaStream_t) {
  detail::takes_no_packed_weight<Policy>();
}

/// Runs the head in eval mode on operands that the caller has quantized to e4m3, with a policy of Dtype::e4m3
/// and MathMode::e4m3. The workspace holds workspace_bytes<Policy>(arguments) bytes on the device. The call
/// is queued on `stream`: it does not synchronize or allocate, and can be captured. Throws Error before
/// anything is launched.
template <class Policy, class U>
MASTHEAD_THIS_OBJECT void linear_batch_norm_softmax(const QuantizedArguments<U>& arguments,
                                                    const Workspace& workspace, cudaStream_t stream) {
  detail::forward_explicit<Policy, Mode::eval>(
      detail::quantized_request(arguments, Mode::eval, {}, workspace, stream), workspace);
}

/// Runs the head in training mode on operands that the caller has quantized to e4m3, and updates `running` on
/// the device. The workspace holds workspace_bytes<Policy>(arguments, Mode::training) bytes. Otherwise it
/// behaves as in eval mode.
template <class Policy, class U>
MASTHEAD_THIS_OBJECT void linear_batch_norm_softmax_training(const QuantizedArguments<U>& arguments,
                                                             const RunningStatistics& running,
                                                             const Workspace& workspace,
                                                             cudaStream_t stream) {
  detail::forward_explicit<Policy, Mode::training>(
      detail::quantized_request(arguments, Mode::training, running, workspace, stream), workspace);
}

}  // namespace masthead::inline v0::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

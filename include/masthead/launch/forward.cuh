#pragma once
/// A forward pass: check, plan, launch.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <algorithm>
#include <cstdint>
#include <string>
#include <type_traits>

#include "masthead/launch/forward_simt.cuh"
#include "masthead/launch/forward_swap_ab.cuh"
#include "masthead/launch/forward_wgmma.cuh"
#include "masthead/launch/probe.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// `count` rows of a matrix from `first` on.
template <class T>
Matrix<T> rows_from(const Matrix<T>& matrix, std::int64_t first, std::int64_t count) {
  return {matrix.data + first * matrix.row_stride, count, matrix.columns, matrix.row_stride};
}

/// What a caller hands in, with the device it is for.
template <class T, class U>
struct ForwardRequest {
  HeadArguments<T, U> arguments;
  RunningStatistics running;
  Device device;
  cudaStream_t stream;
  /// The parameters' pointers and the code have been checked, on this device.
  bool checked_parameters = false;
  PackedMatrix packed_weight = {}, packed_x = {};  ///< for math modes that multiply packed operands

  ForwardShape shape(Mode mode) const {
    const auto& [x, parameters, y, output] = arguments;
    return {.batch = x.rows,
            .in_features = x.columns,
            .out_features = y.columns,
            .mode = mode,
            .output = output,
            .y = dtype_of<U>,
            .y_by_tma = is_tensor_map(y)};
  }

  /// The request for `rows` rows of the batch from `first` on, with x packed in `math_mode` where it is.
  ForwardRequest of_rows(std::int64_t first, std::int64_t rows, MathMode math_mode) const {
    ForwardRequest part = *this;
    part.arguments.x = rows_from(arguments.x, first, rows);
    part.arguments.y = rows_from(arguments.y, first, rows);
    if (packed_x.data != nullptr) part.packed_x = packed_x.rows_from(first, rows, scale_bytes(math_mode));
    return part;
  }
};

// Static: an object that is compiled for sm_90a keeps its own launches beside one for sm_90 (an anonymous
// namespace does not serve, as nvcc gives it a name).

/// Checks what can be known of a request without its policy. Throws Error.
template <class T, class U>
static void check_request(const ForwardRequest<T, U>& request, Mode mode) {
  refuse_if(check_arguments(request.arguments, mode));
  if (mode == Mode::training) refuse_if(check_running(request.running, request.arguments.y.columns));
}

/// Checks the pointers, the code, and what TMA asks of the operands. Throws Error.
template <class Policy, class T, class U>
static void check_memory(const ForwardRequest<T, U>& request, Mode mode) {
  const auto& [x, parameters, y, output] = request.arguments;
  const Device& device = request.device;
  if (!request.checked_parameters) refuse_if(check_device_pointers(parameters, device));
  refuse_if(check_device_pointer("x", x.data, device));
  refuse_if(check_device_pointer("y", y.data, device));
  if (mode == Mode::training) {
    refuse_if(check_device_pointer("running.mean", request.running.mean.data, device));
    refuse_if(check_device_pointer("running.var", request.running.var.data, device));
    refuse_if(check_device_pointer("running.batches_tracked", request.running.batches_tracked, device));
  }
  if constexpr (EngineTraits<Policy::spec.engine>::needs_sm90a) {
    if (!request.checked_parameters) refuse_if(check_compiled_for_sm90a(Policy::spec, device));
    if constexpr (!is_packed(Policy::spec.math_mode)) {
      refuse_if(check_tensor_map("x", x));
      refuse_if(check_tensor_map("weight", parameters.weight));
    }
  }
}

/// Launches the path of logits in memory, which every engine has.
template <class Policy, bool log_softmax, Engine engine, class T, class U>
static void launch_path(EngineConstant<engine> constant, PathConstant<Path::logits>, const ForwardPlan& plan,
                        const ForwardCall<T, U>& call) {
  launch_linear<Policy, Path::logits>(constant, plan, call);
  launch_row_softmax<log_softmax>(plan, call);
}

/// Launches the training path of sums in memory, which every engine has.
template <class Policy, bool log_softmax, Engine engine, class T, class U>
static void launch_path(EngineConstant<engine> constant, PathConstant<Path::training>,
                        const ForwardPlan& plan, const ForwardCall<T, U>& call) {
  launch_linear<Policy, Path::training>(constant, plan, call);
  if constexpr (!EngineTraits<engine>::takes_moments) launch_column_statistics(plan, call);
  launch_training_end<log_softmax>(plan, call);
}

/// Launches the kernels of a plan.
template <class Policy, Mode mode, ForwardUse use, class T, class U>
static void launch_forward(const ForwardPlan& plan, const ForwardCall<T, U>& call) {
  const auto follow = [&]<Path path>() {
    if constexpr (may_take(path, Policy::spec, dtype_of<U>, mode, use)) {
      launch_path<Policy, use.log_softmax>(EngineConstant<Policy::spec.engine>(), PathConstant<path>(), plan,
                                           call);
    } else {
      throw Error("plan.path", std::string(name(path)),
                  "must be one that is compiled for " + to_string(Policy::spec));
    }
  };
  switch (plan.path) {
    case Path::logits:
      return follow.template operator()<Path::logits>();
    case Path::training:
      return follow.template operator()<Path::training>();
    case Path::two_pass:
      return follow.template operator()<Path::two_pass>();
    case Path::overlapped:
      return follow.template operator()<Path::overlapped>();
    case Path::resident:
      return follow.template operator()<Path::resident>();
    case Path::resident_training:
      return follow.template operator()<Path::resident_training>();
    case Path::two_pass_training:
      return follow.template operator()<Path::two_pass_training>();
    case Path::one_cluster:
      return follow.template operator()<Path::one_cluster>();
    case Path::row_blocks:
      return follow.template operator()<Path::row_blocks>();
  }
}

/// Launches a pass that has been checked and planned.
template <class Policy, Mode mode, ForwardUse use, class T, class U>
static void launch_forward(const ForwardPlan& plan, const ForwardRequest<T, U>& request,
                           const Workspace& workspace) {
  const RunningStatistics& running = request.running;
  launch_forward<Policy, mode, use>(
      plan, ForwardCall<T, U>{.arguments = request.arguments,
                              .mode = mode,
                              .stream = request.stream,
                              .architecture = request.device.row_architecture(),
                              .workspace = static_cast<unsigned char*>(workspace.data),
                              .packed_x = request.packed_x,
                              .packed_weight = request.packed_weight,
                              .update = {running.mean, running.var, running.momentum.value_or(-1),
                                         running.batches_tracked}});
}

/// Runs a pass of a request that check_request let through, on a workspace of the caller's. Throws Error
/// before anything is launched.
template <class Policy, Mode mode, ForwardUse use = ForwardUse{}, class T, class U>
static void forward(const ForwardRequest<T, U>& request, const Workspace& workspace) {
  static_assert(std::is_same_v<T, DeviceElement<Policy::spec.dtype>>,
                "masthead: the policy's dtype must be the element type of x and weight");
  check_memory<Policy>(request, mode);
  const ForwardPlan plan = plan_forward(Policy::spec, request.shape(mode), request.device.limits);
  refuse_if(check_workspace(workspace, plan.workspace.bytes));
  refuse_if(check_written_apart(request.arguments,
                                mode == Mode::training ? request.running : RunningStatistics{}, workspace));
  if (plan.workspace.bytes > 0) refuse_if(check_device_pointer("workspace", workspace.data, request.device));
  const std::int64_t batch = request.arguments.x.rows;
  if (plan.rows == batch) return launch_forward<Policy, mode, use>(plan, request, workspace);
  for (std::int64_t first = 0; first < batch; first += plan.rows) {
    const std::int64_t rows = (std::min)(plan.rows, batch - first);
    const auto part = request.of_rows(first, rows, Policy::spec.math_mode);
    launch_forward<Policy, mode, use>(plan_forward(Policy::spec, part.shape(mode), request.device.limits),
                                      part, workspace);
  }
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

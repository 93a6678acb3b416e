#pragma once
/// The whole head with an explicit policy: y = softmax(scale * BatchNorm1d(x W^T + b), dim=1).

#include <cstdint>
#include <string>
#include <type_traits>

#include "masthead/head_workspace.cuh"
#include "masthead/host/linear_softmax_sm90.cuh"
#include "masthead/host/prepared_weight.cuh"
#include "masthead/kernel/batch_norm.cuh"
#include "masthead/kernel/linear_affine.cuh"
#include "masthead/select_policy.hpp"
#include "masthead/softmax/scale_softmax.cuh"

namespace masthead::inline v0 {

namespace detail {

/// What a caller asks of a policy at most: kernels for more are not compiled.
struct HeadUse {
  bool log_softmax = true;
  FeatureRange features = {};
};

/// A forward pass in one mode: checks what depends on the policy and on the device, then launches.
template <class Policy, class T, class U, HeadUse use = HeadUse{}>
class HeadLaunch {
  static_assert(std::is_same_v<T, DeviceElement<Policy::spec.dtype>>,
                "masthead: the policy's dtype must be the element type of x and weight");
  static constexpr PolicySpec spec = Policy::spec;
  using Sum = Accumulator<T>;

 public:
  /// `arguments` have passed check(arguments, mode). `checked_by_head`: so have, on this device, their
  /// parameters' pointers and the code. `weight` is prepared for the policy's product (plain: unused), and so
  /// is `x` where its elements are e4m3.
  HeadLaunch(const HeadArguments<T, U>& arguments, Mode mode, const Workspace& workspace,
             const Device& device, cudaStream_t stream, bool checked_by_head = false,
             const PreparedMatrix& weight = {}, const PreparedMatrix& x = {})
      : arguments_(arguments), mode_(mode), stream_(stream), device_(device), weight_(weight), x_(x) {
    if (!checked_by_head) require(check_device_pointers(arguments.parameters, device_));
    require(check_device_pointer("x", arguments.x.data, device_));
    require(check_device_pointer("y", arguments.y.data, device_));
    if (spec.shared_bytes() > device_.max_shared_per_block) {
      throw Error("policy", to_string(spec),
                  "needs " + std::to_string(spec.shared_bytes()) +
                      " bytes of shared memory a block, this device has " +
                      std::to_string(device_.max_shared_per_block));
    }
    if constexpr (spec.engine != Engine::simt) {
      if (!checked_by_head) require(check_compiled_for_sm90a<Policy>(device_));
      if constexpr (!is_prepared(spec.product)) {
        require(check_sm90(arguments.x, arguments.parameters.weight));
      }
    }
    layout_ = HeadWorkspace::of(spec, dtype_of<U>, mode, arguments.output, arguments.x.rows,
                                arguments.x.columns, arguments.y.columns);
    require(check_workspace(workspace, layout_.bytes));
    if (layout_.bytes > 0) require(check_device_pointer("workspace", workspace.data, device_));
    workspace_ = static_cast<unsigned char*>(workspace.data);
    if constexpr (std::is_same_v<U, Sum>) {
      logits_ = arguments.y;
    } else {
      logits_ = {at<Sum>(layout_.logits), arguments.y.rows, arguments.y.columns,
                 HeadWorkspace::logits_stride(arguments.y.columns)};
    }
  }

  void eval() {
    if constexpr (some_fit_cluster) {
      if (HeadWorkspace::fits_cluster(spec, mode_, arguments_.output, arguments_.y.columns)) {
        sm90().softmax(arguments_.y);
        return;
      }
    }
    if constexpr (spec.engine != Engine::simt && sizeof(U) == 2 && !all_fit_cluster) {
      if constexpr (spec.engine == Engine::wgmma || use.features.most > FinaliseLogits::columns) {
        if (HeadWorkspace::keeps_codes(spec, dtype_of<U>, mode_, arguments_.output, arguments_.y.columns)) {
          sm90().softmax(arguments_.y, at<RowPartial>(layout_.partials));
          return;
        }
      }
      if constexpr (spec.engine == Engine::wgmma_transposed) {
        if (arguments_.output == Output::softmax) {
          sm90().softmax(arguments_.y, logits_);
          return;
        }
      }
    }
    if constexpr (spec.engine == Engine::simt) {
      linear_simt();
      softmax({}, {});
    } else if constexpr (use.log_softmax || (sizeof(U) != 2 && !all_fit_cluster)) {
      sm90().logits(logits_);
      softmax({}, {});
    }
  }

  void training(const RunningStatistics& running) {
    require(check(running, arguments_.y.columns));
    require(check_device_pointer("running.mean", running.mean.data, device_));
    require(check_device_pointer("running.var", running.var.data, device_));
    require(check_device_pointer("running.batches_tracked", running.batches_tracked, device_));
    const std::int64_t features = arguments_.y.columns;
    const BatchUpdate update{running.mean, running.var, running.momentum.value_or(-1),
                             running.batches_tracked};
    const auto splits = static_cast<int>(HeadWorkspace::moment_splits(spec, arguments_.y.rows));
    auto* parts = at<Moments<Sum>>(layout_.parts);
    if constexpr (spec.engine == Engine::wgmma) {
      if constexpr (std::is_same_v<T, U> && sizeof(U) == 2 && !is_prepared(spec.product)) {
        if (arguments_.output == Output::softmax &&
            sm90().softmax_training(arguments_.y, at<RowPartial>(layout_.partials),
                                    at<ColumnMoment>(layout_.parts), update)) {
          return;
        }
      }
      sm90().sums(logits_, parts, update);
    } else {
      if constexpr (spec.engine == Engine::wgmma_transposed) {
        sm90().sums(logits_);
      } else {
        linear_simt();
      }
      launch("column_statistics_kernel", column_statistics_kernel<Sum>,
             {.blocks = ceil_div(features, 32) * splits,
              .block_threads = BlockColumnStatistics<Sum>::block_threads,
              .stream = stream_},
             ColumnStatisticsParams<Sum>{logits_, parts, splits, running.batches_tracked});
    }

    auto *multiplier = at<Sum>(layout_.multiplier), *addend = at<Sum>(layout_.addend);
    launch("batch_affine_kernel", batch_affine_kernel<T>,
           {.blocks = ceil_div(features, 128),
            .block_threads = 128,
            .stream = stream_,
            .overlap_previous = device_.architecture >= 90},
           BatchAffineParams<T>{arguments_.parameters, parts, splits, multiplier, addend, update});
    softmax(ConstVector(multiplier, features), ConstVector(addend, features));
  }

 private:
  /// Whether one cluster of the transposed engine covers rows of some width, or all, that are asked for.
  static constexpr bool some_fit_cluster =
      HeadWorkspace::fits_cluster(spec, Mode::eval, Output::softmax, use.features.least);
  static constexpr bool all_fit_cluster =
      HeadWorkspace::fits_cluster(spec, Mode::eval, Output::softmax, use.features.most);

  /// The Hopper engine on x, which it prepares first where the product asks for that.
  auto sm90() const {
    const Parameters<T>& parameters = arguments_.parameters;
    if constexpr (spec.engine == Engine::wgmma_transposed) {
      return LinearSoftmaxClusterSm90<Policy, T>(arguments_.x, parameters, stream_);
    } else if constexpr (!is_prepared(spec.product)) {
      return LinearSoftmaxSm90<Policy, T>(arguments_.x, parameters.weight, parameters, device_, stream_);
    } else if constexpr (spec.dtype == Dtype::e4m3) {
      return LinearSoftmaxSm90<Policy, T>(x_, weight_, parameters, device_, stream_);
    } else {
      const PreparedMatrix x =
          PreparedLayout{spec.product, arguments_.x.rows, arguments_.x.columns}.at(workspace_ + layout_.x);
      const LinearSoftmaxSm90<Policy, T> linear(x, weight_, parameters, device_, stream_);
      prepare_operand<spec.product>(arguments_.x, x, weight_.infinite, stream_);
      return linear;
    }
  }

  void linear_simt() {
    const Raster raster{ceil_div(arguments_.y.rows, spec.tile.m),
                        ceil_div(arguments_.y.columns, spec.tile.n)};
    const bool vectors = rows_aligned(arguments_.x, 16) && rows_aligned(arguments_.parameters.weight, 16);
    launch("linear_affine_kernel",
           vectors ? linear_affine_kernel<Policy, 16> : linear_affine_kernel<Policy, spec.element_bytes()>,
           {.blocks = raster.size(),
            .block_threads = spec.block_threads,
            .stream = stream_,
            .shared_bytes = spec.shared_bytes()},
           LinearAffineParams<T>{arguments_.x, arguments_.parameters, logits_, mode_, raster});
  }

  void softmax(const ConstVector& multiplier, const ConstVector& addend) {
    const SoftmaxParams<Sum, U> params{.x = logits_,
                                       .y = arguments_.y,
                                       .multiplier = multiplier,
                                       .addend = addend,
                                       .unit = Sum(1),
                                       .segment = 0};
    if constexpr (use.log_softmax) {
      launch_selected_softmax(params, arguments_.output, device_, stream_);
    } else {
      launch_selected_softmax(params, OutputConstant<Output::softmax>(), device_, stream_);
    }
  }

  template <class V>
  V* at(std::int64_t offset) const {
    return reinterpret_cast<V*>(workspace_ + offset);
  }

  HeadArguments<T, U> arguments_;
  Mode mode_;
  cudaStream_t stream_;
  Device device_;
  PreparedMatrix weight_, x_;
  HeadWorkspace layout_;
  unsigned char* workspace_ = nullptr;
  Matrix<Sum> logits_;
};

}  // namespace detail

/// The head in eval mode (running statistics) with an explicit policy whose product takes x and the weight
/// where they are (plain, tf32), one to three kernels.
///
/// The workspace holds HeadWorkspace::of(...).bytes on the device: nothing when y has the accumulator's
/// dtype. A wgmma policy asks for x and a weight that TMA can read (check_sm90). Queued on `stream`: no
/// synchronisation, no allocation, capturable; parameters are read when the kernels run. Deterministic; a
/// row's bits do not depend on its batch. Throws Error before anything is launched.
template <class Policy, class T, HeadOutputOf<T> U>
requires(!is_prepared(Policy::spec.product)) void linear_batch_norm_softmax(
    const HeadArguments<T, U>& arguments, const Workspace& workspace, cudaStream_t stream) {
  require(check(arguments, Mode::eval));
  detail::HeadLaunch<Policy, T, U>(arguments, Mode::eval, workspace, Device::current(stream), stream).eval();
}

/// The same in training mode: normalises with the mean and biased variance of this batch (at least 2 rows)
/// and updates `running` on the device. One to four kernels.
template <class Policy, class T, HeadOutputOf<T> U>
requires(!is_prepared(Policy::spec.product)) void linear_batch_norm_softmax_training(
    const HeadArguments<T, U>& arguments, const RunningStatistics& running, const Workspace& workspace,
    cudaStream_t stream) {
  require(check(arguments, Mode::training));
  detail::HeadLaunch<Policy, T, U>(arguments, Mode::training, workspace, Device::current(stream), stream)
      .training(running);
}

/// Both with a policy whose product takes prepared operands: PreparedWeight::of<product>(weight, ...) of
/// parameters.weight, brought up to date when its elements changed; and x, which one kernel more prepares in
/// the workspace.
template <class Policy, class T, HeadOutputOf<T> U>
requires(is_prepared(Policy::spec.product)) void linear_batch_norm_softmax(
    const HeadArguments<T, U>& arguments, const PreparedWeight& weight, const Workspace& workspace,
    cudaStream_t stream) {
  require(check(arguments, Mode::eval));
  detail::HeadLaunch<Policy, T, U>(arguments, Mode::eval, workspace, Device::current(stream), stream, false,
                                   weight.view())
      .eval();
}
template <class Policy, class T, HeadOutputOf<T> U>
requires(is_prepared(Policy::spec.product)) void linear_batch_norm_softmax_training(
    const HeadArguments<T, U>& arguments, const PreparedWeight& weight, const RunningStatistics& running,
    const Workspace& workspace, cudaStream_t stream) {
  require(check(arguments, Mode::training));
  detail::HeadLaunch<Policy, T, U>(arguments, Mode::training, workspace, Device::current(stream), stream,
                                   false, weight.view())
      .training(running);
}

/// e4m3 operands that are there already: x ~ x_scale[m] * head.x[m, k] and likewise the weight, each scale a
/// vector of float on the device with one element a row. Rows of both start at multiples of 16 bytes.
template <class U>
struct QuantisedArguments {
  HeadArguments<__nv_fp8_e4m3, U> head = {};  ///< y is bfloat16 or float
  ConstVector x_scale = {};                   ///< (batch)
  ConstVector weight_scale = {};              ///< (out_features)
};

template <class U>
Reason check(const QuantisedArguments<U>& arguments, Mode mode) {
  const auto& [head, x_scale, weight_scale] = arguments;
  if (Reason reason = check(head, mode)) return reason;
  if (Reason reason = check_vector("x_scale", x_scale, false, {head.x.rows})) return reason;
  if (Reason reason = check_vector("weight_scale", weight_scale, false, {head.parameters.weight.rows})) {
    return reason;
  }
  for (const auto& [vector, name] :
       {std::pair(x_scale, "x_scale"), std::pair(weight_scale, "weight_scale")}) {
    if (vector.dtype != Dtype::f32) {
      return Error(std::string(name) + ".dtype", std::string(masthead::name(vector.dtype)), "must be f32");
    }
  }
  if (Reason reason = check_rows_aligned("x", head.x)) return reason;
  return check_rows_aligned("weight", head.parameters.weight);
}

namespace detail {

template <class Policy, class U>
HeadLaunch<Policy, __nv_fp8_e4m3, U> quantised_launch(const QuantisedArguments<U>& arguments, Mode mode,
                                                      const Workspace& workspace, cudaStream_t stream) {
  require(check(arguments, mode));
  const Device device = Device::current(stream);
  require(check_device_pointer("x_scale", arguments.x_scale.data, device));
  require(check_device_pointer("weight_scale", arguments.weight_scale.data, device));
  const auto view = [](const Matrix<const __nv_fp8_e4m3>& m, const ConstVector& scale) {
    return PreparedMatrix{.data = m.data,
                          .scale = scale.data,
                          .rows = m.rows,
                          .columns = m.columns,
                          .row_stride = m.row_stride,
                          .part_stride = m.row_stride};
  };
  return {arguments.head,
          mode,
          workspace,
          device,
          stream,
          false,
          view(arguments.head.parameters.weight, arguments.weight_scale),
          view(arguments.head.x, arguments.x_scale)};
}

}  // namespace detail

/// The head on ready e4m3 operands, with a policy of Dtype::e4m3 and Product::e4m3; else as above. Workspace:
/// HeadWorkspace::of(Policy::spec, ...).bytes.
template <class Policy, class U>
void linear_batch_norm_softmax(const QuantisedArguments<U>& arguments, const Workspace& workspace,
                               cudaStream_t stream) {
  detail::quantised_launch<Policy>(arguments, Mode::eval, workspace, stream).eval();
}
template <class Policy, class U>
void linear_batch_norm_softmax_training(const QuantisedArguments<U>& arguments,
                                        const RunningStatistics& running, const Workspace& workspace,
                                        cudaStream_t stream) {
  detail::quantised_launch<Policy>(arguments, Mode::training, workspace, stream).training(running);
}

}  // namespace masthead::inline v0

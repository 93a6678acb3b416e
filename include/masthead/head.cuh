#pragma once
/// The head as an object: parameters once, then forward passes.

#include <cstdint>

#include "masthead/linear_batch_norm_softmax.cuh"

namespace masthead::inline v0 {

/// y = softmax(scale * BatchNorm1d(x W^T + b), dim=1) on the current device.
///
///     masthead::Head<masthead::Precision::bf16> head(parameters, stream);
///     head.forward(x, y, stream);
///
/// x is (batch, in_features) of `Element`, y (batch, out_features) of `Element` or of its accumulator type,
/// both on the device, rows contiguous, any row stride and alignment. A Head keeps views, not copies: the
/// parameters' memory must outlive it, and changes to it are seen by the next forward pass, also by one
/// replayed from a graph.
///
/// Every call only queues work on `stream`: no synchronisation, no default stream, capturable in a CUDA
/// graph. A Head has no mutable state, so threads and streams may share it, each call with a workspace of its
/// own. Results are bitwise reproducible. A row's bits do not depend on the batch it is in; they may differ
/// between x that TMA can read (address and row stride multiples of 16 bytes) and x that it cannot, which on
/// sm_90 takes another engine. Everything throws Error, naming argument, value and rule, before anything is
/// launched or overwritten.
template <Precision precision>
class Head {
 public:
  using Element = DeviceElement<operand_dtype(precision)>;

  /// Checks the parameters. Preparation that an engine may need is queued on `stream`; none needs any so far.
  Head(const Parameters<Element>& parameters, cudaStream_t stream) : parameters_(parameters) {
    const Device device = Device::current(stream);
    require(check(parameters, Mode::training));
    require(check_device_pointers(parameters, device));
    architecture_ = device.architecture;
    if constexpr (has_wgmma(precision)) {
      wgmma_ = !check_tensor_map("weight", parameters.weight) &&
               !check_compiled_for_sm90a<PolicyFor<shipped_wgmma.wide>>(device);
    }
  }

  /// The policy a batch of this size runs with in eval mode when x has a 16-byte aligned address and row
  /// stride.
  PolicySpec policy(std::int64_t batch) const { return select(batch, wgmma_, Mode::eval); }

  /// Bytes of workspace, aligned to 256, that a forward pass needs whatever x's alignment and the output.
  std::int64_t workspace_bytes(std::int64_t batch, Mode mode = Mode::eval,
                               Dtype y = operand_dtype(precision)) const {
    return HeadWorkspace::of(operand_dtype(precision), y, mode, batch, parameters_.out_features()).bytes;
  }

  /// Eval mode: normalises with running_mean and running_var.
  template <HeadOutputOf<Element> U>
  void forward(const Matrix<const Element>& x, const Matrix<U>& y, const Workspace& workspace,
               cudaStream_t stream, Output output = Output::softmax) const {
    const Arguments<U> arguments{x, parameters_, y, output};
    require(check(arguments, Mode::eval));
    require(check_workspace(workspace, workspace_bytes(x.rows, Mode::eval, dtype_of<U>)));
    with_policy<Mode::eval>(
        x, [&]<class Policy>() { linear_batch_norm_softmax<Policy>(arguments, workspace, stream); });
  }

  /// The same with a stream-ordered allocation of its own, of no more than this call needs.
  template <HeadOutputOf<Element> U>
  void forward(const Matrix<const Element>& x, const Matrix<U>& y, cudaStream_t stream,
               Output output = Output::softmax) const {
    const Arguments<U> arguments{x, parameters_, y, output};
    require(check(arguments, Mode::eval));
    const StreamBuffer buffer(needed(arguments, Mode::eval), stream);
    with_policy<Mode::eval>(
        x, [&]<class Policy>() { linear_batch_norm_softmax<Policy>(arguments, buffer.workspace(), stream); });
  }

  /// Training mode: normalises with this batch's statistics and updates `running`; a batch of 1 is refused.
  template <HeadOutputOf<Element> U>
  void forward_training(const Matrix<const Element>& x, const Matrix<U>& y, const RunningStatistics& running,
                        const Workspace& workspace, cudaStream_t stream,
                        Output output = Output::softmax) const {
    const Arguments<U> arguments{x, parameters_, y, output};
    require(check(arguments, Mode::training));
    require(check_workspace(workspace, workspace_bytes(x.rows, Mode::training, dtype_of<U>)));
    with_policy<Mode::training>(x, [&]<class Policy>() {
      linear_batch_norm_softmax_training<Policy>(arguments, running, workspace, stream);
    });
  }

  /// The same with a stream-ordered allocation of its own.
  template <HeadOutputOf<Element> U>
  void forward_training(const Matrix<const Element>& x, const Matrix<U>& y, const RunningStatistics& running,
                        cudaStream_t stream, Output output = Output::softmax) const {
    const Arguments<U> arguments{x, parameters_, y, output};
    require(check(arguments, Mode::training));
    require(check(running, y.columns));
    const StreamBuffer buffer(needed(arguments, Mode::training), stream);
    with_policy<Mode::training>(x, [&]<class Policy>() {
      linear_batch_norm_softmax_training<Policy>(arguments, running, buffer.workspace(), stream);
    });
  }

 private:
  template <class U>
  using Arguments = HeadArguments<Element, U>;
  static constexpr ShippedPolicies shipped = shipped_policies(operand_dtype(precision));
  static constexpr ShippedWgmmaPolicies shipped_wgmma = shipped_wgmma_policies(operand_dtype(precision));

  PolicySpec select(std::int64_t batch, bool wgmma, Mode mode) const {
    return select_policy(precision, architecture_, batch, parameters_.in_features(),
                         parameters_.out_features(), wgmma, mode == Mode::training);
  }
  PolicySpec select(const Matrix<const Element>& x, Mode mode) const {
    if constexpr (has_wgmma(precision)) return select(x.rows, wgmma_ && !check_tensor_map("x", x), mode);
    return select(x.rows, false, mode);
  }

  template <class U>
  std::int64_t needed(const Arguments<U>& arguments, Mode mode) const {
    const auto& [x, parameters, y, output] = arguments;
    return HeadWorkspace::of(select(x, mode), dtype_of<U>, mode, output, x.rows, y.columns).bytes;
  }

  /// Calls run<Policy>() with the shipped policy selected for x.
  template <Mode mode, class Run>
  void with_policy(const Matrix<const Element>& x, const Run& run) const {
    const PolicySpec selected = select(x, mode);
    if constexpr (has_wgmma(precision) && mode == Mode::eval) {
      if (selected == shipped_wgmma.wide) return run.template operator()<PolicyFor<shipped_wgmma.wide>>();
      if (selected == shipped_wgmma.cluster_16) {
        return run.template operator()<PolicyFor<shipped_wgmma.cluster_16>>();
      }
      if (selected == shipped_wgmma.cluster_32) {
        return run.template operator()<PolicyFor<shipped_wgmma.cluster_32>>();
      }
      if (selected == shipped_wgmma.cluster_128) {
        return run.template operator()<PolicyFor<shipped_wgmma.cluster_128>>();
      }
      if (selected == shipped_wgmma.rows_16) {
        return run.template operator()<PolicyFor<shipped_wgmma.rows_16>>();
      }
      if (selected == shipped_wgmma.rows_64) {
        return run.template operator()<PolicyFor<shipped_wgmma.rows_64>>();
      }
      if (selected == shipped_wgmma.rows_128) {
        return run.template operator()<PolicyFor<shipped_wgmma.rows_128>>();
      }
    }
    if constexpr (has_wgmma(precision)) {
      if (selected == shipped_wgmma.narrow) return run.template operator()<PolicyFor<shipped_wgmma.narrow>>();
    }
    if (selected == shipped.wide) return run.template operator()<PolicyFor<shipped.wide>>();
    if (selected == shipped.large) return run.template operator()<PolicyFor<shipped.large>>();
    run.template operator()<PolicyFor<shipped.small>>();
  }

  Parameters<Element> parameters_;
  int architecture_;
  bool wgmma_ = false;  // whether the weight and the code allow it
};

}  // namespace masthead::inline v0

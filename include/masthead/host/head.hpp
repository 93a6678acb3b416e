#pragma once
/// The head on the CPU as an object: parameters once, then forward passes.

#include <cstdint>
#include <string>

#include "masthead/host/linear_batch_norm_softmax.hpp"

namespace masthead::inline v0::host {

/// y = softmax(scale * BatchNorm1d(x W^T + b), dim=1) on the CPU, with the interface of masthead::Head and an
/// executor where that takes a stream.
///
///     masthead::host::Executor executor;
///     masthead::host::Head<masthead::Precision::fp32> head(parameters, executor);
///     head.forward(x, y, executor);
///
/// x is (batch, in_features) of `Element`, y (batch, out_features) of `Element` or of its accumulator type,
/// rows contiguous, any row stride. tf32 and fp16_scaled compute as fp32 does: their operands are not
/// rounded. A Head keeps views, not copies: the parameters' memory must outlive it, and changes to it are
/// seen by the next forward pass.
///
/// Calls return when y is written. A Head has no mutable state, so threads may share it, each call with a
/// workspace of its own. Results are bitwise reproducible, whatever the number of threads, and a row's bits
/// do not depend on the batch it is in; they do depend on the CPU's instruction set. Everything throws Error,
/// naming argument, value and rule, before anything is overwritten.
template <Precision precision>
requires(precision != Precision::fp8) class Head {
 public:
  using Element = HostElement<operand_dtype(precision)>;

  /// Checks the parameters. There is nothing to prepare, so the executor is not used.
  Head(const Parameters<Element>& parameters, const Executor&) : parameters_(parameters) {
    require(check(parameters, Mode::training));
  }

  /// The name of the GEMM kernel a batch of any size runs with on this CPU, e.g. "host_f32_12x32_avx512f".
  std::string policy(std::int64_t) const {
    const auto kernel = gemm_kernels<Accumulator<Element>>().front();
    return "host_" + std::string(name(operand_dtype(precision))) + "_" + std::to_string(kernel.rows) + "x" +
           std::to_string(kernel.columns) + "_" + kernel.name;
  }

  /// Bytes of workspace, aligned to 256, that a pass over `x` needs; the output makes no difference.
  std::int64_t workspace_bytes(const Matrix<const Element>& x, Mode mode = Mode::eval,
                               Dtype y = operand_dtype(precision), Output = Output::softmax) const {
    return workspace_bytes(x.rows, mode, y);
  }
  /// The same by x's rows.
  std::int64_t workspace_bytes(std::int64_t batch, Mode mode = Mode::eval,
                               Dtype y = operand_dtype(precision)) const {
    return HeadWorkspace::of(operand_dtype(precision), y, mode, batch, parameters_.out_features()).bytes;
  }

  /// Eval mode: normalises with running_mean and running_var.
  template <HeadOutputOf<Element> U>
  void forward(const Matrix<const Element>& x, const Matrix<U>& y, const Workspace& workspace,
               const Executor& executor, Output output = Output::softmax) const {
    linear_batch_norm_softmax(HeadArguments<Element, U>{x, parameters_, y, output}, workspace, executor);
  }

  /// The same with an allocation of its own.
  template <HeadOutputOf<Element> U>
  void forward(const Matrix<const Element>& x, const Matrix<U>& y, const Executor& executor,
               Output output = Output::softmax) const {
    require(check(HeadArguments<Element, U>{x, parameters_, y, output}, Mode::eval));
    const std::int64_t bytes = workspace_bytes(x.rows, Mode::eval, dtype_of<U>);
    const AlignedBuffer<unsigned char> buffer(bytes);
    forward(x, y, Workspace{buffer.data(), bytes}, executor, output);
  }

  /// Training mode: normalises with this batch's statistics and updates `running`; a batch of 1 is refused.
  template <HeadOutputOf<Element> U>
  void forward_training(const Matrix<const Element>& x, const Matrix<U>& y, const RunningStatistics& running,
                        const Workspace& workspace, const Executor& executor,
                        Output output = Output::softmax) const {
    linear_batch_norm_softmax_training(HeadArguments<Element, U>{x, parameters_, y, output}, running,
                                       workspace, executor);
  }

  /// The same with an allocation of its own.
  template <HeadOutputOf<Element> U>
  void forward_training(const Matrix<const Element>& x, const Matrix<U>& y, const RunningStatistics& running,
                        const Executor& executor, Output output = Output::softmax) const {
    require(check(HeadArguments<Element, U>{x, parameters_, y, output}, Mode::training));
    const std::int64_t bytes = workspace_bytes(x.rows, Mode::training, dtype_of<U>);
    const AlignedBuffer<unsigned char> buffer(bytes);
    forward_training(x, y, running, Workspace{buffer.data(), bytes}, executor, output);
  }

 private:
  Parameters<Element> parameters_;
};

}  // namespace masthead::inline v0::host

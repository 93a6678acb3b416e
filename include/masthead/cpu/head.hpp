#pragma once
/// The head on the CPU as an object: parameters once, then forward passes.

#include <cstdint>
#include <string>
#include <type_traits>

#include "masthead/core/precision.hpp"
#include "masthead/cpu/linear_batch_norm_softmax.hpp"

namespace masthead::inline v0::cpu {

/// A head, y = softmax(scale * BatchNorm1d(x W^T + b), dim=1), on the CPU, with the interface of
/// masthead::Head and an executor where that takes a stream.
///
///     masthead::cpu::Executor executor;
///     masthead::cpu::Head<masthead::Precision::fp32> head(parameters, executor);
///     head.forward(x, y, executor);
///
/// x is (batch, in_features) of `Element` and y is (batch, out_features) of `Element` or of its accumulator
/// type, with contiguous rows and any row stride. tf32 and fp16_scaled compute as fp32 does: their operands
/// are not rounded. A Head stores views, not copies: the parameters' memory must outlive it, and the next
/// forward pass sees changes to it.
///
/// Calls return when y is written. A Head has no mutable state, so threads may share it, each call with a
/// workspace of its own. Results are bitwise reproducible, whatever the number of threads, and a row's bits
/// do not depend on the batch it is in; they do depend on the CPU's instruction set. Everything throws Error,
/// naming argument, value and rule, before anything is overwritten.
template <Precision precision>
requires(precision != Precision::fp8) class Head {
 public:
  using Element = HostElement<operand_dtype(precision)>;
  /// The type of sums, which y may have too.
  using Sum = Accumulator<Element>;

  /// Checks the parameters. There is nothing to pack, so the executor is not used.
  Head(const Parameters<Element>& parameters, const Executor&) : parameters_(parameters) {
    masthead::detail::refuse_if(masthead::detail::check_parameters(parameters, Mode::training));
  }

  /// The name of the GEMM kernel a batch of any size runs with on this CPU, e.g. "host_f32_12x32_avx512f".
  std::string policy(std::int64_t) const {
    const auto kernel = gemm_kernels<Accumulator<Element>>().front();
    return "host_" + std::string(name(operand_dtype(precision))) + "_" + std::to_string(kernel.rows) + "x" +
           std::to_string(kernel.columns) + "_" + kernel.name;
  }

  /// Bytes of workspace, aligned to 256, that a pass over `x` needs; the output makes no difference.
  std::int64_t workspace_bytes(const Matrix<const Element>& x, const WorkspaceOptions& options = {}) const {
    return workspace_bytes(x.rows, options);
  }
  /// Bytes of workspace, aligned to 256, for x of `batch` rows.
  std::int64_t workspace_bytes(std::int64_t batch, const WorkspaceOptions& options = {}) const {
    return HeadWorkspace::of(operand_dtype(precision), options.y.value_or(operand_dtype(precision)),
                             options.mode, batch, parameters_.out_features())
        .bytes;
  }

  /// Runs a pass in eval mode: BatchNorm normalizes with running_mean and running_var.
  void forward(const Matrix<const Element>& x, const Matrix<Element>& y, const ForwardOptions& options,
               const Executor& executor) const {
    run<Mode::eval>(x, y, options, executor);
  }
  void forward(const Matrix<const Element>& x, const Matrix<Sum>& y, const ForwardOptions& options,
               const Executor& executor) const requires(!std::is_same_v<Element, Sum>) {
    run<Mode::eval>(x, y, options, executor);
  }
  /// Runs a pass in eval mode without options: softmax, in memory of the call's own.
  void forward(const Matrix<const Element>& x, const Matrix<Element>& y, const Executor& executor) const {
    run<Mode::eval>(x, y, {}, executor);
  }
  void forward(const Matrix<const Element>& x, const Matrix<Sum>& y, const Executor& executor) const
      requires(!std::is_same_v<Element, Sum>) {
    run<Mode::eval>(x, y, {}, executor);
  }

  /// Runs a pass in training mode: BatchNorm normalizes with this batch's statistics and updates
  /// `options.running`; a batch of 1 is refused.
  void forward_training(const Matrix<const Element>& x, const Matrix<Element>& y,
                        const ForwardOptions& options, const Executor& executor) const {
    run<Mode::training>(x, y, options, executor);
  }
  void forward_training(const Matrix<const Element>& x, const Matrix<Sum>& y, const ForwardOptions& options,
                        const Executor& executor) const requires(!std::is_same_v<Element, Sum>) {
    run<Mode::training>(x, y, options, executor);
  }

 private:
  template <Mode mode, class U>
  void run(const Matrix<const Element>& x, const Matrix<U>& y, const ForwardOptions& options,
           const Executor& executor) const {
    const HeadArguments<Element, U> arguments{x, parameters_, y, options.output};
    const auto pass = [&](const Workspace& workspace) {
      if constexpr (mode == Mode::eval) {
        linear_batch_norm_softmax(arguments, workspace, executor);
      } else {
        linear_batch_norm_softmax_training(arguments, options.running, workspace, executor);
      }
    };
    if (options.workspace) return pass(*options.workspace);
    masthead::detail::refuse_if(masthead::detail::check_arguments(arguments, mode));
    const std::int64_t bytes = workspace_bytes(x.rows, {.mode = mode, .y = dtype_of<U>});
    const AlignedBuffer<unsigned char> buffer(bytes);
    pass(Workspace{buffer.data(), bytes});
  }

  Parameters<Element> parameters_;
};

}  // namespace masthead::inline v0::cpu

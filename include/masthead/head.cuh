#pragma once
/// The head as an object: parameters once, then forward passes.

#include <cstdint>
#include <string>

#include "masthead/linear_batch_norm_softmax.cuh"

namespace masthead::inline v0 {

/// What a Head is compiled with. Each part that is left out saves compiling it and makes the program smaller;
/// what needs it is then refused.
struct HeadParts {
  /// The SIMT engine, which computes fp32, tf32 and fp16_scaled as fp32_ieee, and bf16 and fp16, where the
  /// tensor cores do not: on other GPUs than sm_90, in code that is not compiled for sm_90a and (bf16, fp16,
  /// tf32) where TMA cannot read x or the weight. fp8 has none.
  bool simt = true;
  bool log_softmax = true;  ///< Output::log_softmax
};

/// y = softmax(scale * BatchNorm1d(x W^T + b), dim=1) on the current device.
///
///     masthead::Head<masthead::Precision::bf16> head(parameters, stream);
///     head.forward(x, y, stream);
///
/// x is (batch, in_features) of `Element`, y (batch, out_features) of `Element` or of its accumulator type,
/// both on the device, rows contiguous, any row stride and alignment. A Head keeps views, not copies: the
/// parameters' memory must outlive it, and changes to it are seen by the next forward pass, also by one
/// replayed from a graph. With one exception: `fp32`, `fp16_scaled` and `fp8` on sm_90 multiply a prepared
/// copy of the weight, which the Head makes and owns (as many bytes as the weight for fp32, half as many for
/// fp16_scaled and fp8); after the weight's elements have changed, `update` makes it anew.
///
/// `fp32` is as accurate as float FMA chains, or better, as long as the products that matter do not come from
/// elements far below the largest of their row: an element is represented to 2^-23 of itself down to 2^-15 of
/// its row's largest magnitude, and to 2^-38 of that magnitude below. |error of x w| <= Σ_k |x_k w_k| 2^-21 +
/// 2^-37 K max|x| max|w|; only where the second term counts (rows that span more than 2^15 in both operands,
/// the large elements of one meeting the small ones of the other) can `fp32_ieee` be better. Any finite input
/// is in range. Where the Head is not compiled for sm_90a, or does not run on it, fp32 is fp32_ieee.
///
/// `tf32` rounds x and the weight to the nearest tf32, 11 significant bits, where it reads them; finite
/// magnitudes of 2^128 - 2^116 and more become infinite. It is fp32_ieee where fp32 is, and where TMA cannot
/// read x or the weight.
///
/// `fp16_scaled` has the significant bits of tf32 at twice its rate. An element keeps 11 of them down to
/// 2^-28 of its row's largest magnitude, and is represented to 2^-38 of that magnitude below: |error of x w|
/// <= Σ_k |x_k w_k| 2^-10 + 2^-37 K max|x| max|w|, beside that of summing. Any finite input is in range. It
/// is fp32_ieee where fp32 is.
///
/// `fp8` is refused where the Head is not compiled for sm_90a or does not run on it. It keeps the 4
/// significant bits of e4m3 for elements down to 2^-14 of their row's largest; infinities in its operands
/// become NaN; rows of either operand should have their largest magnitude between 2^-90 and 2^90.
///
/// `parts` says what need not be compiled. A Head without the SIMT engine,
///
///     masthead::Head<masthead::Precision::bf16, masthead::HeadParts{.simt = false}>
///
/// throws Error in the constructor where it is not compiled for sm_90a, does not run on it or (bf16, fp16,
/// tf32) TMA cannot read the weight, and in passes where TMA cannot read x: address and row stride must be
/// multiples of 16 bytes, and so must in_features. The bits of what it computes are those of a Head with all
/// parts.
///
/// Every call only queues work on `stream`: no synchronisation, no default stream, capturable in a CUDA
/// graph. Apart from `update`, a Head has no mutable state, so threads and streams may share it, each call
/// with a workspace of its own. Results are bitwise reproducible. A row's bits do not depend on the batch it
/// is in; in bf16, fp16 and tf32 they may differ between x that TMA can read (address and row stride
/// multiples of 16 bytes) and x that it cannot, which on sm_90 takes another engine. Everything throws Error,
/// naming argument, value and rule, before anything is launched or overwritten.
template <Precision precision, HeadParts parts = HeadParts{}>
class Head {
  static_assert(parts.simt || has_wgmma(precision) || is_prepared(product_of(precision)),
                "masthead::Head: fp64 and fp32_ieee have no engine but SIMT");

 public:
  using Element = DeviceElement<operand_dtype(precision)>;

  /// Checks the parameters, and queues on `stream` the preparation that fp32, fp16_scaled and fp8 need: that
  /// `stream` must exist as long as the Head, which gives its memory back there, and must not be capturing.
  Head(const Parameters<Element>& parameters, cudaStream_t stream) : parameters_(parameters) {
    const Device device = Device::current(stream);
    require(check(parameters, Mode::training));
    require(check_device_pointers(parameters, device));
    architecture_ = device.architecture;
    ordinal_ = device.ordinal;
    if constexpr (has_wgmma(precision)) {
      Reason reason = check_compiled_for_sm90a<PolicyFor<shipped_wgmma.wide>>(device);
      if (!reason) reason = check_tensor_map("weight", parameters.weight);
      if constexpr (!has_simt) require(reason);
      wgmma_ = !reason;
    }
    if constexpr (is_prepared(product)) {
      const Reason reason = check_compiled_for_sm90a<PolicyFor<shipped_product.tall>>(device);
      if constexpr (!has_simt) require(reason);
      wgmma_ = !reason;
      if (wgmma_) prepared_ = PreparedWeight::of<product>(parameters.weight, device, stream);
    }
  }

  /// Brings the weight into the form the engine multiplies, on `stream`, after its elements changed: `fp32`,
  /// `fp16_scaled` and `fp8` read the weight in the constructor and here alone. The other precisions read it
  /// in every pass, and this does nothing. Capturable; passes queued on other streams must be ordered before
  /// and after it by the caller.
  void update([[maybe_unused]] cudaStream_t stream) {
    if constexpr (is_prepared(product)) {
      if (wgmma_) prepared_.template update<product>(parameters_.weight, stream);
    }
  }

  /// The policy a batch of this size runs with in eval mode; in bf16, fp16 and tf32 when x has a 16-byte
  /// aligned address and row stride.
  PolicySpec policy(std::int64_t batch) const { return select(batch, wgmma_, Mode::eval); }

  /// Bytes of workspace, aligned to 256, that a pass over `x` needs: of bf16, 1024 x 8192 -> 8192, 0.3 MB.
  std::int64_t workspace_bytes(const Matrix<const Element>& x, Mode mode = Mode::eval,
                               Dtype y = operand_dtype(precision), Output output = Output::softmax) const {
    return HeadWorkspace::of(select(x, mode), y, mode, output, x.rows, parameters_.in_features(),
                             parameters_.out_features())
        .bytes;
  }
  /// The same whatever x's alignment and the output: enough for logits in float, there 34 MB.
  std::int64_t workspace_bytes(std::int64_t batch, Mode mode = Mode::eval,
                               Dtype y = operand_dtype(precision)) const {
    if (is_prepared(product) && wgmma_) {
      return HeadWorkspace::of(policy(batch), y, mode, Output::log_softmax, batch, parameters_.in_features(),
                               parameters_.out_features())
          .bytes;
    }
    return HeadWorkspace::of(precision, y, mode, batch, parameters_.out_features()).bytes;
  }

  /// Eval mode: normalises with running_mean and running_var.
  template <HeadOutputOf<Element> U>
  void forward(const Matrix<const Element>& x, const Matrix<U>& y, const Workspace& workspace,
               cudaStream_t stream, Output output = Output::softmax) const {
    run<Mode::eval>(Arguments<U>{x, parameters_, y, output}, &workspace, stream,
                    [](auto&& launch) { launch.eval(); });
  }

  /// The same with a stream-ordered allocation of its own, of no more than this call needs.
  template <HeadOutputOf<Element> U>
  void forward(const Matrix<const Element>& x, const Matrix<U>& y, cudaStream_t stream,
               Output output = Output::softmax) const {
    run<Mode::eval>(Arguments<U>{x, parameters_, y, output}, nullptr, stream,
                    [](auto&& launch) { launch.eval(); });
  }

  /// Training mode: normalises with this batch's statistics and updates `running`; a batch of 1 is refused.
  template <HeadOutputOf<Element> U>
  void forward_training(const Matrix<const Element>& x, const Matrix<U>& y, const RunningStatistics& running,
                        const Workspace& workspace, cudaStream_t stream,
                        Output output = Output::softmax) const {
    run<Mode::training>(Arguments<U>{x, parameters_, y, output}, &workspace, stream,
                        [&](auto&& launch) { launch.training(running); });
  }

  /// The same with a stream-ordered allocation of its own.
  template <HeadOutputOf<Element> U>
  void forward_training(const Matrix<const Element>& x, const Matrix<U>& y, const RunningStatistics& running,
                        cudaStream_t stream, Output output = Output::softmax) const {
    const Arguments<U> arguments{x, parameters_, y, output};
    require(check(arguments, Mode::training));
    require(check(running, y.columns));
    run<Mode::training>(arguments, nullptr, stream, [&](auto&& launch) { launch.training(running); });
  }

 private:
  template <class U>
  using Arguments = HeadArguments<Element, U>;
  static constexpr Product product = product_of(precision);
  static constexpr ShippedPolicies shipped = shipped_policies(operand_dtype(precision));
  static constexpr ShippedWgmmaPolicies shipped_wgmma = shipped_wgmma_policies(operand_dtype(precision));
  static constexpr ShippedProductPolicies shipped_product =
      shipped_product_policies(product, operand_dtype(precision));
  static constexpr bool has_simt = parts.simt && precision != Precision::fp8;
  /// What a pass asks of the policy that was selected for it.
  static constexpr detail::HeadUse use(const PolicySpec& policy) {
    return {parts.log_softmax, selected_features(policy)};
  }

  PolicySpec select(std::int64_t batch, bool wgmma, Mode mode) const {
    return select_policy(precision, architecture_, batch, parameters_.in_features(),
                         parameters_.out_features(), wgmma, mode == Mode::training);
  }
  PolicySpec select(const Matrix<const Element>& x, Mode mode) const {
    if constexpr (has_wgmma(precision) && has_simt) {
      return select(x.rows, wgmma_ && is_tensor_map(x), mode);
    }
    return select(x.rows, wgmma_, mode);
  }

  /// Checks everything, then calls go(launch) with the forward pass under the policy selected for x. Null
  /// `workspace`: a stream-ordered allocation.
  template <Mode mode, class U, class Go>
  void run(const Arguments<U>& arguments, const Workspace* workspace, cudaStream_t stream,
           const Go& go) const {
    const Device device = Device::current(stream);
    require(check(arguments, mode));
    if constexpr (!parts.log_softmax) {
      if (arguments.output != Output::softmax) {
        throw Error("output", std::string(name(arguments.output)),
                    "must be softmax for a Head without HeadParts::log_softmax");
      }
    }
    const PolicySpec selected = select(arguments.x, mode);
    const std::int64_t needed = workspace_bytes(arguments.x, mode, dtype_of<U>, arguments.output);
    if (workspace != nullptr) {
      require(check_workspace(*workspace, needed));
      return with_policy<mode>(
          selected, [&]<class Policy>() { go(launch<Policy>(arguments, mode, *workspace, device, stream)); });
    }
    const StreamBuffer buffer(needed, stream);
    with_policy<mode>(selected, [&]<class Policy>() {
      go(launch<Policy>(arguments, mode, buffer.workspace(), device, stream));
    });
  }

  /// The parameters' pointers were checked by the constructor, for the device that was current then.
  template <class Policy, class U>
  detail::HeadLaunch<Policy, Element, U, use(Policy::spec)> launch(const Arguments<U>& arguments, Mode mode,
                                                                   const Workspace& workspace,
                                                                   const Device& device,
                                                                   cudaStream_t stream) const {
    if constexpr (!is_prepared(Policy::spec.product)) {
      return {arguments, mode, workspace, device, stream, device.ordinal == ordinal_};
    } else {
      return {arguments, mode, workspace, device, stream, device.ordinal == ordinal_, prepared_.view()};
    }
  }

  /// Calls go<Policy>() with a shipped policy.
  template <Mode mode, class Go>
  static void with_policy(const PolicySpec& selected, const Go& go) {
    if constexpr (is_prepared(product)) {
      if (selected == shipped_product.tall) {
        return go.template operator()<PolicyFor<shipped_product.tall>>();
      }
      if (selected == shipped_product.low) return go.template operator()<PolicyFor<shipped_product.low>>();
    }
    if constexpr (has_wgmma(precision)) {
      if (selected == shipped_wgmma.wide) return go.template operator()<PolicyFor<shipped_wgmma.wide>>();
      if (selected == shipped_wgmma.narrow) return go.template operator()<PolicyFor<shipped_wgmma.narrow>>();
    }
    if constexpr (has_wgmma(precision) && mode == Mode::eval) {
      if (selected == shipped_wgmma.cluster_16) {
        return go.template operator()<PolicyFor<shipped_wgmma.cluster_16>>();
      }
      if (selected == shipped_wgmma.cluster_32) {
        return go.template operator()<PolicyFor<shipped_wgmma.cluster_32>>();
      }
      if (selected == shipped_wgmma.cluster_128) {
        return go.template operator()<PolicyFor<shipped_wgmma.cluster_128>>();
      }
      if (selected == shipped_wgmma.rows_16) {
        return go.template operator()<PolicyFor<shipped_wgmma.rows_16>>();
      }
      if (selected == shipped_wgmma.rows_32) {
        return go.template operator()<PolicyFor<shipped_wgmma.rows_32>>();
      }
      if (selected == shipped_wgmma.rows_64) {
        return go.template operator()<PolicyFor<shipped_wgmma.rows_64>>();
      }
      if (selected == shipped_wgmma.rows_128) {
        return go.template operator()<PolicyFor<shipped_wgmma.rows_128>>();
      }
      if (selected == shipped_wgmma.rows_256) {
        return go.template operator()<PolicyFor<shipped_wgmma.rows_256>>();
      }
    }
    if constexpr (has_simt) {
      if (selected == shipped.wide) return go.template operator()<PolicyFor<shipped.wide>>();
      if (selected == shipped.large) return go.template operator()<PolicyFor<shipped.large>>();
      go.template operator()<PolicyFor<shipped.small>>();
    }
  }

  Parameters<Element> parameters_;
  int architecture_, ordinal_;
  bool wgmma_ = false;  // whether the weight and the code allow it
  PreparedWeight prepared_;
};

}  // namespace masthead::inline v0

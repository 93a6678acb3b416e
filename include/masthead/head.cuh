#pragma once
/// The head as an object: parameters once, then forward passes.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <string>
#include <type_traits>
#include <utility>

#include "masthead/launch/forward.cuh"
#include "masthead/launch/packed_weight.cuh"
#include "masthead/launch/stream_buffer.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0 {

/// What a Head is compiled with. Leaving a part out saves its compilation and makes the program smaller;
/// calls that need it are then refused.
struct HeadParts {
  /// The SIMT engine. It computes where the tensor cores do not: on other GPUs than sm_90, in code that is
  /// not compiled for sm_90a and (bf16, fp16, tf32) where TMA cannot read x or the weight. fp32, tf32 and
  /// fp16_scaled then run as fp32_ieee. fp64 and fp32_ieee have no other engine, fp8 does not have this one.
  bool simt = true;
  bool log_softmax = true;  ///< Output::log_softmax
};

}  // namespace masthead::inline v0

namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Calls visit.operator()<spec>() for every policy that a Head is compiled with.
// Static, as all that follows from it: the closures are then this object's own.
template <Precision precision, HeadParts parts, bool training, class Visit>
static void for_each_shipped(const Visit& visit) {
  const auto of_engine = [&]<Engine engine>() {
    if constexpr (engine != Engine::simt || parts.simt) {
      constexpr auto shipped = EngineTraits<engine>::template shipped<precision, training>();
      [&]<std::size_t... i>(std::index_sequence<i...>) { (visit.template operator()<shipped[i]>(), ...); }
      (std::make_index_sequence<shipped.size()>());
    }
  };
  [&]<std::size_t... i>(std::index_sequence<i...>) { (of_engine.template operator()<engines[i]>(), ...); }
  (std::make_index_sequence<std::size(engines)>());
}

/// Runs a Head's pass with the shipped policy that was selected. Kernels for more than passes ask of a policy
/// that is selected for them are not compiled.
template <Precision precision, HeadParts parts, Mode mode, class T, class U>
static void run_selected(const PolicySpec& selected, const ForwardRequest<T, U>& request,
                         const Workspace& workspace) {
  bool found = false;
  for_each_shipped<precision, parts, mode == Mode::training>([&]<PolicySpec spec>() {
    if (found || selected != spec) return;
    found = true;
    constexpr ForwardUse use{parts.log_softmax, selected_features(spec)};
    forward<PolicyFor<spec>, mode, use>(request, workspace);
  });
  if (!found) throw Error("policy", to_string(selected), "must be one that the Head is compiled with");
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES

namespace masthead::inline v0::inline MASTHEAD_ARCHITECTURES {

/// A head, y = softmax(scale * BatchNorm1d(x W^T + b), dim=1), on the current device, or on the part of it
/// that the stream of a call has.
///
///     masthead::Head<masthead::Precision::bf16> head(parameters, stream);
///     head.forward(x, y, stream);
///
/// x is (batch, in_features) of `Element` and y is (batch, out_features) of `Element` or of its accumulator
/// type; both lie on the device, with contiguous rows and any row stride and alignment. A Head stores views,
/// not copies: the parameters' memory must outlive it, and the next forward pass sees changes to it, also a
/// pass that is replayed from a graph. There is one exception: `fp32`, `fp16_scaled` and `fp8` on sm_90
/// multiply a packed copy of the weight, which the Head makes and owns (as many bytes as the weight for fp32,
/// half as many for fp16_scaled and fp8); after the weight's elements have changed, `update` makes it anew.
///
/// `fp32` is as accurate as float FMA chains, or better, as long as the products that matter do not come from
/// elements far below the largest of their row: an element is represented to 2^-23 of itself down to 2^-15 of
/// its row's largest magnitude, and to 2^-38 of that magnitude below. For the dot product of two rows, |error
/// of x w| <= Σ_k |x_k w_k| 2^-21 + 2^-37 K max|x| max|w|; only where the second term counts (rows that span
/// more than 2^15 in both operands, the large elements of one multiplied by the small ones of the other) can
/// `fp32_ieee` be better. Any finite input is in range. Where the Head is not compiled for sm_90a, or does
/// not run on it, fp32 is fp32_ieee.
///
/// `tf32` rounds x and the weight to the nearest tf32, 11 significant bits, where it reads them; finite
/// magnitudes of 2^128 - 2^116 and more become infinite. It is fp32_ieee where fp32 is, and where TMA cannot
/// read x or the weight.
///
/// `fp16_scaled` has the significant bits of tf32 at twice its rate. An element keeps 11 of them down to
/// 2^-28 of its row's largest magnitude, and is represented to 2^-38 of that magnitude below: for the dot
/// product of two rows, |error of x w| <= Σ_k |x_k w_k| 2^-10 + 2^-37 K max|x| max|w|, beside the error of
/// summing. Any finite input is in range. It is fp32_ieee where fp32 is.
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
/// Every call only queues work on `stream`: no synchronization, no default stream, capturable in a CUDA
/// graph. Apart from `update`, a Head has no mutable state, so threads and streams may share it, each call
/// with a workspace of its own. Results are bitwise reproducible. A row's bits do not depend on the batch it
/// is in; in bf16, fp16 and tf32 they may differ between x that TMA can read (address and row stride
/// multiples of 16 bytes) and x that it cannot, which on sm_90 takes another engine. Everything throws Error,
/// naming argument, value and rule, before anything is launched or overwritten.
template <Precision precision, HeadParts parts = HeadParts{}>
class Head {
  static_assert(parts.simt || detail::has_wgmma(precision) || detail::is_packed(math_mode_of(precision)),
                "masthead::Head: fp64 and fp32_ieee have no engine but SIMT");

 public:
  using Element = DeviceElement<operand_dtype(precision)>;
  /// The type of sums, which y may have too.
  using Sum = Accumulator<Element>;

  /// Checks the parameters, and queues on `stream` the packing that fp32, fp16_scaled and fp8 need: that
  /// `stream` must not be capturing. The destructor of such a Head waits for the device's work, as cudaFree
  /// does, and must not run while a stream of the device is being captured; `stream` may be gone by then. Of
  /// these precisions a Head that was moved from refuses passes and `update`.
  MASTHEAD_THIS_OBJECT Head(const Parameters<Element>& parameters, cudaStream_t stream)
      : parameters_(parameters) {
    const detail::Device device = detail::Device::current(stream);
    detail::refuse_if(detail::check_parameters(parameters, Mode::training));
    detail::refuse_if(detail::check_device_pointers(parameters, device));
    limits_ = device.limits;
    ordinal_ = device.ordinal;
    if constexpr (reads_in_place || is_packed) {
      detail::Reason reason = detail::check_compiled_for_sm90a(
          detail::shipped_wgmma(math_mode, operand_dtype(precision)).m128, device);
      if (reads_in_place && !reason) reason = detail::check_tensor_map("weight", parameters.weight);
      if constexpr (!has_simt) detail::refuse_if(reason);
      wgmma_ = !reason;
    }
    if constexpr (is_packed) {
      if (wgmma_) packed_ = PackedWeight::of<math_mode>(parameters.weight, device, stream);
    }
  }

  /// Packs the weight again, on `stream`, after its elements changed: `fp32`, `fp16_scaled` and `fp8` read
  /// the weight in the constructor and here alone. The other precisions read it in every pass, and this does
  /// nothing. The call can be captured; the caller orders passes that are queued on other streams before and
  /// after it.
  void update([[maybe_unused]] cudaStream_t stream) {
    if constexpr (is_packed) {
      if (wgmma_) packed_.template update<math_mode>(parameters_.weight, stream);
    }
  }

  /// The policy that a batch of this size runs with in eval mode; for bf16, fp16 and tf32, the one for an x
  /// whose address and row stride are multiples of 16 bytes.
  PolicySpec policy(std::int64_t batch) const { return select(batch, wgmma_, Mode::eval); }

  /// The plan of a pass over `x` on the stream of the constructor, in whose context (a whole device, or the
  /// multiprocessors of a green context) it fits: policy, path, kernels, workspace. A pass on a stream of
  /// another context may take another path, with the same bits. The plan prints itself. `y_by_tma`: y and its
  /// rows start at multiples of 16 bytes and are whole multiples of them.
  ForwardPlan plan(const Matrix<const Element>& x, const WorkspaceOptions& options = {},
                   bool y_by_tma = true) const {
    ForwardShape shape = this->shape(x.rows, options);
    shape.y_by_tma = y_by_tma;
    return plan_forward(select(x, options.mode), shape, limits_);
  }

  /// Bytes of workspace, aligned to 256, that a pass over `x` needs, whatever part of the device its stream
  /// has: for bf16, 1024 x 8192 -> 8192, that is
  /// 0.3 MB for softmax and 34 MB for log-softmax, `{.output = Output::log_softmax}`.
  std::int64_t workspace_bytes(const Matrix<const Element>& x, const WorkspaceOptions& options = {}) const {
    return detail::plan_workspace(select(x, options.mode), shape(x.rows, options)).bytes;
  }
  /// Bytes of workspace, aligned to 256, for any x of `batch` rows or fewer, whatever its alignment and the
  /// output: for bf16, 1024 x 8192 -> 8192, that is 34 MB.
  std::int64_t workspace_bytes(std::int64_t batch, const WorkspaceOptions& options = {}) const {
    ForwardShape shape = this->shape(batch, options);
    shape.output = Output::log_softmax;
    if constexpr (is_packed) {
      return detail::plan_workspace(select(batch, wgmma_, options.mode), shape).bytes;
    } else {
      std::int64_t most = 0;
      const auto consider = [&]<PolicySpec spec>() {
        most = (std::max)(most, detail::plan_workspace(spec, shape).bytes);
      };
      options.mode == Mode::training ? detail::for_each_shipped<precision, parts, true>(consider)
                                     : detail::for_each_shipped<precision, parts, false>(consider);
      return most;
    }
  }

  /// Runs a pass in eval mode: BatchNorm normalizes with running_mean and running_var.
  MASTHEAD_THIS_OBJECT void forward(const Matrix<const Element>& x, const Matrix<Element>& y,
                                    const ForwardOptions& options, cudaStream_t stream) const {
    run<Mode::eval>(x, y, options, stream);
  }
  MASTHEAD_THIS_OBJECT void forward(const Matrix<const Element>& x, const Matrix<Sum>& y,
                                    const ForwardOptions& options, cudaStream_t stream) const
      requires(!std::is_same_v<Element, Sum>) {
    run<Mode::eval>(x, y, options, stream);
  }
  /// Runs a pass in eval mode without options: softmax, in a workspace of the call's own.
  MASTHEAD_THIS_OBJECT void forward(const Matrix<const Element>& x, const Matrix<Element>& y,
                                    cudaStream_t stream) const {
    run<Mode::eval>(x, y, {}, stream);
  }
  MASTHEAD_THIS_OBJECT void forward(const Matrix<const Element>& x, const Matrix<Sum>& y,
                                    cudaStream_t stream) const requires(!std::is_same_v<Element, Sum>) {
    run<Mode::eval>(x, y, {}, stream);
  }

  /// Runs a pass in training mode: BatchNorm normalizes with this batch's statistics and updates
  /// `options.running`; a batch of 1 is refused.
  MASTHEAD_THIS_OBJECT void forward_training(const Matrix<const Element>& x, const Matrix<Element>& y,
                                             const ForwardOptions& options, cudaStream_t stream) const {
    run<Mode::training>(x, y, options, stream);
  }
  MASTHEAD_THIS_OBJECT void forward_training(const Matrix<const Element>& x, const Matrix<Sum>& y,
                                             const ForwardOptions& options, cudaStream_t stream) const
      requires(!std::is_same_v<Element, Sum>) {
    run<Mode::training>(x, y, options, stream);
  }

 private:
  static constexpr MathMode math_mode = math_mode_of(precision);
  static constexpr bool is_packed = detail::is_packed(math_mode);
  /// Whether a wgmma engine multiplies x and the weight where they are.
  static constexpr bool reads_in_place = detail::has_wgmma(precision);
  static constexpr bool has_simt = parts.simt && precision != Precision::fp8;

  ForwardShape shape(std::int64_t batch, const WorkspaceOptions& options) const {
    return {.batch = batch,
            .in_features = parameters_.in_features(),
            .out_features = parameters_.out_features(),
            .mode = options.mode,
            .output = options.output,
            .y = options.y.value_or(operand_dtype(precision))};
  }

  PolicySpec select(std::int64_t batch, bool on_wgmma, Mode mode) const {
    return select_policy(precision, limits_.architecture, batch, parameters_.in_features(),
                         parameters_.out_features(), on_wgmma, mode == Mode::training);
  }
  PolicySpec select(const Matrix<const Element>& x, Mode mode) const {
    if constexpr (reads_in_place && has_simt) return select(x.rows, wgmma_ && detail::is_tensor_map(x), mode);
    return select(x.rows, wgmma_, mode);
  }

  /// Checks everything that does not depend on the policy, then runs the pass with the one selected for x.
  template <Mode mode, class U>
  MASTHEAD_THIS_OBJECT void run(const Matrix<const Element>& x, const Matrix<U>& y,
                                const ForwardOptions& options, cudaStream_t stream) const {
    const detail::Device device = detail::Device::current(stream);
    detail::ForwardRequest<Element, U> request{.arguments = {x, parameters_, y, options.output},
                                               .running = options.running,
                                               .device = device,
                                               .stream = stream,
                                               .checked_parameters = device.ordinal == ordinal_};
    if constexpr (is_packed) request.packed_weight = packed_.view();
    detail::check_request(request, mode);
    if constexpr (!parts.log_softmax) {
      if (options.output != Output::softmax) {
        throw Error("output", std::string(name(options.output)),
                    "must be softmax for a Head without HeadParts::log_softmax");
      }
    }
    const PolicySpec selected = select(x, mode);
    const std::int64_t needed = detail::plan_workspace(selected, request.shape(mode)).bytes;
    if (options.workspace) {
      detail::refuse_if(detail::check_workspace(*options.workspace, needed));
      return detail::run_selected<precision, parts, mode>(selected, request, *options.workspace);
    }
    const detail::StreamBuffer buffer(needed, stream);
    detail::run_selected<precision, parts, mode>(selected, request, buffer.workspace());
  }

  Parameters<Element> parameters_;
  DeviceLimits limits_;
  int ordinal_;
  bool wgmma_ = false;  // whether the weight and the code allow it
  PackedWeight packed_;
};

}  // namespace masthead::inline v0::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

#pragma once
/// masthead::Head behind AnyHead.
///
/// The passes are defined in typed_head_eval.cuh and typed_head_training.cuh: where the kernels of both take
/// long to compile, each gets a source of its own.

#include <memory>

#include "masthead/head.cuh"
#include "softmax_of_sums.cuh"
#include "typed.cuh"

namespace masthead_pytorch {

/// Whether a head may multiply a packed copy of the weight. The others read it in place.
template <mh::Precision precision>
inline constexpr bool packs = mh::detail::is_packed(mh::math_mode_of(precision));

/// What the operators need of a head: all but fp64 and fp32 they leave to the tensor cores of sm_90 or to
/// PyTorch (`is_for_library`), and rows that TMA cannot read they copy.
template <mh::Precision precision>
inline constexpr mh::HeadParts head_parts{
    .simt = precision == mh::Precision::fp64 || precision == mh::Precision::fp32, .log_softmax = false};

template <mh::Precision precision, class U = typename mh::Head<precision>::Element>
class TypedHead final : public AnyHead {
  using Head = mh::Head<precision, head_parts<precision>>;
  using T = typename Head::Element;

 public:
  TypedHead(const HeadParameters& p, cudaStream_t stream)
      : head_(mh::Parameters<T>{.weight = typed<const T>(p.weight),
                                .bias = p.bias,
                                .gamma = p.gamma,
                                .beta = p.beta,
                                .running_mean = p.running_mean,
                                .running_var = p.running_var,
                                .scale = p.scale,
                                .epsilon = p.epsilon},
              allowed(stream)) {}

  bool is_packed() const override { return packs<precision>; }
  void update(cudaStream_t stream) override {
    if constexpr (packs<precision>) head_.update(stream);
  }

  std::int64_t workspace_bytes(const InputMatrix& x, mh::Mode mode) const override {
    return head_.workspace_bytes(typed<const T>(x), {.mode = mode, .y = mh::dtype_of<U>});
  }
  void forward(const InputMatrix& x, const OutputMatrix& y, const mh::ForwardOptions& options,
               cudaStream_t stream) const override;
  void forward_training(const InputMatrix& x, const OutputMatrix& y, const mh::ForwardOptions& options,
                        cudaStream_t stream) const override;

 private:
  /// Memory of a packed weight must not belong to a graph.
  static cudaStream_t allowed(cudaStream_t stream) {
    if (packs<precision> && mh::detail::Device::current(stream).capturing) {
      throw mh::Error("stream", "capturing",
                      "run the module once before it is captured: its weight is packed outside of graphs");
    }
    return stream;
  }

  Head head_;
};

}  // namespace masthead_pytorch

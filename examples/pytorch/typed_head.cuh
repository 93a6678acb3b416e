#pragma once
/// masthead::Head behind AnyHead.

#include <memory>
#include <type_traits>

#include "masthead/head.cuh"
#include "typed.cuh"

namespace masthead_pytorch {

/// Whether a head multiplies a prepared copy of the weight: those of float may. The others read it in place.
template <class Head>
concept Prepared = std::is_same_v<typename Head::Element, float> &&
    requires(Head& head, cudaStream_t stream) {
  head.update(stream);
};

template <mh::Precision precision, class U = typename mh::Head<precision>::Element>
class TypedHead final : public AnyHead {
  using Head = mh::Head<precision>;
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

  bool is_prepared() const override { return Prepared<Head>; }
  void update(cudaStream_t stream) override {
    if constexpr (Prepared<Head>) head_.update(stream);
  }

  std::int64_t workspace_bytes(std::int64_t batch, mh::Mode mode) const override {
    return head_.workspace_bytes(batch, mode, mh::dtype_of<U>);
  }
  void forward(const InputMatrix& x, const OutputMatrix& y, const mh::Workspace& workspace,
               cudaStream_t stream) const override {
    head_.forward(typed<const T>(x), typed<U>(y), workspace, stream);
  }
  void forward_training(const InputMatrix& x, const OutputMatrix& y, const mh::RunningStatistics& running,
                        const mh::Workspace& workspace, cudaStream_t stream) const override {
    head_.forward_training(typed<const T>(x), typed<U>(y), running, workspace, stream);
  }

 private:
  /// Memory of a prepared weight must not belong to a graph.
  static cudaStream_t allowed(cudaStream_t stream) {
    if (Prepared<Head> && mh::Device::current(stream).capturing) {
      throw mh::Error("stream", "capturing",
                      "run the module once before it is captured: its weight is prepared outside of graphs");
    }
    return stream;
  }

  Head head_;
};

}  // namespace masthead_pytorch

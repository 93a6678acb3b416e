#pragma once
/// What the binding sees of the library: heads and softmax with element types as data.
///
/// The kernels are compiled in sources of their own, one per dtype, which include no PyTorch header; the
/// binding includes no kernel. So neither waits for the other's headers, and all sources compile at the same
/// time.

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>

#include "masthead/core/parameters.hpp"
#include "masthead/core/precision.hpp"

namespace masthead_pytorch {

/// masthead::Matrix with the element type as data.
template <class Void>
struct AnyMatrix {
  Void* data;
  masthead::Dtype dtype;
  std::int64_t rows, columns, row_stride;
};
using InputMatrix = AnyMatrix<const void>;
using OutputMatrix = AnyMatrix<void>;

/// masthead::Parameters with the element type of the weight as data.
struct HeadParameters {
  InputMatrix weight;  ///< (out_features, in_features)
  masthead::ConstVector bias, gamma, beta, running_mean, running_var, scale;
  double epsilon;
};

/// A masthead::Head of any precision, for y of one dtype. x has the weight's dtype; y that dtype, or float
/// where that has 16 bits. Everything throws masthead::Error.
class AnyHead {
 public:
  virtual ~AnyHead() = default;

  /// Whether the head holds something made from the weight's values, so that `update` must follow a change of
  /// them.
  virtual bool is_packed() const = 0;
  virtual void update(cudaStream_t stream) = 0;

  virtual std::int64_t workspace_bytes(const InputMatrix& x, masthead::Mode mode) const = 0;
  virtual void forward(const InputMatrix& x, const OutputMatrix& y, const masthead::ForwardOptions& options,
                       cudaStream_t stream) const = 0;
  virtual void forward_training(const InputMatrix& x, const OutputMatrix& y,
                                const masthead::ForwardOptions& options, cudaStream_t stream) const = 0;
};

/// A head on the current device, one function per source; `_f32` for a float y of 16-bit operands.
using MakeHead = std::unique_ptr<AnyHead>(const HeadParameters& parameters, cudaStream_t stream);
MakeHead make_head_fp64, make_head_fp32, make_head_tf32, make_head_fp16_scaled, make_head_bf16,
    make_head_bf16_f32, make_head_fp16, make_head_fp16_f32;

inline std::unique_ptr<AnyHead> make_head(masthead::Precision precision, masthead::Dtype y,
                                          const HeadParameters& parameters, cudaStream_t stream) {
  const bool y_is_float = y == masthead::Dtype::f32;
  switch (precision) {
    case masthead::Precision::fp64:
      return make_head_fp64(parameters, stream);
    case masthead::Precision::tf32:
      return make_head_tf32(parameters, stream);
    case masthead::Precision::fp16_scaled:
      return make_head_fp16_scaled(parameters, stream);
    case masthead::Precision::bf16:
      return y_is_float ? make_head_bf16_f32(parameters, stream) : make_head_bf16(parameters, stream);
    case masthead::Precision::fp16:
      return y_is_float ? make_head_fp16_f32(parameters, stream) : make_head_fp16(parameters, stream);
    default:
      return make_head_fp32(parameters, stream);
  }
}

/// masthead::scale_softmax, one function for each dtype of x, one per source; `_f32` for a float y of 16-bit
/// x.
using ScaleSoftmax = void(const InputMatrix& x, const masthead::ConstVector& scale, const OutputMatrix& y,
                          cudaStream_t stream);
ScaleSoftmax scale_softmax_f64, scale_softmax_f32, scale_softmax_bf16, scale_softmax_bf16_f32,
    scale_softmax_f16, scale_softmax_f16_f32;

inline void scale_softmax(const InputMatrix& x, const masthead::ConstVector& scale, const OutputMatrix& y,
                          cudaStream_t stream) {
  const bool y_is_float = y.dtype == masthead::Dtype::f32;
  switch (x.dtype) {
    case masthead::Dtype::f64:
      return scale_softmax_f64(x, scale, y, stream);
    case masthead::Dtype::f32:
      return scale_softmax_f32(x, scale, y, stream);
    case masthead::Dtype::bf16:
      return y_is_float ? scale_softmax_bf16_f32(x, scale, y, stream)
                        : scale_softmax_bf16(x, scale, y, stream);
    case masthead::Dtype::f16:
      return y_is_float ? scale_softmax_f16_f32(x, scale, y, stream) : scale_softmax_f16(x, scale, y, stream);
    case masthead::Dtype::e4m3:
      throw masthead::Error("x.dtype", "e4m3", "must be f64, f32, bf16 or f16");
  }
}

}  // namespace masthead_pytorch

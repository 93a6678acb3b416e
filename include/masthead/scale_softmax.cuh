#pragma once
/// The second half of the head alone: y = softmax(scale * x, dim=1).

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>
#include <type_traits>

#include "masthead/launch/device.cuh"
#include "masthead/launch/softmax.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Checks the arguments of a call; returns what its kernels read. Throws Error.
template <class In, class Out>
SoftmaxParams<In, Out> scale_softmax_params(const Matrix<const In>& x, const ConstVector& scale,
                                            const Matrix<Out>& y, const Device& device) {
  refuse_if(check_scale_softmax(x, scale, y));
  refuse_if(check_device_pointer("x", x.data, device));
  refuse_if(check_device_pointer("scale", scale.data, device));
  refuse_if(check_device_pointer("y", y.data, device));
  return {.x = x,
          .y = y,
          .multiplier = scale,
          .addend = {},
          .unit = static_cast<Accumulator<In>>(log2e),
          .segment = 0};
}

/// A policy of the softmax kernels.
template <class P>
concept IsSoftmaxPolicy = std::is_same_v<std::remove_cv_t<decltype(P::spec)>, SoftmaxSpec>;

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES

namespace masthead::inline v0::inline MASTHEAD_ARCHITECTURES {

// A read-only x and a mutable one have an overload each, so that a call finds its own whether the compiler
// deduces the elements or the caller names them.

/// Writes y = softmax(scale * x, dim=1) or, as `output` says, its natural logarithm.
///
/// x is (rows, columns) of double, float, __half or __nv_bfloat16, and is computed in float (double in
/// double). y has the shape of x and any of these dtypes that is not wider than the computation; it may be x
/// itself. scale is (1) or (columns) of any dtype and is read on the device; absent, it means 1. Rows have
/// any length: on sm_90 they are read once up to 131072 columns (65536 of double), elsewhere up to an eighth
/// of that, and twice beyond. scale * x may be of any magnitude that is finite in the computation's type, as
/// must be the scale. Where a row's largest is beyond 3.7e8 (double: 1.9e17), and with a scale per column
/// everywhere, products are rounded as torch rounds them before differences are formed; such rows are read
/// twice more. Probabilities below 2^-126 may come out as 0.
///
/// More rows than a launch has blocks for take several launches. The call is queued on `stream`; it does not
/// synchronize or allocate, and can be captured in a graph. It is deterministic, and a row's bits do not
/// depend on the other rows. NaN, +inf and rows of -inf give what torch.softmax gives. Throws Error, with y
/// untouched, for bad arguments and for a launch that is refused.
template <class T, class Out>
void scale_softmax(const Matrix<const T>& x, const ConstVector& scale, const Matrix<Out>& y, Output output,
                   cudaStream_t stream) {
  using In = std::remove_const_t<T>;
  const detail::Device device = detail::Device::current(stream);
  detail::launch_selected_softmax(detail::scale_softmax_params<In, Out>(x, scale, y, device), output,
                                  device.row_architecture(), stream);
}
template <detail::Mutable T, class Out>
void scale_softmax(const Matrix<T>& x, const ConstVector& scale, const Matrix<Out>& y, Output output,
                   cudaStream_t stream) {
  scale_softmax(Matrix<const T>(x), scale, y, output, stream);
}

/// Writes y = softmax(scale * x, dim=1): scale_softmax with Output::softmax, of the same arguments otherwise.
template <class T, class Out>
void scale_softmax(const Matrix<const T>& x, const ConstVector& scale, const Matrix<Out>& y,
                   cudaStream_t stream) {
  scale_softmax(x, scale, y, Output::softmax, stream);
}
template <detail::Mutable T, class Out>
void scale_softmax(const Matrix<T>& x, const ConstVector& scale, const Matrix<Out>& y, cudaStream_t stream) {
  scale_softmax(Matrix<const T>(x), scale, y, Output::softmax, stream);
}

/// Writes softmax or log-softmax of scale * x with an `output` that is fixed when the code is compiled, which
/// leaves half the kernels to compile. Arguments, stream and errors are those of scale_softmax with an
/// `output` parameter.
template <Output output, class T, class Out>
void scale_softmax(const Matrix<const T>& x, const ConstVector& scale, const Matrix<Out>& y,
                   cudaStream_t stream) {
  using In = std::remove_const_t<T>;
  const detail::Device device = detail::Device::current(stream);
  detail::launch_selected_softmax(detail::scale_softmax_params<In, Out>(x, scale, y, device),
                                  detail::OutputConstant<output>(), device.row_architecture(), stream);
}
template <Output output, detail::Mutable T, class Out>
void scale_softmax(const Matrix<T>& x, const ConstVector& scale, const Matrix<Out>& y, cudaStream_t stream) {
  scale_softmax<output>(Matrix<const T>(x), scale, y, stream);
}

/// Writes softmax or log-softmax of scale * x with an explicit SoftmaxPolicy in place of the one that the
/// length of the row selects. Arguments, stream and errors are those of scale_softmax without a policy.
template <detail::IsSoftmaxPolicy Policy, class T, class Out>
void scale_softmax(const Matrix<const T>& x, const ConstVector& scale, const Matrix<Out>& y, Output output,
                   cudaStream_t stream) {
  using In = std::remove_const_t<T>;
  const detail::Device device = detail::Device::current(stream);
  const auto p = detail::scale_softmax_params<In, Out>(x, scale, y, device);
  detail::with_column_access(p, [&]<detail::ColumnAccess access>() {
    detail::launch_softmax<Policy, detail::SoftmaxKernels::both, access>(p, output, device.row_architecture(),
                                                                         stream);
  });
}
template <detail::IsSoftmaxPolicy Policy, detail::Mutable T, class Out>
void scale_softmax(const Matrix<T>& x, const ConstVector& scale, const Matrix<Out>& y, Output output,
                   cudaStream_t stream) {
  scale_softmax<Policy>(Matrix<const T>(x), scale, y, output, stream);
}

}  // namespace masthead::inline v0::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

#pragma once
/// Reading per-feature parameters on the device.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/core/dtype.cuh"
#include "masthead/core/parameters.hpp"
#include "masthead/numeric/affine.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::inline MASTHEAD_ARCHITECTURES {

/// Element `index` of a vector of any dtype as a float or double, or `absent` where there is no vector. A
/// vector of one element serves every index.
template <class T>
__device__ T load_feature(const ConstVector& vector, std::int64_t index, T absent) {
  if (vector.data == nullptr) return absent;
  const std::int64_t i = vector.size == 1 ? 0 : index;
  switch (vector.dtype) {
    case Dtype::f64:
      return static_cast<T>(static_cast<const double*>(vector.data)[i]);
    case Dtype::f32:
      return static_cast<const float*>(vector.data)[i];
    case Dtype::f16:
      return widen(static_cast<const __half*>(vector.data)[i]);
    default:
      return widen(static_cast<const __nv_bfloat16*>(vector.data)[i]);
  }
}

}  // namespace masthead::inline v0::inline MASTHEAD_ARCHITECTURES

namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// An element in flight, of a vector of any dtype: the loads of several are in flight at once, where
/// `load_feature` waits for each to convert it.
struct PendingElement {
  unsigned half = 0, low = 0, high = 0;  // what of the element's 2, 4 or 8 bytes there is
  Dtype dtype = Dtype::f32;
  bool present = false;

  // No branch with a use of what is loaded: the compiler predicates the loads and waits after the last.
  __device__ static PendingElement load(const ConstVector& vector, std::int64_t index) {
    PendingElement e;
    e.dtype = vector.dtype;
    e.present = vector.data != nullptr;
    const int bytes = vector.dtype == Dtype::f64 ? 8 : vector.dtype == Dtype::f32 ? 4 : 2;
    const char* at = static_cast<const char*>(vector.data) + (vector.size == 1 ? 0 : index * bytes);
    if (e.present && bytes == 2) e.half = *reinterpret_cast<const unsigned short*>(at);
    if (e.present && bytes >= 4) e.low = *reinterpret_cast<const unsigned*>(at);
    if (e.present && bytes == 8) e.high = *reinterpret_cast<const unsigned*>(at + 4);
    return e;
  }

  __device__ double value(double absent) const {
    const float of_f16 = widen(__ushort_as_half(static_cast<unsigned short>(half)));
    const float of_bf16 = __uint_as_float(half << 16);
    const float narrow = dtype == Dtype::f32 ? __uint_as_float(low) : dtype == Dtype::f16 ? of_f16 : of_bf16;
    const double wide = __hiloint2double(static_cast<int>(high), static_cast<int>(low));
    return !present ? absent : dtype == Dtype::f64 ? wide : static_cast<double>(narrow);
  }
};

/// The parameters of a feature in flight, for eval mode.
struct PendingFeature {
  PendingElement bias, gamma, beta, mean, variance, scale;

  template <class T>
  __device__ static PendingFeature load(const Parameters<T>& parameters, std::int64_t index) {
    return {PendingElement::load(parameters.bias, index),
            PendingElement::load(parameters.gamma, index),
            PendingElement::load(parameters.beta, index),
            PendingElement::load(parameters.running_mean, index),
            PendingElement::load(parameters.running_var, index),
            PendingElement::load(parameters.scale, index)};
  }
  __device__ Feature value() const {
    return {.bias = bias.value(0.0),
            .gamma = gamma.value(1.0),
            .beta = beta.value(0.0),
            .mean = mean.value(0.0),
            .variance = variance.value(1.0),
            .scale = scale.value(1.0)};
  }
};

/// Rounds `value` to the vector's dtype and stores it.
__device__ inline void store_feature(const MutableVector& vector, std::int64_t index, double value) {
  switch (vector.dtype) {
    case Dtype::f64:
      static_cast<double*>(vector.data)[index] = value;
      break;
    case Dtype::f32:
      static_cast<float*>(vector.data)[index] = static_cast<float>(value);
      break;
    case Dtype::f16:
      static_cast<__half*>(vector.data)[index] = narrow<__half>(value);
      break;
    default:
      static_cast<__nv_bfloat16*>(vector.data)[index] = narrow<__nv_bfloat16>(value);
      break;
  }
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES

namespace masthead::inline v0::inline MASTHEAD_ARCHITECTURES {

/// The parameters of feature `index`, for eval mode.
template <class T>
__device__ Feature load_feature(const Parameters<T>& parameters, std::int64_t index) {
  return {.bias = load_feature(parameters.bias, index, 0.0),
          .gamma = load_feature(parameters.gamma, index, 1.0),
          .beta = load_feature(parameters.beta, index, 0.0),
          .mean = load_feature(parameters.running_mean, index, 0.0),
          .variance = load_feature(parameters.running_var, index, 1.0),
          .scale = load_feature(parameters.scale, index, 1.0)};
}

}  // namespace masthead::inline v0::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

#pragma once
/// Reading per-feature parameters on the device.

#include <cstdint>

#include "masthead/dtype.cuh"
#include "masthead/numeric/affine.hpp"
#include "masthead/parameters.hpp"

namespace masthead::inline v0 {

/// Element `index` of a vector of any dtype as a float or double, or `absent`. One element serves every
/// index.
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

}  // namespace masthead::inline v0

#pragma once
/// Reading and writing per-feature vectors on the host, whatever their dtype.

#include <cstdint>

#include "masthead/core/parameters.hpp"
#include "masthead/numeric/affine.hpp"
#include "masthead/numeric/rounding.hpp"

namespace masthead::inline v0::cpu {

/// Element `index` of a vector of any dtype, or `absent` where there is no vector. A vector of one element
/// serves every index.
inline double load_feature(const ConstVector& vector, std::int64_t index, double absent) {
  if (vector.data == nullptr) return absent;
  const std::int64_t i = vector.size == 1 ? 0 : index;
  switch (vector.dtype) {
    case Dtype::f64:
      return static_cast<const double*>(vector.data)[i];
    case Dtype::f32:
      return static_cast<double>(static_cast<const float*>(vector.data)[i]);
    case Dtype::f16:
      return static_cast<double>(widen(static_cast<const Half*>(vector.data)[i]));
    default:
      return static_cast<double>(widen(static_cast<const BFloat16*>(vector.data)[i]));
  }
}

/// Rounds `value` to the vector's dtype and stores it.
inline void store_feature(const MutableVector& vector, std::int64_t index, double value) {
  switch (vector.dtype) {
    case Dtype::f64:
      static_cast<double*>(vector.data)[index] = value;
      break;
    case Dtype::f32:
      static_cast<float*>(vector.data)[index] = static_cast<float>(value);
      break;
    case Dtype::f16:
      static_cast<Half*>(vector.data)[index] = round_to<Half>(value);
      break;
    default:
      static_cast<BFloat16*>(vector.data)[index] = round_to<BFloat16>(value);
      break;
  }
}

/// The parameters of feature `index`, for eval mode.
// Calls are qualified: views are of namespace masthead, where argument-dependent lookup would also find the
// device functions of these names.
template <class T>
Feature load_feature(const Parameters<T>& parameters, std::int64_t index) {
  return {.bias = cpu::load_feature(parameters.bias, index, 0),
          .gamma = cpu::load_feature(parameters.gamma, index, 1),
          .beta = cpu::load_feature(parameters.beta, index, 0),
          .mean = cpu::load_feature(parameters.running_mean, index, 0),
          .variance = cpu::load_feature(parameters.running_var, index, 1),
          .scale = cpu::load_feature(parameters.scale, index, 1)};
}

}  // namespace masthead::inline v0::cpu

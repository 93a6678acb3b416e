#pragma once
/// Powers of two of real numbers, on the host and the device.

#include <cmath>

#include "masthead/core/config.hpp"

#if defined(__CUDACC__)
#include "masthead/ptx/exp2.cuh"
#endif

namespace masthead::inline v0::detail {

/// 2^value: ptx::exp2 in float device code (relative error 2^-22, no subnormal results), `exp2` of the
/// standard library elsewhere.
template <class T>
MASTHEAD_HOST_DEVICE T exp2_of(T value) {
#if defined(__CUDA_ARCH__)
  return ptx::exp2(value);
#else
  return std::exp2(value);
#endif
}

/// 2^value, results below 2^-126 flushed to 0.
MASTHEAD_HOST_DEVICE float exp2_flushed(float value) {
#if defined(__CUDA_ARCH__)
  return ptx::exp2(value);
#else
  const float result = std::exp2(value);
  return result < 0x1p-126f ? 0.0f : result;
#endif
}

}  // namespace masthead::inline v0::detail

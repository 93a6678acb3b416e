#pragma once
/// CUDA's 16-bit types beside dtype.hpp's: traits and conversions that work under PyTorch's `__CUDA_NO_*`
/// macros.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include "masthead/core/dtype.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail {

template <>
struct DtypeOf<__half> : std::integral_constant<Dtype, Dtype::f16> {};
template <>
struct DtypeOf<__nv_bfloat16> : std::integral_constant<Dtype, Dtype::bf16> {};
template <>
struct DtypeOf<__nv_fp8_e4m3> : std::integral_constant<Dtype, Dtype::e4m3> {};

}  // namespace masthead::inline v0::detail

namespace masthead::inline v0 {

/// The element type that kernels use for a dtype.
template <Dtype dtype>
using DeviceElement = std::conditional_t<
    dtype == Dtype::f64, double,
    std::conditional_t<
        dtype == Dtype::f32, float,
        std::conditional_t<dtype == Dtype::f16, __half,
                           std::conditional_t<dtype == Dtype::bf16, __nv_bfloat16, __nv_fp8_e4m3>>>>;

/// An element as its accumulator type, exactly.
// Spelled with intrinsics: static_cast<float>(__half) does not compile under __CUDA_NO_HALF_CONVERSIONS__.
MASTHEAD_HOST_DEVICE float widen(__half value) { return __half2float(value); }
MASTHEAD_HOST_DEVICE float widen(__nv_bfloat16 value) { return __bfloat162float(value); }

/// `value` rounded to the nearest `To`, ties to even.
template <class To, class From>
MASTHEAD_HOST_DEVICE To narrow(From value) {
  if constexpr (dtype_of<To> == Dtype::f16) {
    return __float2half_rn(static_cast<float>(value));
  } else if constexpr (dtype_of<To> == Dtype::bf16) {
    return __float2bfloat16_rn(static_cast<float>(value));
  } else {
    return static_cast<To>(value);
  }
}

}  // namespace masthead::inline v0
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

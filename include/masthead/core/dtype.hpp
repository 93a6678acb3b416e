#pragma once
/// Element types as data (`Dtype`), and 16-bit storage types for plain C++.

#include <cstdint>
#include <ostream>
#include <string_view>
#include <type_traits>

#include "masthead/core/config.hpp"

namespace masthead::inline v0 {

/// Storage type of a tensor's elements. e4m3 is for matrices only: operands of precision fp8.
enum class Dtype : std::uint8_t { f64, f32, f16, bf16, e4m3 };

/// IEEE binary16 and bfloat16 as bits, for code that is compiled without the CUDA toolkit. Layout-compatible
/// with `__half` and `__nv_bfloat16`; conversions are in numeric/rounding.hpp.
struct Half {
  std::uint16_t bits;
  friend constexpr bool operator==(Half, Half) = default;  // compares bits: -0 != +0, NaN == the same NaN
};
struct BFloat16 {
  std::uint16_t bits;
  friend constexpr bool operator==(BFloat16, BFloat16) = default;
};
/// OCP 8-bit float: 4 exponent bits, 3 fraction bits, no infinities, largest finite value 448.
/// Layout-compatible with `__nv_fp8_e4m3`.
struct E4M3 {
  std::uint8_t bits;
  friend constexpr bool operator==(E4M3, E4M3) = default;
};

/// Bytes of an element.
constexpr std::int64_t size_of(Dtype dtype) {
  return dtype == Dtype::f64 ? 8 : dtype == Dtype::f32 ? 4 : dtype == Dtype::e4m3 ? 1 : 2;
}

constexpr std::string_view name(Dtype dtype) {
  constexpr std::string_view names[] = {"f64", "f32", "f16", "bf16", "e4m3"};
  return names[static_cast<int>(dtype)];
}

inline std::ostream& operator<<(std::ostream& out, Dtype dtype) { return out << name(dtype); }

/// The dtype of sums: double for double operands, float for all others.
constexpr Dtype accumulator_dtype(Dtype dtype) { return dtype == Dtype::f64 ? Dtype::f64 : Dtype::f32; }

namespace detail {

/// The table behind `dtype_of`: its `value` is the `Dtype` of an element type.
template <class T>
struct DtypeOf {};
template <>
struct DtypeOf<double> : std::integral_constant<Dtype, Dtype::f64> {};
template <>
struct DtypeOf<float> : std::integral_constant<Dtype, Dtype::f32> {};
template <>
struct DtypeOf<Half> : std::integral_constant<Dtype, Dtype::f16> {};
template <>
struct DtypeOf<BFloat16> : std::integral_constant<Dtype, Dtype::bf16> {};
template <>
struct DtypeOf<E4M3> : std::integral_constant<Dtype, Dtype::e4m3> {};

}  // namespace detail

/// The `Dtype` of an element type; dtype.cuh adds CUDA's own 16-bit types and e4m3.
template <class T>
inline constexpr Dtype dtype_of = detail::DtypeOf<std::remove_cv_t<T>>::value;

/// The types that have a `Dtype`.
template <class T>
concept Element = requires {
  detail::DtypeOf<std::remove_cv_t<T>>::value;
};

/// float or double: what elements of `T` are summed in.
template <class T>
using Accumulator = std::conditional_t<dtype_of<T> == Dtype::f64, double, float>;

/// An element as its accumulator type, exactly. numeric/rounding.hpp has the overloads for `Half`, `BFloat16`
/// and `E4M3`, dtype.cuh those for CUDA's types.
MASTHEAD_HOST_DEVICE constexpr double widen(double value) { return value; }
MASTHEAD_HOST_DEVICE constexpr float widen(float value) { return value; }

/// The plain C++ storage type of a dtype. dtype.cuh has `DeviceElement`, which uses CUDA's own 16-bit types.
template <Dtype dtype>
using HostElement = std::conditional_t<
    dtype == Dtype::f64, double,
    std::conditional_t<dtype == Dtype::f32, float,
                       std::conditional_t<dtype == Dtype::f16, Half,
                                          std::conditional_t<dtype == Dtype::bf16, BFloat16, E4M3>>>>;

}  // namespace masthead::inline v0

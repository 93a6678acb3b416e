#pragma once
/// Element types as data (`Dtype`), the precisions a head can run in, and 16-bit storage types for plain C++.

#include <cstdint>
#include <ostream>
#include <string_view>
#include <type_traits>

#include "masthead/config.hpp"

namespace masthead::inline v0 {

/// Storage type of a tensor's elements.
/// e4m3 is for matrices only: the operands of an fp8 product.
enum class Dtype : std::uint8_t { f64, f32, f16, bf16, e4m3 };

/// How a head computes: the operands' dtype and what happens between operand and accumulator.
enum class Precision : std::uint8_t {
  fp64,       ///< double operands, double accumulation
  fp32_ieee,  ///< float operands, fp32 FMA accumulation in ascending k
  fp32,  ///< float operands as three products of fp16 parts in fp32 sums: at least SGEMM's accuracy, on the
         ///< tensor cores of sm_90; `fp32_ieee` elsewhere
  tf32,  ///< float operands rounded to the nearest tf32 (11 significant bits), fp32 accumulation on the
         ///< tensor cores of sm_90; `fp32_ieee` elsewhere
  fp16_scaled,  ///< float operands scaled by a power of two a row and rounded to fp16: the significant bits
                ///< of tf32 at twice its rate on the tensor cores of sm_90; `fp32_ieee` elsewhere
  bf16,         ///< bfloat16 operands, fp32 accumulation
  fp16,         ///< IEEE half operands, fp32 accumulation
  fp8,          ///< bfloat16 operands quantised to e4m3 with a power of two a row, fp32 sums; sm_90 only
};

/// What happens to a pair of operands between memory and the sum.
enum class Product : std::uint8_t {
  plain,  ///< they are multiplied as they are
  tf32,   ///< each is rounded to the nearest tf32 on its way to shared memory
  f16,    ///< each is scaled by a power of two a row and rounded to fp16
  f16x3,  ///< each is scaled by a power of two a row and split into two fp16 parts: hi hi + hi lo + lo hi
  e4m3,   ///< each is scaled by a power of two a row and rounded to e4m3
};

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

constexpr std::int64_t size_of(Dtype dtype) {
  return dtype == Dtype::f64 ? 8 : dtype == Dtype::f32 ? 4 : dtype == Dtype::e4m3 ? 1 : 2;
}

constexpr std::string_view name(Dtype dtype) {
  constexpr std::string_view names[] = {"f64", "f32", "f16", "bf16", "e4m3"};
  return names[static_cast<int>(dtype)];
}

constexpr std::string_view name(Precision precision) {
  constexpr std::string_view names[] = {"fp64",        "fp32_ieee", "fp32", "tf32",
                                        "fp16_scaled", "bf16",      "fp16", "fp8"};
  return names[static_cast<int>(precision)];
}

constexpr std::string_view name(Product product) {
  constexpr std::string_view names[] = {"plain", "tf32", "f16", "f16x3", "e4m3"};
  return names[static_cast<int>(product)];
}

inline std::ostream& operator<<(std::ostream& out, Dtype dtype) { return out << name(dtype); }
inline std::ostream& operator<<(std::ostream& out, Precision precision) { return out << name(precision); }

/// The dtype of x and of the weight in `precision`.
constexpr Dtype operand_dtype(Precision precision) {
  switch (precision) {
    case Precision::fp64:
      return Dtype::f64;
    case Precision::bf16:
    case Precision::fp8:
      return Dtype::bf16;
    case Precision::fp16:
      return Dtype::f16;
    default:
      return Dtype::f32;
  }
}

/// How the fastest engine of a precision multiplies.
constexpr Product product_of(Precision precision) {
  return precision == Precision::fp32          ? Product::f16x3
         : precision == Precision::tf32        ? Product::tf32
         : precision == Precision::fp16_scaled ? Product::f16
         : precision == Precision::fp8         ? Product::e4m3
                                               : Product::plain;
}

/// Whether a product works on operands in a form of their own: the weight is brought into it once, x by every
/// call.
MASTHEAD_HOST_DEVICE constexpr bool is_prepared(Product product) {
  return product == Product::f16 || product == Product::f16x3 || product == Product::e4m3;
}

/// Whether the tensor core's sums are promoted: taken over chunks of k, which ordinary additions sum.
MASTHEAD_HOST_DEVICE constexpr bool is_promoted(Product product) {
  return product == Product::f16x3 || product == Product::e4m3;
}

/// Whether prepared operands are fp16 numbers, which have the range of any float's row in a PowerPair
/// (numeric/split.hpp); e4m3 has a float.
MASTHEAD_HOST_DEVICE constexpr bool has_f16_parts(Product product) {
  return product == Product::f16 || product == Product::f16x3;
}

/// Matrices a prepared operand consists of, and bytes of an element of each.
MASTHEAD_HOST_DEVICE constexpr int parts_of(Product product) { return product == Product::f16x3 ? 2 : 1; }
MASTHEAD_HOST_DEVICE constexpr int part_element_bytes(Product product) {
  return has_f16_parts(product) ? 2 : 1;
}

/// The dtype sums are kept in: double for double operands, float for all others.
constexpr Dtype accumulator_dtype(Dtype dtype) { return dtype == Dtype::f64 ? Dtype::f64 : Dtype::f32; }

/// `dtype_of<T>` maps an element type to its `Dtype`; dtype.cuh adds `__half` and `__nv_bfloat16`.
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

template <class T>
inline constexpr Dtype dtype_of = DtypeOf<std::remove_cv_t<T>>::value;

template <class T>
concept Element = requires {
  DtypeOf<std::remove_cv_t<T>>::value;
};

/// float or double: what elements of `T` are summed in.
template <class T>
using Accumulator = std::conditional_t<dtype_of<T> == Dtype::f64, double, float>;

/// The plain C++ storage type of a dtype. dtype.cuh has `DeviceElement`, which uses CUDA's own 16-bit types.
template <Dtype dtype>
using HostElement = std::conditional_t<
    dtype == Dtype::f64, double,
    std::conditional_t<dtype == Dtype::f32, float,
                       std::conditional_t<dtype == Dtype::f16, Half,
                                          std::conditional_t<dtype == Dtype::bf16, BFloat16, E4M3>>>>;

}  // namespace masthead::inline v0

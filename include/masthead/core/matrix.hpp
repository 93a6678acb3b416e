#pragma once
/// Views of row-major matrices and of per-feature vectors; they own nothing.
///
/// All sizes and strides count elements in `std::int64_t`; a matrix is row-major with unit column stride.

#include <cstdint>
#include <type_traits>
#include <utility>

#include "masthead/core/dtype.hpp"
#include "masthead/core/error.hpp"

namespace masthead::inline v0 {

namespace detail {

/// Any mdspan (std::, cuda::std::, Kokkos::) of the given rank.
template <class M, int rank_>
concept MdspanLike = requires(const M& m) {
  m.data_handle();
  m.extent(0);
  m.stride(0);
}
&&M::rank() == rank_;

/// The type of a size in braces: std::size_t, say, which braces do not narrow to std::int64_t.
template <class I>
concept Size = std::is_integral_v<I>;

/// The elements of a view that may be written.
template <class T>
concept Mutable = !std::is_const_v<T>;

}  // namespace detail

/// Row-major view of a matrix: element (r, c) is data[r * row_stride + c], with row_stride >= columns.
template <Element T>
struct Matrix {
  T* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t row_stride = 0;

  constexpr Matrix() = default;
  MASTHEAD_HOST_DEVICE constexpr Matrix(T* data_, std::int64_t rows_, std::int64_t columns_)
      : Matrix(data_, rows_, columns_, columns_) {}
  MASTHEAD_HOST_DEVICE constexpr Matrix(T* data_, std::int64_t rows_, std::int64_t columns_,
                                        std::int64_t row_stride_)
      : data(data_), rows(rows_), columns(columns_), row_stride(row_stride_) {}
  /// Sizes may have any integer type, in braces too.
  template <detail::Size Rows, detail::Size Columns>
  MASTHEAD_HOST_DEVICE constexpr Matrix(T* data_, Rows rows_, Columns columns_)
      : Matrix(data_, static_cast<std::int64_t>(rows_), static_cast<std::int64_t>(columns_)) {}
  template <detail::Size Rows, detail::Size Columns, detail::Size Stride>
  MASTHEAD_HOST_DEVICE constexpr Matrix(T* data_, Rows rows_, Columns columns_, Stride row_stride_)
      : Matrix(data_, static_cast<std::int64_t>(rows_), static_cast<std::int64_t>(columns_),
               static_cast<std::int64_t>(row_stride_)) {}

  /// A mutable view serves wherever a read-only one is asked for.
  template <class U>
  requires std::is_same_v<const U, T> MASTHEAD_HOST_DEVICE constexpr Matrix(const Matrix<U>& other)
      : Matrix(other.data, other.rows, other.columns, other.row_stride) {}

  /// A view of any rank-2 mdspan over the same elements. Throws Error unless its column stride is 1.
  template <detail::MdspanLike<2> M>
  requires std::is_convertible_v<decltype(std::declval<const M&>().data_handle()), T*>
  constexpr Matrix(const M& m)
      : Matrix(m.data_handle(), static_cast<std::int64_t>(m.extent(0)),
               static_cast<std::int64_t>(m.extent(1)), static_cast<std::int64_t>(m.stride(0))) {
    if (columns > 1 && m.stride(1) != 1) {
      throw Error("mdspan.stride(1)", static_cast<std::int64_t>(m.stride(1)),
                  "the last dimension must be contiguous (stride 1)");
    }
  }
};
template <class T>
Matrix(T*, std::int64_t, std::int64_t) -> Matrix<T>;
template <class T>
Matrix(T*, std::int64_t, std::int64_t, std::int64_t) -> Matrix<T>;
template <detail::MdspanLike<2> M>
Matrix(const M&) -> Matrix<typename M::element_type>;

namespace detail {

/// What ConstVector (`Void` = const void) and MutableVector (void) have in common.
template <class Void>
struct BasicVector {
  template <class T>
  using Qualified = std::conditional_t<std::is_const_v<Void>, const T, T>;

  Void* data = nullptr;
  Dtype dtype = Dtype::f32;
  std::int64_t size = 0;

  constexpr BasicVector() = default;
  MASTHEAD_HOST_DEVICE constexpr BasicVector(Void* data_, Dtype dtype_, std::int64_t size_)
      : data(data_), dtype(dtype_), size(size_) {}

  template <Size S>
  MASTHEAD_HOST_DEVICE constexpr BasicVector(Void* data_, Dtype dtype_, S size_)
      : BasicVector(data_, dtype_, static_cast<std::int64_t>(size_)) {}

  template <Element T>
  requires std::is_convertible_v<T*, Void*>
  constexpr BasicVector(T* data_, std::int64_t size_) : BasicVector(data_, dtype_of<T>, size_) {}
  template <Element T, Size S>
  requires std::is_convertible_v<T*, Void*>
  constexpr BasicVector(T* data_, S size_)
      : BasicVector(data_, dtype_of<T>, static_cast<std::int64_t>(size_)) {}

  template <class OtherVoid>
  requires std::is_same_v<const OtherVoid, Void> MASTHEAD_HOST_DEVICE constexpr BasicVector(
      const BasicVector<OtherVoid>& other)
      : BasicVector(other.data, other.dtype, other.size) {}

  /// A view of any rank-1 mdspan. Throws Error unless its stride is 1.
  template <MdspanLike<1> M>
  requires Element<typename M::element_type> && std::is_convertible_v<typename M::element_type*, Void*>
  constexpr BasicVector(const M& m) : BasicVector(m.data_handle(), static_cast<std::int64_t>(m.extent(0))) {
    if (size > 1 && m.stride(0) != 1) {
      throw Error("mdspan.stride(0)", static_cast<std::int64_t>(m.stride(0)),
                  "must be contiguous (stride 1)");
    }
  }

  MASTHEAD_HOST_DEVICE constexpr bool present() const { return data != nullptr || size != 0; }
};

}  // namespace detail

/// A view of a contiguous per-feature vector that is read, of any dtype. The dtype is data, not a template
/// parameter: BatchNorm's vectors are often float beside a 16-bit weight, and a branch per feature costs
/// nothing. Default-constructed means absent.
using ConstVector = detail::BasicVector<const void>;
/// A view of a contiguous per-feature vector that is written, of any dtype. It serves as a ConstVector too.
using MutableVector = detail::BasicVector<void>;

}  // namespace masthead::inline v0

#pragma once
/// What the caller hands in: views of matrices and per-feature vectors, the parameters of a head, and their
/// checks.
///
/// Nothing here owns memory, and nothing here needs CUDA: the GPU head and the CPU executor share these
/// types. All sizes and strides count elements in `std::int64_t`; a matrix is row-major with unit column
/// stride.

#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>

#include "masthead/config.hpp"
#include "masthead/dtype.hpp"
#include "masthead/error.hpp"

namespace masthead::inline v0 {

/// What softmax writes. `log_softmax` is the natural logarithm of the probabilities, computed without them.
enum class Output : std::uint8_t { softmax, log_softmax };

/// Which statistics BatchNorm normalises with.
enum class Mode : std::uint8_t {
  eval,      ///< running_mean and running_var of the parameters
  training,  ///< mean and biased variance of this batch
};

constexpr std::string_view name(Output output) {
  return output == Output::softmax ? "softmax" : "log_softmax";
}
constexpr std::string_view name(Mode mode) { return mode == Mode::eval ? "eval" : "training"; }

/// Any mdspan (std::, cuda::std::, Kokkos::) of the given rank.
template <class M, int rank_>
concept MdspanLike = requires(const M& m) {
  m.data_handle();
  m.extent(0);
  m.stride(0);
}
&&M::rank() == rank_;

/// Row-major view: element (r, c) is data[r * row_stride + c], with row_stride >= columns.
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

  /// A mutable view serves wherever a read-only one is asked for.
  template <class U>
  requires std::is_same_v<const U, T> MASTHEAD_HOST_DEVICE constexpr Matrix(const Matrix<U>& other)
      : Matrix(other.data, other.rows, other.columns, other.row_stride) {}

  /// From any rank-2 mdspan over the same elements. Throws Error unless its column stride is 1.
  template <MdspanLike<2> M>
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
template <MdspanLike<2> M>
Matrix(const M&) -> Matrix<typename M::element_type>;

/// A contiguous per-feature vector of any dtype, read-only (`Void` = const void) or mutable (void). The dtype
/// is data, not a template parameter: BatchNorm's vectors are often float beside a 16-bit weight, and a
/// branch per feature costs nothing. Default-constructed means absent.
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

  template <Element T>
  requires std::is_convertible_v<T*, Void*>
  constexpr BasicVector(T* data_, std::int64_t size_) : BasicVector(data_, dtype_of<T>, size_) {}

  template <class OtherVoid>
  requires std::is_same_v<const OtherVoid, Void> MASTHEAD_HOST_DEVICE constexpr BasicVector(
      const BasicVector<OtherVoid>& other)
      : BasicVector(other.data, other.dtype, other.size) {}

  /// From any rank-1 mdspan. Throws Error unless its stride is 1.
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
using ConstVector = BasicVector<const void>;
using MutableVector = BasicVector<void>;

/// The parameters of a head, named as in nn.Linear and nn.BatchNorm1d. `T` is the operands' element type.
template <Element T>
struct Parameters {
  Matrix<const T> weight = {};    ///< (out_features, in_features)
  ConstVector bias = {};          ///< (out_features); absent: 0
  ConstVector gamma = {};         ///< (out_features), BatchNorm's weight; absent: 1
  ConstVector beta = {};          ///< (out_features), BatchNorm's bias; absent: 0
  ConstVector running_mean = {};  ///< (out_features); needed in eval mode
  ConstVector running_var = {};   ///< (out_features); needed in eval mode
  ConstVector scale = {};         ///< (1) or (out_features); absent: 1
  double epsilon = 1e-5;          ///< BatchNorm's eps

  MASTHEAD_HOST_DEVICE constexpr std::int64_t in_features() const { return weight.columns; }
  MASTHEAD_HOST_DEVICE constexpr std::int64_t out_features() const { return weight.rows; }
};

/// What training mode updates: running = (1 - factor) * running + factor * batch, with the unbiased variance.
/// Absent vectors (track_running_stats=False) are left alone. Null `batches_tracked` is not counted.
struct RunningStatistics {
  MutableVector mean = {};                  ///< (out_features)
  MutableVector var = {};                   ///< (out_features)
  std::int64_t* batches_tracked = nullptr;  ///< incremented by one
  std::optional<double> momentum = 0.1;     ///< factor; nullopt: 1 / batches_tracked, a cumulative average
};

/// Memory for one call at a time. Nothing is kept in it between calls.
struct Workspace {
  void* data = nullptr;
  std::int64_t bytes = 0;
};

/// y is stored as the operands are, or as their accumulator is.
template <class U, class T>
concept HeadOutputOf = std::is_same_v<U, T> || std::is_same_v<U, Accumulator<T>>;

/// One forward pass of a head: y = softmax(scale * BatchNorm1d(x weight^T + bias), dim=1).
template <Element T, Element U>
struct HeadArguments {
  Matrix<const T> x = {};  ///< (batch, in_features)
  Parameters<T> parameters = {};
  Matrix<U> y = {};  ///< (batch, out_features); dtype of the operands or of the accumulator
  Output output = Output::softmax;
};

}  // namespace masthead::inline v0

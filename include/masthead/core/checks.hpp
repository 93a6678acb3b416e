#pragma once
/// The checks of what a caller hands in. Each returns the first rule that is broken, with the argument's name
/// and value, or nothing; none touches the memory behind a pointer, so they run without a GPU.

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <sstream>
#include <string>

#include "masthead/core/integer.hpp"
#include "masthead/core/parameters.hpp"

namespace masthead::inline v0::detail {

/// Why a call is refused.
using Reason = std::optional<Error>;

/// Throws the reason, if there is one.
inline void refuse_if(const Reason& reason) {
  if (reason) throw *reason;
}

inline std::string address(const void* pointer) {
  std::ostringstream out;
  out << pointer;
  return out.str();
}

inline std::string shape_text(std::int64_t rows, std::int64_t columns) {
  std::ostringstream out;
  out << '(' << rows << ", " << columns << ')';
  return out.str();
}

inline Reason check_pointer(const std::string& name, const void* data, Dtype dtype) {
  if (data == nullptr) return Error(name + ".data", "null", "must point to the elements");
  if (reinterpret_cast<std::uintptr_t>(data) % static_cast<std::uintptr_t>(size_of(dtype)) != 0) {
    return Error(name + ".data", address(data),
                 "must be aligned to its element size of " + std::to_string(size_of(dtype)) + " bytes");
  }
  return {};
}

/// The first byte past the view's last element.
template <class T>
const char* end_of(const Matrix<T>& m) {
  return reinterpret_cast<const char*>(m.data + (m.rows - 1) * m.row_stride + m.columns);
}

template <class T, class U>
bool overlap(const Matrix<T>& a, const Matrix<U>& b) {
  return reinterpret_cast<const char*>(a.data) < end_of(b) &&
         reinterpret_cast<const char*>(b.data) < end_of(a);
}

/// Checks a matrix: non-null, element-aligned, sizes of at least 1, stride of at least a row, an extent that
/// fits.
template <class T>
Reason check_matrix(const std::string& name, const Matrix<T>& m) {
  if (m.rows < 1) return Error(name + ".rows", m.rows, "must be at least 1");
  if (m.columns < 1) return Error(name + ".columns", m.columns, "must be at least 1");
  if (m.row_stride < m.columns) {
    return Error(name + ".row_stride", m.row_stride,
                 "must be at least its number of columns, " + std::to_string(m.columns));
  }
  if (!checked_product(m.rows, m.row_stride, size_of(dtype_of<T>))) {
    return Error(name + ".rows * row_stride", std::to_string(m.rows) + " * " + std::to_string(m.row_stride),
                 "its size in bytes must fit in 63 bits");
  }
  return check_pointer(name, m.data, dtype_of<T>);
}

/// Whether every row of `m` starts at a multiple of `bytes`. Asked of the stride even if there is one row
/// only: the way a row is read, and with it its bits, must not depend on the number of rows.
template <class T>
bool rows_aligned(const Matrix<T>& m, std::int64_t bytes) {
  return reinterpret_cast<std::uintptr_t>(m.data) % static_cast<std::uintptr_t>(bytes) == 0 &&
         m.row_stride * size_of(dtype_of<T>) % bytes == 0;
}

/// Checks that all rows start at multiples of 16 bytes, as TMA reads them.
template <class T>
Reason check_rows_aligned(const std::string& name, const Matrix<T>& m) {
  constexpr std::int64_t vector = 16 / size_of(dtype_of<T>);
  if (reinterpret_cast<std::uintptr_t>(m.data) % 16 != 0) {
    return Error(name + ".data", address(m.data), "must be aligned to 16 bytes for TMA");
  }
  if (m.row_stride % vector != 0) {
    return Error(name + ".row_stride", m.row_stride,
                 "must be a multiple of " + std::to_string(vector) + " elements (16 bytes) for TMA");
  }
  return {};
}

/// Checks a vector: it is absent, where that is `optional`, or has one of the allowed sizes.
template <class Void>
Reason check_vector(const std::string& name, const BasicVector<Void>& v, bool optional,
                    std::initializer_list<std::int64_t> sizes) {
  if (!v.present()) {
    if (optional) return {};
    return Error(name + ".data", "null", "must point to the elements");
  }
  bool fits = false;
  for (const std::int64_t size : sizes) fits = fits || v.size == size;
  if (!fits) {
    std::string allowed;
    for (const std::int64_t size : sizes) allowed += (allowed.empty() ? "" : " or ") + std::to_string(size);
    return Error(name + ".size", v.size, "must be " + allowed);
  }
  if (v.dtype == Dtype::e4m3) {
    return Error(name + ".dtype", "e4m3", "must be f64, f32, f16 or bf16: e4m3 is for matrices");
  }
  return check_pointer(name, v.data, v.dtype);
}

template <class T>
Reason check_parameters(const Parameters<T>& p, Mode mode) {
  if (Reason reason = check_matrix("weight", p.weight)) return reason;
  const std::int64_t n = p.out_features();
  const bool statistics_optional = mode == Mode::training;
  if (Reason reason = check_vector("bias", p.bias, true, {n})) return reason;
  if (Reason reason = check_vector("gamma", p.gamma, true, {n})) return reason;
  if (Reason reason = check_vector("beta", p.beta, true, {n})) return reason;
  if (Reason reason = check_vector("running_mean", p.running_mean, statistics_optional, {n})) return reason;
  if (Reason reason = check_vector("running_var", p.running_var, statistics_optional, {n})) return reason;
  if (Reason reason = check_vector("scale", p.scale, true, {1, n})) return reason;
  if (!(p.epsilon >= 0)) return Error("epsilon", std::to_string(p.epsilon), "must be at least 0");
  return {};
}

template <class T, class U>
Reason check_arguments(const HeadArguments<T, U>& arguments, Mode mode) {
  const auto& [x, p, y, output] = arguments;
  if (Reason reason = check_parameters(p, mode)) return reason;
  if (Reason reason = check_matrix("x", x)) return reason;
  if (Reason reason = check_matrix("y", y)) return reason;
  if (x.columns != p.in_features()) {
    return Error("x.columns", x.columns, "must equal weight.columns, " + std::to_string(p.in_features()));
  }
  if (y.rows != x.rows || y.columns != p.out_features()) {
    return Error("y.shape", shape_text(y.rows, y.columns),
                 "must be (x.rows, weight.rows), " + shape_text(x.rows, p.out_features()));
  }
  if (overlap(y, x)) return Error("y.data", address(y.data), "must not overlap x");
  if (overlap(y, p.weight)) return Error("y.data", address(y.data), "must not overlap weight");
  if (mode == Mode::training && x.rows < 2) {
    return Error("x.rows", x.rows, "training mode needs more than 1 value per feature");
  }
  return {};
}

inline Reason check_running(const RunningStatistics& running, std::int64_t out_features) {
  if (running.mean.present() != running.var.present()) {
    return Error("running.mean, running.var", running.mean.present() ? "only mean" : "only var",
                 "must be given together or not at all");
  }
  if (Reason reason = check_vector("running.mean", running.mean, true, {out_features})) return reason;
  if (Reason reason = check_vector("running.var", running.var, true, {out_features})) return reason;
  if (running.mean.present() && !running.momentum && running.batches_tracked == nullptr) {
    return Error("running.batches_tracked", "null", "a cumulative average (momentum = nullopt) needs it");
  }
  if (running.momentum && !(*running.momentum >= 0 && *running.momentum <= 1)) {
    return Error("running.momentum", std::to_string(*running.momentum), "must be in [0, 1]");
  }
  return {};
}

/// Checks the arguments of scale_softmax: y may be exactly x (in place), else they must not overlap.
template <class T, class U>
Reason check_scale_softmax(const Matrix<const T>& x, const ConstVector& scale, const Matrix<U>& y) {
  if (Reason reason = check_matrix("x", x)) return reason;
  if (Reason reason = check_vector("scale", scale, true, {1, x.columns})) return reason;
  if (Reason reason = check_matrix("y", y)) return reason;
  if (y.rows != x.rows || y.columns != x.columns) {
    return Error("y.shape", shape_text(y.rows, y.columns),
                 "must be that of x, " + shape_text(x.rows, x.columns));
  }
  const bool in_place = static_cast<const void*>(x.data) == static_cast<const void*>(y.data) &&
                        dtype_of<T> == dtype_of<U> && x.row_stride == y.row_stride;
  if (!in_place && overlap(y, x)) {
    return Error("y.data", address(y.data), "must be x itself (same dtype and stride) or not overlap it");
  }
  return {};
}

/// Checks the arguments of fold_batch_norm: outputs are shaped as the parameters; the weight may be folded in
/// place.
template <class T>
Reason check_fold_batch_norm(const Parameters<T>& p, const Matrix<T>& weight, const MutableVector& bias) {
  if (Reason reason = check_parameters(p, Mode::eval)) return reason;
  if (Reason reason = check_matrix("folded weight", weight)) return reason;
  if (weight.rows != p.weight.rows || weight.columns != p.weight.columns) {
    return Error("folded weight.shape", shape_text(weight.rows, weight.columns),
                 "must be that of weight, " + shape_text(p.weight.rows, p.weight.columns));
  }
  return check_vector("folded bias", bias, false, {p.out_features()});
}

inline Reason check_workspace(const Workspace& workspace, std::int64_t needed) {
  if (workspace.bytes < needed) {
    return Error("workspace.bytes", workspace.bytes, "must be at least " + std::to_string(needed));
  }
  if (needed > 0 && workspace.data == nullptr) {
    return Error("workspace.data", "null", "must point to workspace.bytes of memory");
  }
  if (reinterpret_cast<std::uintptr_t>(workspace.data) % 256 != 0) {
    return Error("workspace.data", address(workspace.data), "must be aligned to 256 bytes");
  }
  return {};
}

}  // namespace masthead::inline v0::detail

#pragma once
/// The checks of what a caller hands in. Each returns the first rule that is broken, with the argument's name
/// and value, or nothing; none touches the memory behind a pointer, so they run without a GPU.

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

#include "masthead/core/integer.hpp"
#include "masthead/core/parameters.hpp"
#include "masthead/core/region.hpp"

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

/// Checks that what is written shares no memory with the other regions; `name` is its own.
inline Reason check_apart(const char* name, const Region& written,
                          std::initializer_list<NamedRegion> others) {
  for (const NamedRegion& other : others) {
    if (!overlap(written, other.region)) continue;
    return Error(std::string(name) + ".data", address(reinterpret_cast<const void*>(written.begin)),
                 std::string("must not overlap ") + other.name);
  }
  return {};
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

/// A vector, and what it is called.
struct NamedVector {
  ConstVector vector;
  const char* name;
};

/// The reason for a weight that is (in_features, out_features), as `what` shows.
template <class T>
Error transposed_weight(const Matrix<const T>& weight, const std::string& what) {
  return Error("weight.shape", shape_text(weight.rows, weight.columns),
               "must be (out_features, in_features): " + what + ", so it seems transposed");
}

/// Checks that the weight is not transposed: its columns are as many as elements of the vectors and its rows
/// are not.
template <class T>
Reason check_orientation(const Parameters<T>& p) {
  const char* fits_columns = nullptr;
  const NamedVector vectors[] = {{p.bias, "bias"},
                                 {p.gamma, "gamma"},
                                 {p.beta, "beta"},
                                 {p.running_mean, "running_mean"},
                                 {p.running_var, "running_var"},
                                 {p.scale, "scale"}};
  for (const auto& [vector, name] : vectors) {
    if (!vector.present() || (vector.size == 1 && name == std::string_view("scale"))) continue;
    if (vector.size == p.weight.rows || vector.size != p.weight.columns) return {};
    if (fits_columns == nullptr) fits_columns = name;
  }
  if (fits_columns == nullptr) return {};
  return transposed_weight(p.weight, std::string(fits_columns) + ".size is " +
                                         std::to_string(p.weight.columns) + ", its number of columns");
}

/// Checks that there are running statistics, for what cannot do without: eval mode and fold_batch_norm.
template <class T>
Reason check_has_statistics(const Parameters<T>& p) {
  const NamedVector statistics[] = {{p.running_mean, "running_mean"}, {p.running_var, "running_var"}};
  for (const auto& [vector, name] : statistics) {
    if (vector.present()) continue;
    return Error(std::string(name) + ".data", "null",
                 "must point to the elements: eval mode and fold_batch_norm normalize with running_mean and "
                 "running_var; only training mode does without");
  }
  return {};
}

template <class T>
Reason check_parameters(const Parameters<T>& p, Mode mode) {
  if (Reason reason = check_matrix("weight", p.weight)) return reason;
  if (Reason reason = check_orientation(p)) return reason;
  const std::int64_t n = p.out_features();
  if (mode == Mode::eval) {
    if (Reason reason = check_has_statistics(p)) return reason;
  }
  if (Reason reason = check_vector("bias", p.bias, true, {n})) return reason;
  if (Reason reason = check_vector("gamma", p.gamma, true, {n})) return reason;
  if (Reason reason = check_vector("beta", p.beta, true, {n})) return reason;
  if (Reason reason = check_vector("running_mean", p.running_mean, true, {n})) return reason;
  if (Reason reason = check_vector("running_var", p.running_var, true, {n})) return reason;
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
  if (x.columns != p.in_features() && x.columns == p.weight.rows && y.columns == p.weight.columns) {
    return transposed_weight(
        p.weight, "x has " + std::to_string(x.columns) + " columns and y " + std::to_string(y.columns));
  }
  if (x.columns != p.in_features()) {
    return Error("x.columns", x.columns, "must equal weight.columns, " + std::to_string(p.in_features()));
  }
  if (y.rows != x.rows || y.columns != p.out_features()) {
    return Error("y.shape", shape_text(y.rows, y.columns),
                 "must be (x.rows, weight.rows), " + shape_text(x.rows, p.out_features()));
  }
  if (Reason reason = check_apart("y", region_of(y),
                                  {{"x", region_of(x)},
                                   {"weight", region_of(p.weight)},
                                   {"bias", region_of(p.bias)},
                                   {"gamma", region_of(p.gamma)},
                                   {"beta", region_of(p.beta)},
                                   {"running_mean", region_of(p.running_mean)},
                                   {"running_var", region_of(p.running_var)},
                                   {"scale", region_of(p.scale)}})) {
    return reason;
  }
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
  if (reinterpret_cast<std::uintptr_t>(running.batches_tracked) % sizeof(std::int64_t) != 0) {
    return Error("running.batches_tracked", address(running.batches_tracked), "must be aligned to 8 bytes");
  }
  return {};
}

/// Checks that the workspace and, in training mode, the running statistics share no memory with each other or
/// with what else the pass reads and writes. The statistics may be those of the parameters, which training
/// mode does not read: running.mean exactly running_mean, running.var exactly running_var. `arguments` and
/// `running` have been checked; eval mode has no `running`.
template <class T, class U>
Reason check_written_apart(const HeadArguments<T, U>& arguments, const RunningStatistics& running,
                           const Workspace& workspace) {
  const auto& [x, p, y, output] = arguments;
  const auto apart = [&, &x = x, &p = p, &y = y](const char* name, const Region& written,
                                                 std::initializer_list<NamedRegion> others) {
    if (written.rows == 0) return Reason();
    if (Reason reason = check_apart(name, written, others)) return reason;
    return check_apart(name, written,
                       {{"y", region_of(y)},
                        {"x", region_of(x)},
                        {"weight", region_of(p.weight)},
                        {"bias", region_of(p.bias)},
                        {"gamma", region_of(p.gamma)},
                        {"beta", region_of(p.beta)},
                        {"scale", region_of(p.scale)}});
  };
  const auto other_than = [](const MutableVector& own, const ConstVector& parameter) {
    return own.data == parameter.data && own.dtype == parameter.dtype ? Region{} : region_of(parameter);
  };
  const Region mean = region_of(running.mean), var = region_of(running.var),
               tracked = region_of(running.batches_tracked, sizeof(std::int64_t));
  if (Reason reason = apart("running.mean", mean,
                            {{"running_mean", other_than(running.mean, p.running_mean)},
                             {"running_var", region_of(p.running_var)}})) {
    return reason;
  }
  if (Reason reason = apart("running.var", var,
                            {{"running.mean", mean},
                             {"running_mean", region_of(p.running_mean)},
                             {"running_var", other_than(running.var, p.running_var)}})) {
    return reason;
  }
  const NamedRegion running_mean{"running_mean", region_of(p.running_mean)},
      running_var{"running_var", region_of(p.running_var)};
  if (Reason reason = apart("running.batches_tracked", tracked,
                            {{"running.mean", mean}, {"running.var", var}, running_mean, running_var})) {
    return reason;
  }
  return apart("workspace", region_of(workspace),
               {{"running.mean", mean},
                {"running.var", var},
                {"running.batches_tracked", tracked},
                running_mean,
                running_var});
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
  if (!in_place && overlap(region_of(y), region_of(x))) {
    return Error("y.data", address(y.data), "must be x itself (same dtype and stride) or not overlap it");
  }
  return check_apart("y", region_of(y), {{"scale", region_of(scale)}});
}

/// Checks the arguments of fold_batch_norm: outputs are shaped as the parameters; weight and bias may be
/// folded in place.
template <class T>
Reason check_fold_batch_norm(const Parameters<T>& p, const Matrix<T>& weight, const MutableVector& bias) {
  if (Reason reason = check_parameters(p, Mode::eval)) return reason;
  if (Reason reason = check_matrix("folded weight", weight)) return reason;
  if (weight.rows != p.weight.rows || weight.columns != p.weight.columns) {
    return Error("folded weight.shape", shape_text(weight.rows, weight.columns),
                 "must be that of weight, " + shape_text(p.weight.rows, p.weight.columns));
  }
  if (Reason reason = check_vector("folded bias", bias, false, {p.out_features()})) return reason;
  const bool weight_in_place = weight.data == p.weight.data && weight.row_stride == p.weight.row_stride,
             bias_in_place = bias.data == p.bias.data && bias.dtype == p.bias.dtype;
  if (!weight_in_place && overlap(region_of(weight), region_of(p.weight))) {
    return Error("folded weight.data", address(weight.data),
                 "must be weight itself (same stride) or not overlap it");
  }
  if (!bias_in_place && overlap(region_of(bias), region_of(p.bias))) {
    return Error("folded bias.data", address(bias.data),
                 "must be bias itself (same dtype) or not overlap it");
  }
  if (Reason reason = check_apart("folded bias", region_of(bias),
                                  {{"folded weight", region_of(weight)}, {"weight", region_of(p.weight)}})) {
    return reason;
  }
  const auto vectors = {NamedRegion{"gamma", region_of(p.gamma)}, NamedRegion{"beta", region_of(p.beta)},
                        NamedRegion{"running_mean", region_of(p.running_mean)},
                        NamedRegion{"running_var", region_of(p.running_var)},
                        NamedRegion{"scale", region_of(p.scale)}};
  if (Reason reason = check_apart("folded bias", region_of(bias), vectors)) return reason;
  if (Reason reason = check_apart("folded weight", region_of(weight), {{"bias", region_of(p.bias)}})) {
    return reason;
  }
  return check_apart("folded weight", region_of(weight), vectors);
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

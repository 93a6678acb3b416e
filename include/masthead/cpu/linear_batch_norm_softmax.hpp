#pragma once
/// The whole head on the CPU: y = softmax(scale * BatchNorm1d(x W^T + b), dim=1).

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include "masthead/core/checks.hpp"
#include "masthead/core/integer.hpp"
#include "masthead/cpu/executor.hpp"
#include "masthead/cpu/feature.hpp"
#include "masthead/cpu/gemm.hpp"
#include "masthead/cpu/softmax.hpp"
#include "masthead/numeric/affine.hpp"
#include "masthead/numeric/logit_unit.hpp"
#include "masthead/numeric/moments.hpp"

namespace masthead::inline v0::cpu {

/// Where a forward pass stores what does not fit in y; offsets in bytes, each a multiple of 256.
struct HeadWorkspace {
  std::int64_t rows = 0;        ///< of x that are worked on at once: all, or a slice
  std::int64_t multiplier = 0;  ///< (out_features)
  std::int64_t addend = 0;      ///< (out_features)
  std::int64_t center = 0;      ///< (out_features)
  std::int64_t logits = 0;      ///< (rows, out_features), only when y is narrower than the accumulator
  std::int64_t bytes = 0;

  /// The workspace of a pass. Throws Error when its size does not fit in 63 bits.
  static HeadWorkspace of(Dtype operand, Dtype y, Mode mode, std::int64_t batch, std::int64_t out_features) {
    const std::int64_t sum_bytes = size_of(accumulator_dtype(operand));
    HeadWorkspace w;
    const auto take = [&](std::int64_t count) {
      const std::int64_t offset = w.bytes;
      const std::optional<std::int64_t> size =
          masthead::detail::checked_product(count, out_features, sum_bytes);
      if (!size || __builtin_add_overflow(w.bytes, masthead::detail::ceil_div(*size, 256) * 256, &w.bytes)) {
        throw Error("workspace", std::to_string(count) + " * " + std::to_string(out_features),
                    "its size in bytes must fit in 63 bits");
      }
      return offset;
    };
    w.rows = batch;
    w.multiplier = take(1);
    w.addend = take(1);
    w.center = take(1);
    if (y != accumulator_dtype(operand)) {
      // Statistics need every logit; otherwise slices will do, long enough to make up for packing the weight.
      if (mode == Mode::eval) w.rows = std::min<std::int64_t>(batch, 504);
      w.logits = take(w.rows);
    }
    return w;
  }
};

namespace detail {

/// Moments of columns [first, first + count) of z, written to `moments`.
// 64 rows at a time, turned so that a column is contiguous; merged in ascending order. Distances from the
// first row are as small as the deviation, and 0 where all rows are equal.
template <class A, std::size_t width>
void column_moments(const Matrix<A>& z, std::int64_t first, int count, Moments<double> (&moments)[width]) {
  constexpr int height = 64;
  double columns[width][height], origin[width];
  for (int j = 0; j < count; ++j) origin[j] = static_cast<double>(z.data[first + j]);
  std::fill(moments, moments + width, Moments<double>{});
  for (std::int64_t m = 0; m < z.rows; m += height) {
    const int rows = static_cast<int>(std::min<std::int64_t>(height, z.rows - m));
    for (int i = 0; i < rows; ++i) {
      const A* const row = z.data + (m + i) * z.row_stride + first;
      for (int j = 0; j < count; ++j) columns[j][i] = static_cast<double>(row[j]) - origin[j];
    }
    for (int j = 0; j < count; ++j)
      moments[j] = merge(moments[j], masthead::detail::moments_of(columns[j], rows));
  }
  for (int j = 0; j < count; ++j) moments[j].mean += origin[j];
}

/// A forward pass: checks everything, then computes.
template <class T, class U>
class HeadPass {
  using A = Accumulator<T>;

 public:
  HeadPass(const HeadArguments<T, U>& arguments, Mode mode, const Workspace& workspace,
           const Executor& executor)
      : arguments_(checked(arguments, mode)),
        executor_(executor),
        layout_(HeadWorkspace::of(dtype_of<T>, dtype_of<U>, mode, arguments.x.rows, arguments.y.columns)),
        multiplier_(checked(workspace, layout_, layout_.multiplier)),
        addend_(checked(workspace, layout_, layout_.addend)),
        center_(checked(workspace, layout_, layout_.center)),
        blocks_(layout_.rows, arguments.y.columns, arguments.x.columns, executor) {
    if constexpr (!std::is_same_v<U, A>) logits_ = checked(workspace, layout_, layout_.logits);
  }

  void eval() const {
    const Parameters<T>& p = arguments_.parameters;
    for (std::int64_t n = 0; n < p.out_features(); ++n) set_affine(n, cpu::load_feature(p, n));
    for (std::int64_t first = 0; first < arguments_.x.rows; first += layout_.rows) {
      const Matrix<A> z = linear(first);
      softmax(z, first);
    }
  }

  void training(const RunningStatistics& running) const {
    const std::int64_t tracked = running.batches_tracked == nullptr ? 0 : *running.batches_tracked + 1;
    const double factor = running.momentum ? *running.momentum : 1.0 / static_cast<double>(tracked);
    const Matrix<A> z = linear(0);
    constexpr int width = 64;
    executor_.parallel_for(masthead::detail::ceil_div(z.columns, width), [&](std::int64_t index, int) {
      const std::int64_t first = index * width;
      const int count = static_cast<int>(std::min<std::int64_t>(width, z.columns - first));
      Moments<double> moments[width];
      column_moments(z, first, count, moments);
      for (int j = 0; j < count; ++j) batch_norm(first + j, moments[j], running, factor);
    });
    if (running.batches_tracked != nullptr) *running.batches_tracked = tracked;
    softmax(z, 0);
  }

 private:
  static const HeadArguments<T, U>& checked(const HeadArguments<T, U>& arguments, Mode mode) {
    masthead::detail::refuse_if(masthead::detail::check_arguments(arguments, mode));
    return arguments;
  }

  static A* checked(const Workspace& workspace, const HeadWorkspace& layout, std::int64_t offset) {
    masthead::detail::refuse_if(masthead::detail::check_workspace(workspace, layout.bytes));
    return reinterpret_cast<A*>(static_cast<unsigned char*>(workspace.data) + offset);
  }

  void set_affine(std::int64_t n, const Feature& feature) const {
    const auto affine =
        masthead::detail::affine_terms(feature, arguments_.parameters.epsilon, masthead::detail::log4e)
            .template rounded<A>();
    multiplier_[n] = affine.multiplier;
    addend_[n] = affine.addend;
    center_[n] = affine.center;
  }

  /// Normalizes feature n with the moments of x weight^T, and updates the running statistics.
  void batch_norm(std::int64_t n, const Moments<double>& moments, const RunningStatistics& running,
                  double factor) const {
    // The bias moves a batch's mean along, so it cancels; left out, it cannot cost digits.
    Feature feature = cpu::load_feature(arguments_.parameters, n);
    const double bias = feature.bias;
    feature.bias = 0;
    feature.mean = moments.mean;
    feature.variance = moments.biased_variance();
    set_affine(n, feature);
    if (!running.mean.present()) return;
    const auto update = [&](const MutableVector& vector, double batch) {
      cpu::store_feature(vector, n,
                         masthead::detail::running_update(cpu::load_feature(vector, n, 0), batch, factor));
    };
    update(running.mean, moments.mean + bias);
    update(running.var, moments.unbiased_variance());
  }

  /// Computes x weight^T for the slice of rows from `first` on, in y where that has room for sums.
  Matrix<A> linear(std::int64_t first) const {
    const auto& [x, p, y, output] = arguments_;
    const std::int64_t rows = (std::min)(layout_.rows, x.rows - first);
    Matrix<A> z(logits_, rows, y.columns);
    if constexpr (std::is_same_v<U, A>) z = {y.data + first * y.row_stride, rows, y.columns, y.row_stride};
    const Matrix<const T> slice(x.data + first * x.row_stride, rows, x.columns, x.row_stride);
    gemm(slice, p.weight, z, executor_, blocks_);
    return z;
  }

  void softmax(const Matrix<A>& z, std::int64_t first) const {
    const Matrix<U>& y = arguments_.y;
    parallel_for_rows(executor_, z.rows, z.columns, [&](std::int64_t m, int) {
      A* const values = z.data + m * z.row_stride;
      for (std::int64_t n = 0; n < z.columns; ++n) {
        values[n] = multiplier_[n] * (values[n] - center_[n]) + addend_[n];
      }
      softmax_row(values, z.columns, masthead::detail::LogitUnit<A>::log4(), arguments_.output,
                  y.data + (first + m) * y.row_stride);
    });
  }

  const HeadArguments<T, U> arguments_;
  const Executor& executor_;
  const HeadWorkspace layout_;
  A* const multiplier_;
  A* const addend_;
  A* const center_;
  A* logits_ = nullptr;
  const GemmBlocks<A> blocks_;
};

}  // namespace detail

/// Runs the head in eval mode (running statistics).
///
/// The workspace holds HeadWorkspace::of(...).bytes; beside it, each thread packs operands in up to 0.8 MB
/// (of float) allocated for the call. Results are bitwise the same for any number of threads, and a row's
/// bits do not depend on its batch. Returns when y is written. Throws Error for bad arguments and
/// std::bad_alloc, y untouched.
template <class T, masthead::detail::HeadOutputOf<T> U>
void linear_batch_norm_softmax(const HeadArguments<T, U>& arguments, const Workspace& workspace,
                               const Executor& executor) {
  masthead::detail::refuse_if(masthead::detail::check_arguments(arguments, Mode::eval));
  masthead::detail::refuse_if(masthead::detail::check_written_apart(arguments, {}, workspace));
  detail::HeadPass<T, U>(arguments, Mode::eval, workspace, executor).eval();
}

/// Runs the head in training mode: BatchNorm normalizes with the mean and biased variance of this batch (at
/// least 2 rows) and updates `running`. The workspace holds HeadWorkspace::of(...).bytes. Otherwise it
/// behaves as in eval mode.
template <class T, masthead::detail::HeadOutputOf<T> U>
void linear_batch_norm_softmax_training(const HeadArguments<T, U>& arguments,
                                        const RunningStatistics& running, const Workspace& workspace,
                                        const Executor& executor) {
  masthead::detail::refuse_if(masthead::detail::check_arguments(arguments, Mode::training));
  masthead::detail::refuse_if(masthead::detail::check_running(running, arguments.y.columns));
  masthead::detail::refuse_if(masthead::detail::check_written_apart(arguments, running, workspace));
  detail::HeadPass<T, U>(arguments, Mode::training, workspace, executor).training(running);
}

}  // namespace masthead::inline v0::cpu

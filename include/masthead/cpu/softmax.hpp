#pragma once
/// Softmax on the CPU: of one row, and of a scaled matrix.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "masthead/core/checks.hpp"
#include "masthead/core/integer.hpp"
#include "masthead/cpu/aligned_buffer.hpp"
#include "masthead/cpu/executor.hpp"
#include "masthead/cpu/feature.hpp"
#include "masthead/numeric/logit_unit.hpp"
#include "masthead/numeric/rounding.hpp"
#include "masthead/numeric/softmax_state.hpp"

namespace masthead::inline v0::cpu {
namespace detail {

/// Calls body(row, worker) for every row, several rows of few columns to a task.
template <class Body>
void parallel_for_rows(const Executor& executor, std::int64_t rows, std::int64_t columns, const Body& body) {
  const std::int64_t rows_per_task = std::max<std::int64_t>(1, 16384 / columns);
  executor.parallel_for(masthead::detail::ceil_div(rows, rows_per_task), [&](std::int64_t task, int worker) {
    const std::int64_t end = (std::min)(rows, (task + 1) * rows_per_task);
    for (std::int64_t row = task * rows_per_task; row < end; ++row) body(row, worker);
  });
}

/// Σ term(j) over [0, count), in ascending j.
// In double and by blocks: a row of a million columns then adds next to nothing to the error of its
// exponentials, whereas one chain of doubles would add a thousand units in the last place.
template <class Term>
double sum_of_terms(std::int64_t count, const Term& term) {
  constexpr std::int64_t block = 512;
  double sum = 0;
  for (std::int64_t first = 0; first < count; first += block) {
    double part = 0;
    for (std::int64_t j = first; j < (std::min)(count, first + block); ++j)
      part += static_cast<double>(term(j));
    sum += part;
  }
  return sum;
}

/// Writes y = softmax(values), or its natural logarithm. `values` is overwritten and may be y itself.
// The values are in memory, not recomputed, so that the maximum and the exponents see the same bits.
template <class A, class U>
void softmax_row(A* values, std::int64_t columns, const masthead::detail::LogitUnit<A>& unit, Output output,
                 U* y) {
  SoftmaxState<A> row;
  for (std::int64_t j = 0; j < columns; ++j) row.max = masthead::detail::larger(row.max, values[j]);
  const A reference = row.shift();
  if (output == Output::softmax) {
    row.sum = static_cast<A>(sum_of_terms(columns, [&](std::int64_t j) {
      return values[j] = masthead::detail::exp2_of((values[j] - reference) * unit.to_log2);
    }));
    for (std::int64_t j = 0; j < columns; ++j) y[j] = round_to<U>(values[j] / row.sum);
  } else {
    const double sum = sum_of_terms(columns, [&](std::int64_t j) {
      return masthead::detail::exp2_of((values[j] - reference) * unit.to_log2);
    });
    const A log_sum = static_cast<A>(std::log(sum));
    for (std::int64_t j = 0; j < columns; ++j) {
      y[j] = round_to<U>((values[j] - reference) * unit.to_natural - log_sum);
    }
  }
}

}  // namespace detail

/// Writes y = softmax(scale * x, dim=1) or, as `output` says, its natural logarithm.
///
/// x is (rows, columns) of double, float, Half or BFloat16, and is computed in float (double in double). y
/// has the shape of x and any of these dtypes; it may be x itself. scale is (1) or (columns) of any dtype;
/// absent, it means 1.
///
/// A row's bits depend neither on the other rows nor on the number of threads. NaN, +inf and rows of -inf
/// give what torch.softmax gives. Returns when y is written. Throws Error for bad arguments and
/// std::bad_alloc, y untouched.
template <class T, class U>
void scale_softmax(const Matrix<const T>& x, const ConstVector& scale, const Matrix<U>& y,
                   const Executor& executor, Output output = Output::softmax) {
  using A = Accumulator<T>;
  masthead::detail::refuse_if(masthead::detail::check_scale_softmax(x, scale, y));
  std::vector<A> factors(static_cast<std::size_t>(x.columns));
  for (std::int64_t j = 0; j < x.columns; ++j) {
    factors[static_cast<std::size_t>(j)] = static_cast<A>(cpu::load_feature(scale, j, 1));
  }
  constexpr bool in_y = std::is_same_v<U, A>;
  const AlignedBuffer<A> rows(in_y ? 0 : executor.threads() * x.columns);
  detail::parallel_for_rows(executor, x.rows, x.columns, [&](std::int64_t m, int worker) {
    const T* const from = x.data + m * x.row_stride;
    U* const to = y.data + m * y.row_stride;
    A* values;
    if constexpr (in_y) {
      values = to;
    } else {
      values = rows.data() + worker * x.columns;
    }
    for (std::int64_t j = 0; j < x.columns; ++j) {
      values[j] = widen(from[j]) * factors[static_cast<std::size_t>(j)];
    }
    detail::softmax_row(values, x.columns, masthead::detail::LogitUnit<A>::natural(), output, to);
  });
}
/// Writes softmax or log-softmax of scale * x for a mutable x, which y may be.
template <masthead::detail::Mutable T, class U>
void scale_softmax(const Matrix<T>& x, const ConstVector& scale, const Matrix<U>& y, const Executor& executor,
                   Output output = Output::softmax) {
  cpu::scale_softmax(Matrix<const T>(x), scale, y, executor, output);
}

}  // namespace masthead::inline v0::cpu

#pragma once
/// Comparing results with the reference, fencing outputs, and corrupting them on purpose.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <ostream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "masthead/core/parameters.hpp"
#include "problem.hpp"
#include "reference.hpp"

namespace test {

/// Half the distance between 1 and the next value.
inline double unit_roundoff(masthead::Dtype dtype) {
  switch (dtype) {
    case masthead::Dtype::f64:
      return 0x1p-53;
    case masthead::Dtype::f32:
      return 0x1p-24;
    case masthead::Dtype::f16:
      return 0x1p-11;
    default:
      return 0x1p-8;
  }
}

/// How far from the truth a value near 0 may be stored: what lies below the smallest normal number may be
/// flushed to 0 in float, and is rounded to a multiple of 2^-24 in half.
inline double absolute_error(masthead::Dtype dtype) {
  if (dtype == masthead::Dtype::f64) return 0x1p-1022;
  return dtype == masthead::Dtype::f16 ? 0x1p-25 : 0x1p-126;
}

/// The error that is allowed for a condition of 1. Against results in double the reference, which is in
/// double too and sums term by term, has an error of its own.
inline double error_unit(masthead::Dtype accumulator) {
  return (accumulator == masthead::Dtype::f64 ? 16 : 4) * unit_roundoff(accumulator);
}

/// What a comparison found. Converts to whether the result is accepted; prints itself.
struct Comparison {
  bool accepted = true;
  std::string first_rejected = {};  // the first element or row that is not accepted, and why
  double max_log_error = 0;         // max |log p - log p_ref| where p can be stored as a normal number
  double max_tolerance_used = 0;    // the largest error as a part of what was allowed
  double max_row_sum_error = 0;     // max |row sum - 1|

  explicit operator bool() const { return accepted; }
  friend std::ostream& operator<<(std::ostream& out, const Comparison& c) {
    return out << (c.accepted ? "accepted" : "rejected: " + c.first_rejected) << " (max |dlogp| "
               << c.max_log_error << ", " << c.max_tolerance_used << " of the tolerance, |row sum - 1| "
               << c.max_row_sum_error << ")";
  }
};

/// Compares `got` (rows, columns), widened to double, with the reference. It was computed with sums in
/// `accumulator` and stored as `stored`.
///
/// The error of log p is judged by a forward bound: error_unit times the condition of the logit, plus that of
/// the row's other logits by their weight in the sum, plus the roundings of the softmax itself. Never by an
/// absolute tolerance on p, which zeros would pass. NaN must be NaN, and only NaN may be. Storing may cost
/// `stored_ulps` units in the last place: half a unit is rounding to nearest.
inline Comparison compare(const SoftmaxReference& reference, const std::vector<double>& got,
                          masthead::Dtype accumulator, masthead::Dtype stored,
                          masthead::Output output = masthead::Output::softmax, double stored_ulps = 0.5) {
  Comparison c;
  const auto reject = [&](std::int64_t m, std::int64_t j, double is, double should_be) {
    if (!c.accepted) return;
    std::ostringstream out;
    out.precision(9);
    out << "(" << m << ", " << j << ") is " << is << ", should be " << should_be;
    c.accepted = false;
    c.first_rejected = out.str();
  };
  const double u = error_unit(accumulator);
  const double u_stored = stored == accumulator ? 0 : 2 * stored_ulps * unit_roundoff(stored);
  const double tiny = 2 * std::max(absolute_error(stored), absolute_error(accumulator));
  const double sum_error = u * (2 + std::log2(static_cast<double>(reference.columns)));
  if (got.size() != reference.probability.size()) {
    reject(-1, -1, static_cast<double>(got.size()), static_cast<double>(reference.probability.size()));
    return c;
  }
  for (std::int64_t m = 0; m < reference.rows; ++m) {
    double row_error = sum_error, row_sum = 0;
    bool row_is_finite = true;
    for (std::int64_t j = 0; j < reference.columns; ++j) {
      const std::size_t i = at(m, reference.columns, j);
      // A logit of -inf has probability 0, exactly.
      if (reference.probability[i] > 0) row_error += reference.probability[i] * u * reference.condition[i];
    }
    for (std::int64_t j = 0; j < reference.columns; ++j) {
      const std::size_t i = at(m, reference.columns, j);
      const double p = reference.probability[i], log_p = reference.log_probability[i], is = got[i];
      const double should_be = output == masthead::Output::softmax ? p : log_p;
      row_sum += is;
      if (std::isnan(p) || std::isnan(is)) {
        row_is_finite = false;
        if (!std::isnan(p) || !std::isnan(is)) reject(m, j, is, should_be);
        continue;
      }
      if (std::isinf(log_p)) {
        if (is != should_be) reject(m, j, is, should_be);
        continue;
      }
      const double tolerance = row_error + u * reference.condition[i];
      if (output == masthead::Output::log_softmax) {
        const double error = std::abs(is - log_p);
        const double allowed = tolerance + (u + u_stored) * std::abs(log_p) + tiny;
        if (!(error <= allowed)) reject(m, j, is, should_be);
        c.max_log_error = std::max(c.max_log_error, error);
        c.max_tolerance_used = std::max(c.max_tolerance_used, error / allowed);
        continue;
      }
      const double low = std::exp(log_p - tolerance) * (1 - u_stored) - tiny;
      const double high = std::exp(log_p + tolerance) * (1 + u_stored) + tiny;
      if (!(is >= low && is <= high)) reject(m, j, is, should_be);
      if (p > 0x1p20 * tiny) {
        const double error = std::abs(std::log(is) - log_p);
        c.max_log_error = std::max(c.max_log_error, error);
        c.max_tolerance_used =
            std::max(c.max_tolerance_used, error / (tolerance + 1.01 * u_stored + tiny / p));
      }
    }
    if (output == masthead::Output::softmax && row_is_finite) {
      const double error = std::abs(row_sum - 1);
      c.max_row_sum_error = std::max(c.max_row_sum_error, error);
      // The last term is for this sum of ours.
      if (!(error <= sum_error + u_stored + static_cast<double>(reference.columns) * (tiny + 0x1p-53))) {
        reject(m, -1, row_sum, 1);
      }
    }
  }
  return c;
}

/// Compares per-feature values that may be wrong by error_unit times their condition and are stored as
/// `stored`.
inline Comparison compare_features(const std::vector<double>& reference, const std::vector<double>& condition,
                                   const std::vector<double>& got, masthead::Dtype accumulator,
                                   masthead::Dtype stored) {
  Comparison c;
  if (got.size() != reference.size()) {
    c.accepted = false;
    c.first_rejected = "it has " + std::to_string(got.size()) + " elements";
    return c;
  }
  for (std::size_t n = 0; n < reference.size(); ++n) {
    const double allowed = error_unit(accumulator) * condition[n] +
                           2 * unit_roundoff(stored) * std::abs(reference[n]) + absolute_error(stored);
    const double error = std::abs(got[n] - reference[n]);
    c.max_tolerance_used = std::max(c.max_tolerance_used, error / allowed);
    if (error <= allowed || !c.accepted) continue;
    std::ostringstream out;
    out << "[" << n << "] is " << got[n] << ", should be " << reference[n] << " within " << allowed;
    c.accepted = false;
    c.first_rejected = out.str();
  }
  return c;
}

/// Wrong results made from right ones, each of which a comparison must reject. Those that happen to change
/// nothing (a shifted row of one column) are left out.
inline std::vector<std::pair<std::string, std::vector<double>>> corruptions(const std::vector<double>& good,
                                                                            std::int64_t rows,
                                                                            std::int64_t columns) {
  std::vector<std::pair<std::string, std::vector<double>>> made;
  const auto add = [&](const std::string& name, const auto& corrupt) {
    std::vector<double> bad = good;
    corrupt(bad);
    if (bad != good) made.emplace_back(name, std::move(bad));
  };
  const auto row = [&](std::vector<double>& values, std::int64_t m) { return values.begin() + m * columns; };
  add("zeros", [](auto& v) { std::fill(v.begin(), v.end(), 0.0); });
  add("the largest magnitude 2% off", [](auto& v) {
    *std::max_element(v.begin(), v.end(), [](double a, double b) { return std::abs(a) < std::abs(b); }) *=
        1.02;
  });
  add("one NaN", [](auto& v) { v[v.size() / 2] = std::nan(""); });
  add("last row shifted by a column",
      [&](auto& v) { std::rotate(row(v, rows - 1), row(v, rows - 1) + 1, v.end()); });
  add("rows shifted",
      [&](auto& v) { std::rotate(v.begin(), v.begin() + columns % (rows * columns), v.end()); });
  add("shuffled", [](auto& v) {
    Random random(1);
    for (std::size_t i = v.size() - 1; i > 0; --i) {
      std::swap(v[i], v[at(random.integer(0, static_cast<std::int64_t>(i)))]);
    }
  });
  return made;
}

/// A matrix of NaN between canaries: before it, after it and in the padding of its rows. `bytes` can be
/// copied to a device as they are, the matrix then starting at `offset`, and back again.
template <masthead::Element T>
class FencedMatrix {
 public:
  /// `shift` elements off the alignment of 256 bytes that `offset` otherwise has.
  FencedMatrix(std::int64_t rows, std::int64_t columns, std::int64_t row_stride = 0, std::int64_t shift = 0)
      : rows_(rows), columns_(columns), row_stride_(row_stride == 0 ? columns : row_stride) {
    offset = fence + at(shift) * sizeof(T);
    bytes.resize(offset + at(rows_ * row_stride_) * sizeof(T) + fence);
    poison();
  }

  std::vector<unsigned char> bytes;
  std::size_t offset;

  /// NaN in every element, canaries everywhere else.
  void poison() {
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = is_element(i) ? 0xff : canary(i);
  }

  masthead::Matrix<T> view() {
    return {reinterpret_cast<T*>(bytes.data() + offset), rows_, columns_, row_stride_};
  }

  /// Whether every byte that is not an element's is as it was.
  bool intact() const {
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      if (!is_element(i) && bytes[i] != canary(i)) return false;
    }
    return true;
  }

  /// Whether no element was written to either.
  bool untouched() const {
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      if (bytes[i] != (is_element(i) ? 0xff : canary(i))) return false;
    }
    return true;
  }

  /// The elements of row m as bytes, for bitwise comparison.
  std::vector<unsigned char> row_bytes(std::int64_t m) const {
    const auto first = bytes.begin() + static_cast<std::ptrdiff_t>(offset + at(m * row_stride_) * sizeof(T));
    return {first, first + static_cast<std::ptrdiff_t>(at(columns_) * sizeof(T))};
  }

  /// (rows, columns), exactly.
  std::vector<double> values() const {
    std::vector<double> v(at(rows_ * columns_));
    for (std::int64_t m = 0; m < rows_; ++m) {
      for (std::int64_t j = 0; j < columns_; ++j) {
        v[at(m, columns_, j)] = to_double(bytes.data() + offset, masthead::dtype_of<T>, m * row_stride_ + j);
      }
    }
    return v;
  }

  /// Sets the elements, rounding `values` (rows, columns).
  void set(const std::vector<double>& values) {
    const Matrix view_ = view();
    for (std::int64_t m = 0; m < rows_; ++m) {
      for (std::int64_t j = 0; j < columns_; ++j) {
        view_.data[m * row_stride_ + j] = masthead::round_to<T>(values[at(m, columns_, j)]);
      }
    }
  }

 private:
  using Matrix = masthead::Matrix<T>;
  static constexpr std::size_t fence = 256;

  // All bits set is a NaN in every element type.
  static unsigned char canary(std::size_t i) { return static_cast<unsigned char>(0xa5 ^ (i * 29)); }

  bool is_element(std::size_t i) const {
    if (i < offset) return false;
    const std::int64_t element = static_cast<std::int64_t>((i - offset) / sizeof(T));
    return element / row_stride_ < rows_ && element % row_stride_ < columns_;
  }

  std::int64_t rows_, columns_, row_stride_;
};

}  // namespace test

#pragma once
/// A case of tests/device/fuzz in host memory: for host tests of its reference and of its bounds.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "fuzz_judge.hpp"
#include "problem.hpp"

namespace test::fuzz {

/// A group of one thread.
struct Alone {
  std::int64_t rank() const { return 0; }
  std::int64_t size() const { return 1; }
  double max(double value) const { return value; }
  double sum(double value) const { return value; }
};

/// What the judge found in all rows.
struct HostVerdict {
  int faults = 0;
  std::int64_t unjudged_rows = 0;
  Fault first = Fault::none;
  std::int64_t row = -1, column = -1;
  double got = 0, low = 0, high = 0, most_used = 0;
  double target_low = 0, target_high = 0;
  bool has_target = false, target_is_nan = false;

  void wrong(Fault fault, std::int64_t m, std::int64_t n, double is, double least, double most) {
    if (faults++ == 0) first = fault, row = m, column = n, got = is, low = least, high = most;
  }
  void used(double part) { most_used = std::max(most_used, part); }
  void unjudged() { ++unjudged_rows; }
  void target(double least, double most, bool nan) {
    has_target = true, target_low = least, target_high = most, target_is_nan = nan;
  }
};

inline std::ostream& operator<<(std::ostream& out, const HostVerdict& v) {
  return out << v.faults << " faults, first: " << name(v.first) << " at (" << v.row << ", " << v.column
             << "): " << v.got << ", should be in [" << v.low << ", " << v.high << "], " << v.most_used
             << " of the bound used, " << v.unjudged_rows << " rows not judged";
}

/// Rows of elements of a dtype with what surrounds them.
struct HostMatrix {
  Dtype dtype;
  std::int64_t rows, columns, row_stride, shift;
  std::vector<unsigned char> bytes;

  HostMatrix(Dtype dtype_, std::int64_t rows_, std::int64_t columns_, const Placement& at_)
      : dtype(dtype_), rows(rows_), columns(columns_), row_stride(columns_ + at_.pad), shift(at_.shift) {
    bytes.assign(at(shift + rows * row_stride) * at(bytes_of(dtype)), 0xff);
  }
  unsigned char* data() { return bytes.data() + at(shift) * at(bytes_of(dtype)); }
  const unsigned char* data() const { return bytes.data() + at(shift) * at(bytes_of(dtype)); }
  double get(std::int64_t m, std::int64_t n) const { return load_element(data(), dtype, m * row_stride + n); }
  void set(std::int64_t m, std::int64_t n, double value) {
    store_element(data(), dtype, m * row_stride + n, value);
  }
  template <class T>
  masthead::Matrix<T> view() {
    return {reinterpret_cast<T*>(data()), rows, columns, row_stride};
  }
};

/// The memory of a case and its reference.
struct HostMemory {
  Case c;
  HostMatrix x, weight, y;
  Elements scale, bias, gamma, beta, mean, var;
  std::vector<double> z, error, scales;
  std::vector<FeatureTerms> features;
  std::vector<BatchTerms> batch;
  bool packed = false;

  explicit HostMemory(const Case& case_)
      : c(case_),
        x(c.x, c.rows, c.is_head() ? c.in_features : c.columns, c.of_x),
        weight(c.x, c.is_head() ? c.columns : 1, c.is_head() ? c.in_features : 1, c.of_weight),
        y(c.y, c.rows, c.columns, c.of_y) {
    for (std::int64_t m = 0; m < x.rows; ++m) {
      for (std::int64_t k = 0; k < x.columns; ++k)
        x.set(m, k, c.is_head() ? head_x(c, m, k) : softmax_x(c, m, k));
    }
    const auto vector = [&](bool present, Dtype dtype, std::int64_t size, const auto& value) {
      std::vector<double> values;
      for (std::int64_t n = 0; present && n < size; ++n) values.push_back(value(c, n));
      return to_elements(values, dtype);
    };
    scale = vector(c.scale_of != ScaleOf::absent, c.scale_dtype, c.scale_of == ScaleOf::one ? 1 : c.columns,
                   scale_value);
    if (!c.is_head()) return;
    for (std::int64_t n = 0; n < c.columns; ++n) {
      for (std::int64_t k = 0; k < c.in_features; ++k) weight.set(n, k, head_weight(c, n, k));
    }
    bias = vector(c.has_bias, c.bias_dtype, c.columns, bias_value);
    gamma = vector(c.has_gamma, c.gamma_dtype, c.columns, gamma_value);
    beta = vector(c.beta != BetaOf::absent, c.beta_dtype, c.columns, beta_value);
    mean = vector(true, c.mean_dtype, c.columns, mean_value);
    var = vector(true, c.var_dtype, c.columns, var_value);
  }

  static double element(const Elements& vector, std::int64_t n, double absent) {
    if (vector.bytes.empty()) return absent;
    return to_double(vector.bytes.data(), vector.dtype, vector.size() == 1 ? 0 : n);
  }
  Dtype sums() const { return sums_of(c.x); }

  /// Computes z, its bounds and the terms of the features; sets running statistics that come of the batch.
  void set_reference(bool tensor, MathMode mode) {
    const auto largest = [](const HostMatrix& m, std::int64_t row) {
      double most = 0;
      for (std::int64_t k = 0; k < m.columns; ++k) {
        if (is_finite(m.get(row, k))) most = std::max(most, std::abs(m.get(row, k)));
      }
      return most;
    };
    const SumError bound = sum_error(c, tensor, mode);
    packed = masthead::detail::is_packed(mode);
    z.resize(at(c.rows * c.columns)), error.resize(z.size());
    std::vector<double> largest_w;
    for (std::int64_t n = 0; n < c.columns; ++n) largest_w.push_back(largest(weight, n));
    for (std::int64_t m = 0; m < c.rows; ++m) {
      const double largest_x = largest(x, m);
      for (std::int64_t n = 0; n < c.columns; ++n) {
        Product p;
        for (std::int64_t k = 0; k < c.in_features; ++k) {
          p.add(multiplied_as(mode, x.get(m, k), largest_x),
                multiplied_as(mode, weight.get(n, k), largest_w[at(n)]));
        }
        z[at(m, c.columns, n)] = p.sum;
        error[at(m, c.columns, n)] = bound.of(p, c.in_features, largest_x, largest_w[at(n)]);
      }
    }
    features.resize(at(c.columns)), batch.resize(at(c.columns));
    for (std::int64_t n = 0; n < c.columns; ++n) {
      BatchTerms b;
      b.least = HUGE_VAL, b.most = -HUGE_VAL;
      const double rows = static_cast<double>(c.rows);
      for (std::int64_t m = 0; m < c.rows; ++m) {
        const double v = z[at(m, c.columns, n)], e = error[at(m, c.columns, n)];
        b.mean += v / rows, b.error += e / rows, b.square_error += e * e / rows;
        b.least = std::min(b.least, v), b.most = std::max(b.most, v);
      }
      for (std::int64_t m = 0; m < c.rows; ++m) {
        const double d = z[at(m, c.columns, n)] - b.mean;
        b.variance += d * d / rows;
      }
      batch[at(n)] = b;
      const double own_bias = element(bias, n, 0);
      if (c.statistics == Statistics::calibrated || c.statistics == Statistics::no_variance) {
        store_element(mean.bytes.data(), mean.dtype, n, calibrated_mean(c, b, own_bias));
        if (c.statistics == Statistics::calibrated)
          store_element(var.bytes.data(), var.dtype, n, calibrated_var(b));
      }
      FeatureTerms& f = features[at(n)];
      f.gamma = element(gamma, n, 1), f.beta = element(beta, n, 0), f.scale = element(scale, n, 1);
      if (c.training()) {
        set_batch(f, b, sums(), epsilons[c.epsilon], c.rows);
      } else {
        set_running(f, element(mean, n, 0), element(var, n, 1), own_bias, sums(), epsilons[c.epsilon],
                    c.data == Data::integers);
      }
    }
  }

  HeadLogits head_logits() const {
    return {z.data(), error.data(), features.data(), c.columns, sums(), c.data == Data::integers, packed};
  }
  SoftmaxLogits softmax_logits() {
    scales.clear();
    for (std::int64_t n = 0; n < (c.scale_of == ScaleOf::per_column ? c.columns : 1); ++n) {
      scales.push_back(element(scale, n, 1));
    }
    return {x.data(), c.x, x.row_stride, scales.data(), scales.size() > 1, sums(), true};
  }

  /// The problem for test::head_reference, once the reference is set.
  HeadProblem problem() const {
    HeadProblem p{c.rows, c.in_features, c.columns, {}, {}, {}, {}, {}, {}, {}, {}};
    for (std::int64_t m = 0; m < c.rows; ++m) {
      for (std::int64_t k = 0; k < c.in_features; ++k) p.x.push_back(x.get(m, k));
    }
    for (std::int64_t n = 0; n < c.columns; ++n) {
      for (std::int64_t k = 0; k < c.in_features; ++k) p.weight.push_back(weight.get(n, k));
    }
    p.bias = to_doubles(bias), p.gamma = to_doubles(gamma), p.beta = to_doubles(beta);
    p.running_mean = to_doubles(mean), p.running_var = to_doubles(var), p.scale = to_doubles(scale);
    p.epsilon = epsilons[c.epsilon];
    return p;
  }

  /// Judges `y`.
  template <class Logits>
  HostVerdict judge(const Logits& logits, bool quantized = false, std::int64_t target_row = -1,
                    std::int64_t target_column = -1) const {
    RowRules rules = row_rules(c, quantized);
    rules.target_row = target_row, rules.target_column = target_column;
    HostVerdict verdict;
    for (std::int64_t m = 0; m < c.rows; ++m) {
      judge_row(
          Alone(), logits, rules, m, [&](std::int64_t n) { return y.get(m, n); },
          [&](std::int64_t n) {
            const std::int64_t size = bytes_of(c.y);
            const unsigned char* at_ = y.data() + (m * y.row_stride + n) * size;
            return std::all_of(at_, at_ + size, [](unsigned char byte) { return byte == 0xff; });
          },
          verdict);
    }
    return verdict;
  }
};

}  // namespace test::fuzz

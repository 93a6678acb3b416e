#pragma once
/// Error measures of logits and probabilities of sampled rows, all against float64, on the host.
///
/// Matrices are (rows, columns) without gaps; column 0 is the anchor, whose exact logit is 0. It takes part
/// in the softmax and in nothing that is measured. A NaN anywhere comes out as NaN.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "masthead/core/dtype.hpp"

namespace benchmark {

struct SampledMatrix {
  std::size_t columns = 0;
  std::vector<double> values;

  std::size_t rows() const { return values.size() / columns; }
  std::span<const double> row(std::size_t i) const { return {values.data() + i * columns, columns}; }
};

/// The larger one, or NaN if either is.
inline double larger(double a, double b) { return !(b <= a) && !std::isnan(a) ? b : a; }

/// Root of the mean square.
inline double rms(const SampledMatrix& m) {
  double squares = 0;
  for (std::size_t i = 0; i < m.rows(); ++i) {
    for (std::size_t c = 1; c < m.columns; ++c) squares += m.row(i)[c] * m.row(i)[c];
  }
  return std::sqrt(squares / static_cast<double>(m.rows() * (m.columns - 1)));
}

/// Root of the mean square about each row's mean: what decides a softmax.
inline double spread(const SampledMatrix& m) {
  SampledMatrix centered = m;
  for (std::size_t i = 0; i < m.rows(); ++i) {
    double sum = 0;
    for (std::size_t c = 1; c < m.columns; ++c) sum += m.row(i)[c];
    const double mean = sum / static_cast<double>(m.columns - 1);
    for (std::size_t c = 1; c < m.columns; ++c) centered.values[i * m.columns + c] -= mean;
  }
  return rms(centered);
}

struct LogitError {
  double relative_l2 = 0;  ///< |got - exact|_2 / |exact|_2 over all elements
  double largest = 0;      ///< max |got - exact| / rms(exact)
};

inline LogitError logit_error(const SampledMatrix& got, const SampledMatrix& exact) {
  SampledMatrix difference = got;
  double largest = 0;
  for (std::size_t i = 0; i < got.rows(); ++i) {
    for (std::size_t c = 1; c < got.columns; ++c) {
      double& value = difference.values[i * got.columns + c];
      value -= exact.row(i)[c];
      largest = larger(largest, std::abs(value));
    }
  }
  return {rms(difference) / rms(exact), largest / rms(exact)};
}

/// Logits that scale * logits have these logarithms of probabilities.
inline SampledMatrix logits_of(const SampledMatrix& log_probabilities, double scale) {
  SampledMatrix logits = log_probabilities;
  for (std::size_t i = 0; i < logits.rows(); ++i) {
    const double anchor = log_probabilities.row(i)[0];
    for (std::size_t c = 0; c < logits.columns; ++c) {
      double& value = logits.values[i * logits.columns + c];
      value = (value - anchor) / scale;
    }
  }
  return logits;
}

/// log softmax(scale * logits) of every row.
inline SampledMatrix log_softmax(const SampledMatrix& logits, double scale) {
  SampledMatrix out = logits;
  for (std::size_t i = 0; i < out.rows(); ++i) {
    const std::span<double> row(out.values.data() + i * out.columns, out.columns);
    for (double& value : row) value *= scale;
    const double maximum = *std::max_element(row.begin(), row.end());
    double sum = 0;
    for (const double value : row) sum += std::exp(value - maximum);
    const double logarithm = maximum + std::log(sum);
    for (double& value : row) value -= logarithm;
  }
  return out;
}

/// max |got - exact|, of logarithms of probabilities.
inline double largest_difference(const SampledMatrix& got, const SampledMatrix& exact) {
  double largest = 0;
  for (std::size_t i = 0; i < got.rows(); ++i) {
    for (std::size_t c = 1; c < got.columns; ++c) {
      largest = larger(largest, std::abs(got.row(i)[c] - exact.row(i)[c]));
    }
  }
  return largest;
}

/// max |got - exact| in units in the last place of the exact value, of probabilities in a 16-bit dtype; over
/// all exact ones that are not below its smallest normal.
inline double largest_ulp_error(const SampledMatrix& got, const SampledMatrix& exact_log_probabilities,
                                masthead::Dtype dtype) {
  const bool f16 = dtype == masthead::Dtype::f16;
  const int fraction_bits = f16 ? 10 : 7;
  const double smallest_normal = f16 ? 0x1p-14 : 0x1p-126;
  double largest = 0;
  for (std::size_t i = 0; i < got.rows(); ++i) {
    for (std::size_t c = 1; c < got.columns; ++c) {
      const double exact = std::exp(exact_log_probabilities.row(i)[c]);
      if (exact < smallest_normal) continue;
      const double ulp = std::ldexp(1, std::ilogb(exact) - fraction_bits);
      largest = larger(largest, std::abs(got.row(i)[c] - exact) / ulp);
    }
  }
  return largest;
}

}  // namespace benchmark

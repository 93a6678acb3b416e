#pragma once
/// Whether rows of probabilities are right: every element of sampled rows against float64.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "support/gemm_error.cuh"

namespace benchmark {

/// Up to `count` rows of `rows`, evenly spaced, the first and the last among them.
inline std::vector<std::int64_t> sampled_rows(std::int64_t rows, std::int64_t count) {
  std::vector<std::int64_t> sampled;
  const std::int64_t n = std::min(rows, count);
  for (std::int64_t i = 0; i < n; ++i) sampled.push_back(n == 1 ? 0 : (rows - 1) * i / (n - 1));
  return sampled;
}

/// log softmax of a row, in place.
inline void log_softmax(std::vector<double>& row) {
  const double maximum = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (const double value : row) sum += std::exp(value - maximum);
  const double logarithm = maximum + std::log(sum);
  for (double& value : row) value -= logarithm;
}

constexpr double smallest_normal(masthead::Dtype dtype) {
  constexpr double values[] = {std::numeric_limits<double>::min(), 0x1p-126, 0x1p-14, 0x1p-126};
  return values[static_cast<int>(dtype)];
}

/// What a row of probabilities differs from the reference by.
struct SoftmaxError {
  double log_difference = 0;  ///< max |log p - log p_ref| over every p_ref that the dtype holds as a normal
  double below_normal = 0;    ///< max |p - p_ref| / smallest normal over the others

  /// NaN stays, whatever follows it.
  static void keep_larger(double& worst, double value) {
    if (!(value <= worst) && !std::isnan(worst)) worst = value;
  }

  void add(const std::vector<double>& probabilities, const std::vector<double>& log_reference,
           masthead::Dtype dtype) {
    const double normal = smallest_normal(dtype);
    for (std::size_t c = 0; c < probabilities.size(); ++c) {
      const double reference = std::exp(log_reference[c]);
      if (reference >= normal) {
        keep_larger(log_difference, std::abs(std::log(probabilities[c]) - log_reference[c]));
      } else {
        keep_larger(below_normal, std::abs(probabilities[c] - reference) / normal);
      }
    }
  }

  /// Rounding of the output once, and of sums in float or double, which logits of a few units amplify.
  /// `operands`: how far rounding of the operands may move a logarithm besides.
  bool acceptable(masthead::Dtype dtype, double operands = 0) const {
    const double computing = dtype == masthead::Dtype::f64 ? 1e-11 : 5e-4;
    const double tolerance = operands + computing + 2 * half_ulp(dtype);
    return log_difference <= tolerance && below_normal <= tolerance;
  }
};

}  // namespace benchmark

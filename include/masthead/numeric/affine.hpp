#pragma once
/// BatchNorm, bias and scale as one multiply-add per logit.

#include <cmath>

#include "masthead/core/config.hpp"

namespace masthead::inline v0 {

/// log2(e): takes natural logits to log2 units, in which exponentials are powers of two.
inline constexpr double log2e = 1.4426950408889634074;

/// A feature's affine: logit = multiplier * accumulator + addend, where accumulator = Σ_k x[m,k] w[n,k].
struct Affine {
  double multiplier = 1;
  double addend = 0;
};

/// One feature's parameters, absent ones at their neutral values.
struct Feature {
  double bias = 0;      ///< of the linear layer
  double gamma = 1;     ///< BatchNorm weight
  double beta = 0;      ///< BatchNorm bias
  double mean = 0;      ///< running mean, or the batch mean of the *biased* linear output
  double variance = 1;  ///< running variance, or the biased batch variance
  double scale = 1;
};

/// The affine of a feature: softmax(scale * BatchNorm(accumulator + bias)) needs
///   multiplier = scale * gamma / sqrt(variance + epsilon)
///   addend     = scale * ((bias - mean) * gamma / sqrt(variance + epsilon) + beta)
/// times `unit` (log2(e), so that softmax can use powers of two; 1 for natural logits).
// Both the bias and beta carry the scale. Double, so that the only rounding is the caller's to its
// accumulator type.
MASTHEAD_HOST_DEVICE Affine fold(const Feature& feature, double epsilon, double unit) {
  const double slope = feature.gamma / sqrt(feature.variance + epsilon);
  return {unit * feature.scale * slope,
          unit * feature.scale * ((feature.bias - feature.mean) * slope + feature.beta)};
}

}  // namespace masthead::inline v0

namespace masthead::inline v0::detail {

/// The natural logarithm of 2: takes log2 units back to natural ones.
inline constexpr double ln2 = 0.69314718055994530942;

/// A running statistic after a batch, BatchNorm's exponential moving average: `factor` is its momentum.
MASTHEAD_HOST_DEVICE double running_update(double running, double batch, double factor) {
  return (1 - factor) * running + factor * batch;
}

/// One feature's affine in log2 units, as the epilogue applies it.
struct alignas(8) AffineColumn {
  float multiplier;
  float addend;
};

}  // namespace masthead::inline v0::detail

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

/// log4(e): takes natural logits to log4 units, in which exponentials are powers of four. A head keeps its
/// logits so: every finite float is finite in them, as it is not in log2 units, and doubling is exact.
inline constexpr double log4e = log2e / 2;

/// A running statistic after a batch, BatchNorm's exponential moving average: `factor` is its momentum.
MASTHEAD_HOST_DEVICE double running_update(double running, double batch, double factor) {
  return (1 - factor) * running + factor * batch;
}

/// One feature's affine in log4 units, as the epilogue applies it to sums from which the center is gone.
struct alignas(8) AffineColumn {
  float multiplier;
  float addend;
};

/// An affine rounded to the type it is applied in: logit = multiplier * (accumulator - center) + addend.
template <class Sum>
struct RoundedAffine {
  Sum multiplier = 0;
  Sum addend = 0;
  Sum center = 0;
};

/// What is subtracted from the elements of each column, and whether that is anything: the kernel before says
/// so, and most often nothing is.
template <class Sum>
struct ColumnCenters {
  Sum* center = nullptr;    // (columns), at a multiple of 16 bytes
  unsigned* any = nullptr;  // 0: all are 0; null: there are none
};

/// The largest multiplier * mean, in log4 units, that is folded into the addend.
// Its rounding and that of the multiplier cost a logit 2^-24 of that product each: about what the rest of the
// head costs logits of this size, and nothing beside what bfloat16 operands cost.
inline constexpr double largest_folded_mean = 8;

/// The affine of a feature before it is rounded, with what it takes to subtract the mean first.
struct AffineTerms {
  double multiplier = 1;
  double addend = 0;     ///< logit of an accumulator of 0
  double mean = 0;       ///< of the accumulators
  double mean_rest = 0;  ///< what rounding took from `mean`
  double at_mean = 0;    ///< logit of an accumulator of mean + mean_rest

  /// Rounds the terms to `Sum`, for accumulators that are smaller by `factor`, whose `inverse` need not be
  /// exact. Where the mean is large beside the deviation, it is subtracted before the multiplication, as
  /// BatchNorm does it: a rounded addend would be off by more than logits differ.
  // The difference from a rounded center is exact for accumulators near it, and what the center lacks of the
  // mean goes to the addend.
  template <class Sum>
  MASTHEAD_HOST_DEVICE RoundedAffine<Sum> rounded(double factor = 1, Sum inverse = 1) const {
    const double moved = fabs(multiplier * mean);
    const Sum center = static_cast<Sum>(mean) * inverse, slope = static_cast<Sum>(multiplier * factor);
    const bool centers =
        moved > largest_folded_mean && moved < HUGE_VAL && fabs(static_cast<double>(center)) < HUGE_VAL;
    if (!centers) return {slope, static_cast<Sum>(addend), static_cast<Sum>(0)};
    const double rest = (mean - static_cast<double>(center) * factor) + mean_rest;
    return {slope, static_cast<Sum>(at_mean - multiplier * rest), center};
  }
};

/// The terms of a feature's affine, in `unit`.
// The rest of mean - bias by Knuth's two-sum, which is exact whichever is larger.
MASTHEAD_HOST_DEVICE AffineTerms affine_terms(const Feature& feature, double epsilon, double unit) {
  const Affine affine = fold(feature, epsilon, unit);
  const double mean = feature.mean - feature.bias, subtracted = mean - feature.mean;
  const double rest = (feature.mean - (mean - subtracted)) - (feature.bias + subtracted);
  return {affine.multiplier, affine.addend, mean, rest, unit * feature.scale * feature.beta};
}

}  // namespace masthead::inline v0::detail

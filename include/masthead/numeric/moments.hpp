#pragma once
/// Mean and sum of squared deviations of a set, mergeable without cancellation.

#include <cstddef>
#include <cstdint>

#include "masthead/core/config.hpp"

namespace masthead::inline v0 {

/// Moments of a set of `count` values: their mean and m2 = Σ (value - mean)^2.
///
/// Merging uses the pairwise rule of Chan, Golub and LeVeque, "Algorithms for Computing the Sample Variance"
/// (The American Statistician 37, 1983), so E[z^2] - E[z]^2 never appears. Merging is deterministic in a
/// fixed order; a different order gives other roundings.
template <class T>
struct Moments {
  std::int64_t count = 0;
  T mean = 0;
  T m2 = 0;

  MASTHEAD_HOST_DEVICE static Moments of(T value) { return {1, value, static_cast<T>(0)}; }

  /// The variance that BatchNorm normalizes a training batch with: m2 divided by n.
  MASTHEAD_HOST_DEVICE T biased_variance() const { return m2 / static_cast<T>(count); }

  /// The variance that BatchNorm averages in running_var: m2 divided by n - 1.
  MASTHEAD_HOST_DEVICE T unbiased_variance() const { return m2 / static_cast<T>(count - 1); }

  MASTHEAD_HOST_DEVICE friend Moments merge(const Moments& a, const Moments& b) {
    if (a.count == 0) return b;
    if (b.count == 0) return a;
    const std::int64_t total = a.count + b.count;
    const T delta = b.mean - a.mean;
    const T weight = static_cast<T>(b.count) / static_cast<T>(total);
    return {total, a.mean + delta * weight, a.m2 + b.m2 + delta * delta * (static_cast<T>(a.count) * weight)};
  }
};

}  // namespace masthead::inline v0

namespace masthead::inline v0::detail {

/// The moments of a batch from those of its splits: sums of their distances from the mean of the first split,
/// in double, so that a million splits cost no accuracy.
// The mean of the first split is at most sqrt(batch / its rows) deviations from the batch's, as it is part of
// it: what the difference of squares cancels is at most a factor of the number of splits.
class MomentSum {
 public:
  /// Sums about `origin`, the mean of the first split.
  MASTHEAD_HOST_DEVICE explicit MomentSum(double origin = 0) : origin_(origin) {}

  MASTHEAD_HOST_DEVICE void add(double count, double mean, double m2) {
    const double distance = mean - origin_, weighted = count * distance;
    first_ += weighted;
    second_ += m2 + weighted * distance;
  }
  /// Adds what another sum about the same origin holds: of first() and second().
  MASTHEAD_HOST_DEVICE void add(double first, double second) {
    first_ += first;
    second_ += second;
  }
  MASTHEAD_HOST_DEVICE double first() const { return first_; }    ///< Σ (value - origin)
  MASTHEAD_HOST_DEVICE double second() const { return second_; }  ///< Σ (value - origin)^2

  /// The moments of all splits, `count` values; `inverse` is 1 / count.
  MASTHEAD_HOST_DEVICE Moments<double> total(std::int64_t count, double inverse) const {
    const double distance = first_ * inverse, m2 = second_ - first_ * distance;
    return {count, origin_ + distance, m2 < 0 ? 0 : m2};
  }

 private:
  double origin_, first_ = 0, second_ = 0;
};

/// Moments of the first `count` of `size` values, by two passes over them: for values in registers.
// Both loops run over all of them, so that they unroll and the array needs no memory.
template <class T, std::size_t size>
MASTHEAD_HOST_DEVICE Moments<T> moments_of(const T (&values)[size], int count) {
  constexpr int capacity = static_cast<int>(size);
  if (count == 0) return {};
  T sum = 0;
  for (int i = 0; i < capacity; ++i) sum += i < count ? values[i] : static_cast<T>(0);
  const T mean = sum / static_cast<T>(count);
  T m2 = 0;
  for (int i = 0; i < capacity; ++i)
    m2 += i < count ? (values[i] - mean) * (values[i] - mean) : static_cast<T>(0);
  return {count, mean, m2};
}

/// Mean and sum of squared deviations of one column over rows whose count all columns share.
struct alignas(8) ColumnMoment {
  float mean = 0;
  float m2 = 0;
};

}  // namespace masthead::inline v0::detail

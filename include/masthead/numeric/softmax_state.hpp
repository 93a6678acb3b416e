#pragma once
/// The online-softmax state: a running maximum and the sum of exponentials relative to it.
///
/// Milakov and Gimelshein, "Online normalizer calculation for softmax", arXiv:1805.02867, algorithm 3; in
/// base 2, with arguments already multiplied by log2(e) where they are natural logits.

#include <cmath>

#include "masthead/core/config.hpp"
#include "masthead/numeric/exp2.hpp"

namespace masthead::inline v0::detail {

template <class T>
inline constexpr T negative_infinity = static_cast<T>(-HUGE_VALF);

/// The larger of two values; of a NaN and a number the number (SoftmaxState says why that is right here).
template <class T>
MASTHEAD_HOST_DEVICE T larger(T a, T b) {
#if defined(__CUDA_ARCH__)
  return (::max)(a, b);
#else
  return a > b || b != b ? a : b;
#endif
}

}  // namespace masthead::inline v0::detail

namespace masthead::inline v0 {

/// (max, sum) of a set of values v: sum = Σ exp2((v - shift()) * unit), where `shift()` is max, or 0 for a
/// set that is empty or all -inf, so that such a set never makes a NaN by itself.
///
/// NaN needs no special maximum: a NaN that `max` drops is in `sum`, and from there reaches every result of
/// the row. +inf makes inf - inf = NaN in the sum, and a row that is all -inf ends with sum = 0 and 0/0 =
/// NaN: in all three cases torch.softmax gives NaN too.
template <class T>
struct SoftmaxState {
  T max = detail::negative_infinity<T>;
  T sum = 0;

  /// The value exponents are taken relative to: finite unless the set holds +inf.
  MASTHEAD_HOST_DEVICE T shift() const {
    return max == detail::negative_infinity<T> ? static_cast<T>(0) : max;
  }
};

}  // namespace masthead::inline v0

namespace masthead::inline v0::detail {

/// Merges two disjoint sets; `unit` converts differences of values to powers of two (1 when values are in
/// log2 units, log2(e) when they are natural logits). Associative up to rounding and symmetric in its
/// arguments.
template <class T>
struct SoftmaxStateMerge {
  T unit;

  MASTHEAD_HOST_DEVICE SoftmaxState<T> operator()(const SoftmaxState<T>& a, const SoftmaxState<T>& b) const {
    SoftmaxState<T> merged;
    merged.max = larger(a.max, b.max);
    const T shift = merged.shift();
    // With max = -inf the factor is 0 and the sum 0 or NaN, both of which the product keeps.
    merged.sum = a.sum * exp2_of((a.max - shift) * unit) + b.sum * exp2_of((b.max - shift) * unit);
    return merged;
  }
};

/// The softmax partials (max, sum) of some columns of a row: max is half an integer >= the maximum of their
/// logits t in log4 units, or -inf when all are -inf; sum = Σ 4^(t - finite_shift(max)).
struct alignas(8) SoftmaxPartial {
  float max = negative_infinity<float>;
  float sum = 0;
};

/// The integer max of columns whose largest logit is `maximum`, in log4 units: the next integer in log2
/// units.
MASTHEAD_HOST_DEVICE float integer_max(float maximum) {
  return fabsf(maximum) < 0x1p64f ? 0.5f * ceilf(2 * maximum) : maximum;
}

/// 4^value, results below 2^-126 flushed to 0.
MASTHEAD_HOST_DEVICE float exp4_flushed(float value) { return exp2_flushed(value + value); }

/// The shift, which may be subtracted: an integer max of -inf, which no columns have too, becomes 0.
MASTHEAD_HOST_DEVICE float finite_shift(float max) { return max == negative_infinity<float> ? 0.0f : max; }

/// Distances of logits t in log4 units from a shift, in log2 units: 2 (shift - t) by one rounding.
///
/// From 2^126 on, where twice the shift would overflow, they are half as large: between floats of that size
/// any distance but 0 makes an exponential of 0 either way.
struct LogitDistance {
  bool huge;    ///< whether the shift is that large
  float shift;  ///< twice the shift, or the shift where it is huge

  MASTHEAD_HOST_DEVICE explicit LogitDistance(float max)
      : huge(!(fabsf(finite_shift(max)) < 0x1p126f)), shift((huge ? 1.0f : 2.0f) * finite_shift(max)) {}

  MASTHEAD_HOST_DEVICE float operator()(float logit) const {
    return fmaf(logit, huge ? -1.0f : -2.0f, shift);
  }
  /// The integer max again, for a sum of exponentials of what it is the max of: their largest is at least
  /// 1/2, unless there are none but zeros.
  MASTHEAD_HOST_DEVICE float integer_max(float sum) const {
    return sum == 0 ? negative_infinity<float> : (huge ? 1.0f : 0.5f) * shift;
  }
  /// The distance of a logit that was halved where the shift is huge: for many logits of a row.
  MASTHEAD_HOST_DEVICE static float of_halved(float logit, float shift) { return fmaf(logit, -2.0f, shift); }
};

}  // namespace masthead::inline v0::detail

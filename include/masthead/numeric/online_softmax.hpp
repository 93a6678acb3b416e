#pragma once
/// The online-softmax state: a running maximum and the sum of exponentials relative to it.
///
/// Milakov and Gimelshein, "Online normalizer calculation for softmax", arXiv:1805.02867, algorithm 3; in
/// base 2, with arguments already multiplied by log2(e) where they are natural logits.

#include <cmath>

#include "masthead/config.hpp"

#if defined(__CUDACC__)
#include "masthead/ptx/exp2.cuh"
#endif

namespace masthead::inline v0 {

/// 2^value: ptx::exp2 in float device code (relative error 2^-22, no subnormal results), `exp2` of the
/// standard library elsewhere.
template <class T>
MASTHEAD_HOST_DEVICE T exp2_of(T value) {
#if defined(__CUDA_ARCH__)
  return ptx::exp2(value);
#else
  return std::exp2(value);
#endif
}

template <class T>
inline constexpr T negative_infinity = static_cast<T>(-HUGE_VALF);

/// The larger of two values; of a NaN and a number the number (OnlineSoftmax says why that is right here).
template <class T>
MASTHEAD_HOST_DEVICE T larger(T a, T b) {
#if defined(__CUDA_ARCH__)
  return ::max(a, b);
#else
  return a > b || b != b ? a : b;
#endif
}

/// (max, sum) of a set of values v: sum = Σ exp2((v - reference()) * unit), where `reference()` is max, or 0
/// for a set that is empty or all -inf, so that such a set never makes a NaN by itself.
///
/// NaN needs no special maximum: a NaN that `max` drops is in `sum`, and from there reaches every result of
/// the row. +inf makes inf - inf = NaN in the sum, and a row that is all -inf ends with sum = 0 and 0/0 =
/// NaN: in all three cases torch.softmax gives NaN too.
template <class T>
struct OnlineSoftmax {
  T max = negative_infinity<T>;
  T sum = 0;

  /// The value exponents are taken relative to: finite unless the set holds +inf.
  MASTHEAD_HOST_DEVICE T reference() const { return max == negative_infinity<T> ? T(0) : max; }
};

/// Merges two disjoint sets; `unit` converts differences of values to powers of two (1 when values are in
/// log2 units, log2(e) when they are natural logits). Associative up to rounding and symmetric in its
/// arguments.
template <class T>
struct OnlineSoftmaxCombine {
  T unit;

  MASTHEAD_HOST_DEVICE OnlineSoftmax<T> operator()(const OnlineSoftmax<T>& a,
                                                   const OnlineSoftmax<T>& b) const {
    OnlineSoftmax<T> merged;
    merged.max = larger(a.max, b.max);
    const T reference = merged.reference();
    // With max = -inf the factor is 0 and the sum 0 or NaN, both of which the product keeps.
    merged.sum = a.sum * exp2_of((a.max - reference) * unit) + b.sum * exp2_of((b.max - reference) * unit);
    return merged;
  }
};

}  // namespace masthead::inline v0

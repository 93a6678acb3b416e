#pragma once
/// Softmax of a row whose columns lie in the registers of a warp, a block or a cluster.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include "masthead/core/parameters.hpp"
#include "masthead/numeric/affine.hpp"
#include "masthead/policy/softmax_policy.hpp"
#include "masthead/ptx/reciprocal.cuh"
#include "masthead/reduce/row_reduce.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Turns the logits of a row into its results, given the row's merged state. Logits are x * scale in log2
/// units; the differences from a shift are formed by one fused multiply-add, so the product is not rounded,
/// and a shift's own rounding cancels between numerator and denominator.
template <class Sum, Output output>
class RowNormalizer {
 public:
  __device__ explicit RowNormalizer(const SoftmaxState<Sum>& row)
      : max_(row.max), finish_(output == Output::softmax ? ptx::reciprocal(row.sum) : -log(row.sum)) {}

  /// What exponentials relative to `max` must be multiplied by: 0 for max = -inf, NaN in a row that has no
  /// softmax.
  __device__ Sum factor(Sum max) const requires(output == Output::softmax) {
    return exp2_of(max - max_) * finish_;
  }

  /// The probability of a column, or its natural logarithm.
  __device__ Sum operator()(Sum x, Sum scale) const {
    const Sum difference = fma(x, scale, -max_);
    if constexpr (output == Output::softmax) {
      return exp2_of(difference) * finish_;
    } else {
      return fma(difference, static_cast<Sum>(ln2), finish_);
    }
  }

 private:
  Sum max_, finish_;
};

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES

namespace masthead::inline v0::inline MASTHEAD_ARCHITECTURES {

/// Turns values in registers into softmax or log-softmax of their row.
///
///     using Softmax = RowSoftmax<float, SoftmaxPolicy<256, 32>>;
///     __shared__ typename Softmax::TempStorage storage;
///     Softmax softmax(storage);
///     float x[32];  // any assignment of columns to threads
///     softmax.apply<Output::softmax>(x, float(log2e), [&](int i) { return column(i) < columns; });
///
/// A thread sums exponentials relative to its own maximum, and the sum is rescaled when the row's is known:
/// one exchange of (max, sum) pairs instead of two (Milakov and Gimelshein, arXiv:1805.02867). Exponentials
/// of floats are then taken once more; those of doubles cost too much and stay in registers. Probabilities
/// below 2^-126 may come out as 0. All threads of the row construct it and call it once (in a cluster, those
/// of all its blocks); a row of a block synchronizes it, and `TempStorage` may be used again after the
/// block's next barrier.
template <class Sum, class Policy>
class RowSoftmax {
  static constexpr SoftmaxSpec spec = Policy::spec;
  using Reduce = RowReduce<Sum, spec.threads>;

 public:
  struct TempStorage {
    typename Reduce::TempStorage rows[spec.rows];
    typename detail::ClusterReduce<Sum>::TempStorage cluster;
  };

  __device__ explicit RowSoftmax(TempStorage& storage)
      : reduce_(storage.rows[spec.rows == 1 ? 0 : threadIdx.x / spec.threads]), cluster_(storage.cluster) {}

  /// Adds `values`, any number of them, to `part`. `scale` takes a value to log2 units (log2(e) for natural
  /// logits, times their scale); values for which inside(i) is false are no columns. Sums are formed in
  /// vectors of `vector` adjacent values; inside(i) is asked once per vector if vectors are `whole`. With
  /// `exponentials`, values become their exponentials relative to part.shift().
  template <bool exponentials, int vector = 1, bool whole = true, int count, class Inside>
  __device__ static void accumulate(SoftmaxState<Sum>& part, Sum (&values)[count], Sum scale,
                                    const Inside& inside) {
    static_assert(count % vector == 0);
    SoftmaxState<Sum> grown{part.max, 0};
    const auto kept = [&](int i, Sum value, Sum otherwise) { return whole || inside(i) ? value : otherwise; };
    // Vectors are reduced whole and then taken or left by a select: a branch per vector would cost more than
    // it saves.
#pragma unroll
    for (int first = 0; first < count; first += vector) {
      Sum max = kept(first, values[first] * scale, detail::negative_infinity<Sum>);
#pragma unroll
      for (int i = 1; i < vector; ++i)
        max = detail::larger(max, kept(first + i, values[first + i] * scale, detail::negative_infinity<Sum>));
      grown.max = detail::larger(grown.max, !whole || inside(first) ? max : detail::negative_infinity<Sum>);
    }
    const Sum shift = grown.shift();
#pragma unroll
    for (int first = 0; first < count; first += vector) {
      Sum sum = 0;
#pragma unroll
      for (int i = 0; i < vector; ++i) {
        const Sum exponential = detail::exp2_of(fma(values[first + i], scale, -shift));
        sum += kept(first + i, exponential, 0);
        if constexpr (exponentials) values[first + i] = exponential;
      }
      grown.sum += !whole || inside(first) ? sum : Sum(0);
    }
    grown.sum += part.sum * detail::exp2_of(part.max - shift);
    part = grown;
  }

  /// Adds the exponentials of `values`, none of them above part.max, to `part` if they are `inside`, as
  /// `accumulate` does with a vector.
  template <int count>
  __device__ static void add(SoftmaxState<Sum>& part, const Sum (&values)[count], Sum scale, bool inside) {
    const Sum shift = part.shift();
    Sum sum = 0;
#pragma unroll
    for (int i = 0; i < count; ++i) sum += detail::exp2_of(fma(values[i], scale, -shift));
    part.sum += inside ? sum : Sum(0);
  }

  /// Merges the states of all the row's threads, over the cluster too.
  __device__ SoftmaxState<Sum> merge(const SoftmaxState<Sum>& part) { return cluster_(reduce_(part)); }

  /// Turns `values` into the row's results in place: `accumulate`, `merge`, then a RowNormalizer.
  template <Output output, int vector = 1, bool whole = true, class Inside>
  __device__ void apply(Sum (&values)[spec.items], Sum scale, const Inside& inside) {
    constexpr bool keep = output == Output::softmax && sizeof(Sum) == 8;
    SoftmaxState<Sum> part;
    accumulate<keep, vector, whole>(part, values, scale, inside);
    const detail::RowNormalizer<Sum, output> normalize(merge(part));
    if constexpr (keep) {
      const Sum factor = normalize.factor(part.max);
#pragma unroll
      for (int i = 0; i < spec.items; ++i) values[i] *= factor;
    } else {
#pragma unroll
      for (int i = 0; i < spec.items; ++i) values[i] = normalize(values[i], scale);
    }
  }

 private:
  Reduce reduce_;
  detail::ClusterReduce<Sum> cluster_;
};

}  // namespace masthead::inline v0::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

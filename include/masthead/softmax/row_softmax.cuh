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

/// The magnitude, in log2 units, below which a logit's rounding is at most 16.
template <class Sum>
inline constexpr Sum rounded_shift_limit = static_cast<Sum>(sizeof(Sum) == 8 ? 0x1p58 : 0x1p29);

/// Whether the logits of a row are small enough for shifts that are rounded products, given the row's merged
/// state in log2 units. A shift's rounding moves all exponents of a thread by as much as 16 there. Beyond, it
/// makes exponentials overflow, as it may those of a thread whose logits are all far below the row's
/// maximum: their sum is then infinite, and NaN when it is rescaled by 0. True of no row that holds a NaN.
template <class Sum>
__device__ bool allows_rounded_shifts(const SoftmaxState<Sum>& row) {
  return abs(row.max) < rounded_shift_limit<Sum> && row.sum < -negative_infinity<Sum>;
}

/// Turns the logits of a row into its results, given the row's merged state, where that
/// allows_rounded_shifts. Logits are x * scale in log2 units; the differences from a shift are formed by one
/// fused multiply-add, so the product is not rounded, and a shift's own rounding cancels between numerator
/// and denominator.
template <class Sum, Output output>
class RowNormalizer {
  // Half of a difference is finite where the logarithm of a probability is: a logit may have the least finite
  // value, which a factor of log2(e) takes beyond. Powers of two leave the bits of the result as they are.
  static constexpr Sum part = static_cast<Sum>(output == Output::softmax ? 1 : 0.5);

 public:
  __device__ explicit RowNormalizer(const SoftmaxState<Sum>& row)
      : max_(row.max * part), finish_(output == Output::softmax ? ptx::reciprocal(row.sum) : -log(row.sum)) {}

  /// What exponentials relative to `max` must be multiplied by: 0 for max = -inf, NaN in a row that has no
  /// softmax.
  __device__ Sum factor(Sum max) const requires(output == Output::softmax) {
    return exp2_of(max - max_) * finish_;
  }

  /// The probability of a column, or its natural logarithm.
  __device__ Sum operator()(Sum x, Sum scale) const {
    const Sum difference = fma(x, scale * part, -max_);
    if constexpr (output == Output::softmax) {
      return exp2_of(difference) * finish_;
    } else {
      return fma(difference, static_cast<Sum>(2 * ln2), finish_);
    }
  }

 private:
  Sum max_, finish_;
};

/// Turns logits of any finite magnitude into results, given their row's merged state. Differences are formed
/// before anything but a power of two multiplies them. Logits are given by half, so that no difference of two
/// overflows; `unit` takes such differences to log2 units.
template <class Sum, Output output>
class RowNormalizerByDifferences {
 public:
  __device__ RowNormalizerByDifferences(const SoftmaxState<Sum>& row, Sum unit)
      : max_(row.max),
        unit_(output == Output::softmax ? unit : static_cast<Sum>(unit * ln2)),
        finish_(output == Output::softmax ? ptx::reciprocal(row.sum) : -log(row.sum)) {}

  __device__ Sum operator()(Sum half) const {
    if constexpr (output == Output::softmax) {
      return exp2_of((half - max_) * unit_) * finish_;
    } else {
      return fma(half - max_, unit_, finish_);
    }
  }

 private:
  Sum max_, unit_, finish_;
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
/// The policy says who has a row. SoftmaxPolicy<threads, items>: the `threads` threads of a block, each with
/// `items` values, and of all the blocks of a cluster where the kernel is launched with clusters.
/// SoftmaxPolicy<32, items, rows>: each of a block's `rows` warps has a row of its own, without clusters. The
/// block has threads * rows threads in one dimension; threadIdx.x tells which. Any policy that holds the row
/// will do: `shared_items` and `past_l1` mean nothing here, and items cost a register each (a double two).
///
/// A thread sums exponentials relative to its own maximum, and the sum is rescaled when the row's is known:
/// one exchange of (max, sum) pairs instead of two (Milakov and Gimelshein, arXiv:1805.02867). Exponentials
/// of floats are then taken once more; those of doubles cost too much and stay in registers. Probabilities
/// below 2^-126 may come out as 0.
///
/// All threads of the row, in a cluster those of all its blocks, construct it and call `apply` or `merge`
/// once. A row of a block synchronizes the block, a warp's row nothing. A second row takes a second object.
/// It may have the same `TempStorage`, after a barrier of the block (warps with rows of their own need none);
/// in a cluster it takes a `TempStorage` of its own.
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

  /// Stands for an object that has merged its row, in a function that has it no more: only `merge_again` is
  /// left.
  __device__ RowSoftmax(TempStorage& storage, detail::Opened opened)
      : reduce_(storage.rows[spec.rows == 1 ? 0 : threadIdx.x / spec.threads]),
        cluster_(storage.cluster, opened) {}

  /// Adds `values`, any number of them, to `part`. `scale` takes a value to log2 units (log2(e) for natural
  /// logits, times their scale); values for which inside(i) is false are no columns. Sums are formed in
  /// vectors of `vector` adjacent values; inside(i) is asked once per vector if vectors are `whole`. With
  /// `exponentials`, values become their exponentials relative to part.shift(). The largest of a row's values
  /// times `scale` must be below 2^29 in magnitude (double: 2^58); `apply` has no such limit.
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

  /// Merges states of all the row's threads a second time; `unit` takes differences of their maxima to log2
  /// units.
  __device__ SoftmaxState<Sum> merge_again(const SoftmaxState<Sum>& part, Sum unit) {
    if constexpr (spec.threads > 32) __syncthreads();  // every warp has what the first merge left
    return cluster_.again(reduce_(part, unit), unit);
  }

  /// Turns `values` into the row's results in place, `accumulate`, `merge`, then a RowNormalizer, and returns
  /// true. Or returns false and leaves values unspecified, if the row's logits do not allow rounded shifts:
  /// all threads of the row get the same answer.
  template <Output output, int vector = 1, bool whole = true, class Inside>
  __device__ bool apply_if_small(Sum (&values)[spec.items], Sum scale, const Inside& inside) {
    constexpr bool keep = output == Output::softmax && sizeof(Sum) == 8;
    SoftmaxState<Sum> part;
    accumulate<keep, vector, whole>(part, values, scale, inside);
    const SoftmaxState<Sum> row = merge(part);
    if (!detail::allows_rounded_shifts(row)) return false;
    const detail::RowNormalizer<Sum, output> normalize(row);
    if constexpr (keep) {
      const Sum factor = normalize.factor(part.max);
#pragma unroll
      for (int i = 0; i < spec.items; ++i) values[i] *= factor;
    } else {
#pragma unroll
      for (int i = 0; i < spec.items; ++i) values[i] = normalize(values[i], scale);
    }
    return true;
  }

  /// Turns `values` into the row's results in place, whatever their magnitude, as long as values times
  /// `scale` are finite in natural units and `scale` is below 2^126 (double: 2^1022). `scale`, `vector`,
  /// `whole` and `inside` are those of `accumulate`. Values for which inside(i) is false may be anything, NaN
  /// included, and are unspecified afterwards.
  template <Output output, int vector = 1, bool whole = true, class Inside>
  __device__ void apply(Sum (&values)[spec.items], Sum scale, const Inside& inside) {
    constexpr bool keep = output == Output::softmax && sizeof(Sum) == 8;
    const auto counts = [&](int i) { return inside(whole ? i / vector * vector : i); };
    // Exponentials are kept of values so far below the limit that they are nothing beside a row beyond it.
    bool kept = keep;
    if constexpr (keep) {
      Sum max = detail::negative_infinity<Sum>;
#pragma unroll
      for (int i = 0; i < spec.items; ++i) max = counts(i) ? detail::larger(max, values[i] * scale) : max;
      kept = abs(max) < detail::rounded_shift_limit<Sum> / 2;
    }
    SoftmaxState<Sum> part;
    if (kept) {
      accumulate<keep, vector, whole>(part, values, scale, inside);
    } else {
      accumulate<false, vector, whole>(part, values, scale, inside);
      // Exponentials that a rounded shift made overflow are of values far below the row's maximum, or the row
      // is beyond the limit: infinity * 0 must not become a NaN of the sum.
      constexpr Sum most = static_cast<Sum>(0x1p96);
      part.sum = part.sum > most ? most : part.sum;
    }
    const SoftmaxState<Sum> row = merge(part);
    if (detail::allows_rounded_shifts(row)) {
      const detail::RowNormalizer<Sum, output> normalize(row);
      if constexpr (keep) {
        const Sum factor = normalize.factor(part.max);
#pragma unroll
        for (int i = 0; i < spec.items; ++i)
          values[i] = kept ? values[i] * factor : normalize(values[i], scale);
      } else {
#pragma unroll
        for (int i = 0; i < spec.items; ++i) values[i] = normalize(values[i], scale);
      }
      return;
    }
    const Sum half = static_cast<Sum>(scale < 0 ? -0.5 : 0.5), unit = 2 * abs(scale);
    SoftmaxState<Sum> again;
    if (kept) {
      again.sum = part.sum * 0;
    } else {
#pragma unroll
      for (int i = 0; i < spec.items; ++i) {
        if (counts(i)) again = detail::SoftmaxStateMerge<Sum>{unit}(again, {values[i] * half, 1});
      }
    }
    const SoftmaxState<Sum> merged = merge_again(again, unit);
    const detail::RowNormalizerByDifferences<Sum, output> normalize(merged, unit);
#pragma unroll
    for (int i = 0; i < spec.items; ++i) values[i] = kept ? merged.sum * 0 : normalize(values[i] * half);
  }

 private:
  Reduce reduce_;
  detail::ClusterReduce<Sum> cluster_;
};

}  // namespace masthead::inline v0::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

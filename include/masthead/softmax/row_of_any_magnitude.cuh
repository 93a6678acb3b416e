#pragma once
/// Softmax of a row of any magnitude, read from memory: twice more than a kernel has.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>
#include <type_traits>

#include "masthead/numeric/feature.cuh"
#include "masthead/numeric/softmax_state.hpp"
#include "masthead/ptx/compiler_fence.cuh"
#include "masthead/softmax/row_softmax.cuh"
#include "masthead/softmax/softmax_params.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Writes the results of this block's part of a row (of this warp's row, if it has one of its own) whose
/// logits do not allow rounded shifts. A logit is the product that torch rounds; differences are formed
/// before log2(e) multiplies them. All threads of the row call it, in a cluster those of all its blocks,
/// after a RowSoftmax on `storage` has merged the row and before anything is written to y.
// NOTES: a function that is called, one column at a time, because rows like this are rare (every column
// masked, a scale by mistake) and must take no register from the others: inlined, it takes up to 15 from
// them, and makes ptxas spill.
template <Output output, ColumnAccess access, class Policy, class In, class Out>
__device__ __noinline__ void softmax_of_any_magnitude(
    const SoftmaxParams<In, Out>& p, typename RowSoftmax<Accumulator<In>, Policy>::TempStorage& storage) {
  using Sum = Accumulator<In>;
  constexpr int threads = Policy::spec.threads;
  constexpr bool one_multiplier = access == ColumnAccess::vectors;
  RowSoftmax<Sum, Policy> softmax(storage, Opened{});
  const std::int64_t row =
      std::int64_t{ptx::cluster_index()} * Policy::spec.rows + threadIdx.x / Policy::spec.threads;
  // Blocks of several rows hold short ones.
  using Index = std::conditional_t<(Policy::spec.rows > 1), int, std::int64_t>;
  const Index first = Policy::spec.rows > 1 ? 0 : static_cast<Index>(ptx::cluster_cta_rank() * p.segment);
  const Index end = static_cast<Index>(p.x.columns - first < p.segment ? p.x.columns : first + p.segment);
  const Index mine = first + static_cast<int>(threadIdx.x) % threads;
  const In* const x = p.x.data + row * p.x.row_stride;
  const Sum shared = one_multiplier ? load_feature(p.multiplier, 0, Sum(1)) : Sum(1);
  const auto half_logit = [&](Index column) {
    if constexpr (one_multiplier) {
      return widen(x[column]) * shared * Sum(0.5);
    } else {
      // One after the other, from parameters that are read again: three loads in flight take eight registers
      // more.
      ptx::compiler_fence();
      const Sum multiplier = load_feature(p.multiplier, column, Sum(1));
      ptx::compiler_fence();
      const Sum addend = load_feature(p.addend, column, Sum(0));
      ptx::compiler_fence();
      Sum value = widen(x[column]);
      if constexpr (std::is_same_v<In, Sum>) {
        if (p.centers.any != nullptr && *p.centers.any != 0) value -= p.centers.center[column];
      }
      return fma(value, multiplier, addend) * Sum(0.5);
    }
  };

  const Sum unit = 2 * p.unit;
  SoftmaxState<Sum> part;
#pragma unroll 1
  for (Index column = mine; column < end; column += threads)
    part = SoftmaxStateMerge<Sum>{unit}(part, {half_logit(column), 1});
  const RowNormalizerByDifferences<Sum, output> normalize(softmax.merge_again(part, unit), unit);
  Out* const y = p.y.data + row * p.y.row_stride;
#pragma unroll 1
  for (Index column = mine; column < end; column += threads)
    y[column] = narrow<Out>(normalize(half_logit(column)));
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

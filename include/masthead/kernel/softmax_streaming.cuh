#pragma once
/// The row-wise kernel of rows of any length, read twice.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/ptx/grid_dependency.cuh"
#include "masthead/softmax/row_of_any_magnitude.cuh"
#include "masthead/softmax/row_softmax.cuh"
#include "masthead/softmax/softmax_params.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Calls visit(offset, values) for passes of threads * items columns of a segment, of any length, in
/// ascending order. The next pass is in flight while one is visited.
template <class In, class Out, int threads, int items, ColumnAccess access, class Visit>
__device__ void for_each_pass(const RowSegment<In, Out, threads, items, access>& segment,
                              const Visit& visit) {
  constexpr int pass = threads * items;
  Accumulator<In> values[items];
  if constexpr (access != ColumnAccess::elements) {
    auto raw = segment.fetch(0);
    for (std::int64_t c = 0; c < segment.columns(); c += pass) {
      const auto next = segment.fetch(c + pass);
      segment.finish(raw, c, values);
      visit(c, values);
      raw = next;
    }
  } else {
    for (std::int64_t c = 0; c < segment.columns(); c += pass) {
      segment.load(c, values);
      visit(c, values);
    }
  }
}

/// Reads each row twice, threads * items columns of a block at a time: rows of any length. Grid: a cluster
/// per row.
template <class In, class Out, class Policy, ColumnAccess access, Output output>
__global__ void __launch_bounds__(Policy::spec.threads,
                                  softmax_blocks_per_multiprocessor<In>(Policy::spec, access, false))
    softmax_streaming_kernel(const __grid_constant__ SoftmaxParams<In, Out> p) {
  constexpr SoftmaxSpec spec = Policy::spec;
  using Sum = Accumulator<In>;
  using Softmax = RowSoftmax<Sum, Policy>;
  __shared__ typename Softmax::TempStorage storage;

  auto segment = row_segment<spec.threads, spec.items, access>(p, std::int64_t{ptx::cluster_index()});
  Softmax softmax(storage);
  ptx::grid_dependency_wait();
  segment.look_for_centers();
  const Sum scale = p.scale(p.template pending_multiplier<access>());
  // Sums of 32 passes are added up with what each addition rounds off: those of a row of 2^31 columns would
  // be rounded by more than a pass adds.
  constexpr int passes_of_sum = 32;
  SoftmaxState<Sum> part, total;
  Sum rounded_off = 0;
  const auto add_to_total = [&] {
    const Sum before = total.max;
    total.max = larger(before, part.max);
    const Sum factor = exp2_of(before - total.shift()), sum = part.sum * exp2_of(part.max - total.shift());
    const Sum old = total.sum * factor;
    total.sum = old + sum;
    rounded_off = rounded_off * factor + (sum - (total.sum - old));
    part = {};
  };
  int passes = 0;
  for_each_pass(segment, [&](std::int64_t c, Sum(&x)[Policy::spec.items]) {
    Softmax::template accumulate<false, decltype(segment)::vector, decltype(segment)::whole>(
        part, x, scale, [&](int i) { return segment.inside(c, i); });
    if (++passes % passes_of_sum == 0) add_to_total();
  });
  add_to_total();
  total.sum += rounded_off;
  ptx::grid_dependency_trigger();
  const SoftmaxState<Sum> merged = softmax.merge(total);
  if (!allows_rounded_shifts(merged)) return softmax_of_any_magnitude<output, access, Policy>(p, storage);
  const RowNormalizer<Sum, output> normalize(merged);
  for_each_pass(segment, [&](std::int64_t c, Sum(&x)[Policy::spec.items]) {
    for (Sum& value : x) value = normalize(value, scale);
    segment.store(c, x);
  });
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

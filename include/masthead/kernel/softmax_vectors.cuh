#pragma once
/// The row-wise kernel of rows that are read in whole vectors and kept as they are in memory.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/ptx/grid_dependency.cuh"
#include "masthead/softmax/extremes.cuh"
#include "masthead/softmax/row_of_any_magnitude.cuh"
#include "masthead/softmax/row_softmax.cuh"
#include "masthead/softmax/softmax_params.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Reads each row once and holds x as it is in memory: in registers, then spec.shared_items per thread in
/// dynamic shared memory. Grid: a cluster per row, or a block per spec.rows rows; a block takes at most
/// threads * (items + shared_items) columns.
template <class In, class Out, class Policy, Output output>
__global__ void __launch_bounds__(Policy::spec.block_threads(),
                                  softmax_blocks_per_multiprocessor<In>(Policy::spec, ColumnAccess::vectors,
                                                                        true))
    softmax_vectors_kernel(const __grid_constant__ SoftmaxParams<In, Out> p) {
  constexpr SoftmaxSpec spec = Policy::spec;
  using Sum = Accumulator<In>;
  using Softmax = RowSoftmax<Sum, Policy>;
  using Segment = RowSegment<In, Out, spec.threads, spec.items, ColumnAccess::vectors>;
  using Vector = typename Segment::Vector;
  constexpr int vector = Segment::vector, vectors = spec.items / vector, more = spec.shared_items / vector;
  constexpr int beyond = spec.threads * spec.items;  // columns in registers
  __shared__ typename Softmax::TempStorage storage;
  extern __shared__ uint4 shared_vectors[];  // (more, threads)
  Vector* const shared = reinterpret_cast<Vector*>(shared_vectors) + threadIdx.x;

  const std::int64_t row = std::int64_t{ptx::cluster_index()} * spec.rows + threadIdx.x / spec.threads;
  const Segment segment = row_segment<spec.threads, spec.items, ColumnAccess::vectors>(p, row);
  Softmax softmax(storage);
  ptx::grid_dependency_wait();
  if (row >= p.x.rows) return;  // a whole warp with a row of its own: no barrier is left waiting
  const PendingElement multiplier = p.template pending_multiplier<ColumnAccess::vectors>();
  auto raw = segment.template fetch<spec.past_l1>(0);
  if constexpr (more > 0) {
#pragma unroll
    for (int v = 0; v < more; ++v) segment.copy(beyond, v, shared + v * spec.threads);
    ptx::cp_async_commit();
  }
  ptx::grid_dependency_trigger();
  const Sum scale = p.scale(multiplier);

  Extremes<In> extremes;
#pragma unroll
  for (int v = 0; v < vectors; ++v) {
    if (segment.inside(0, v * vector)) extremes.add(raw.vectors[v].element);
  }
  SoftmaxState<Sum> part{extremes.maximum(scale), 0};
  Sum values[vector];
#pragma unroll
  for (int v = 0; v < vectors; ++v) {
    Segment::widen_vector(raw.vectors[v], values);
    Softmax::add(part, values, scale, segment.inside(0, v * vector));
  }
  if constexpr (more > 0) {
    ptx::cp_async_wait<0>();  // each thread reads what it copied itself
#pragma unroll 1
    for (int v = 0; v < more; v += 2) {
      Sum pair[2 * vector];
#pragma unroll
      for (int i = 0; i < 2; ++i) Segment::widen_vector(shared[(v + i) * spec.threads], &pair[i * vector]);
      Softmax::template accumulate<false, vector>(
          part, pair, scale, [&](int i) { return segment.inside(beyond, v * vector + i); });
    }
  }
  const SoftmaxState<Sum> merged = softmax.merge(part);
  if (!allows_rounded_shifts(merged))
    return softmax_of_any_magnitude<output, ColumnAccess::vectors, Policy>(p, storage);
  const RowNormalizer<Sum, output> normalize(merged);
#pragma unroll
  for (int v = 0; v < vectors; ++v) {
    Segment::widen_vector(p.unknown(raw.vectors[v]), values);
    for (Sum& value : values) value = normalize(value, scale);
    segment.store_vector(0, v, values);
  }
  if constexpr (more > 0) {
#pragma unroll 2
    for (int v = 0; v < more; ++v) {
      Segment::widen_vector(shared[v * spec.threads], values);
      for (Sum& value : values) value = normalize(value, scale);
      segment.store_vector(beyond, v, values);
    }
  }
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

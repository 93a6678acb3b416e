#pragma once
/// The row-wise kernels: an affine of each column, then softmax or log-softmax.

#include <cstdint>

#include "masthead/kernel/row_segment.cuh"
#include "masthead/ptx/grid_dependency.cuh"
#include "masthead/softmax/extremes.cuh"
#include "masthead/softmax/row_softmax.cuh"
#include "masthead/tile/raster.hpp"

namespace masthead::inline v0 {

template <class In, class Out>
struct SoftmaxParams {
  using Sum = Accumulator<In>;

  Matrix<const In> x;      // (rows, columns)
  Matrix<Out> y;           // (rows, columns); may be x
  ConstVector multiplier;  // (1) or (columns); absent: 1
  ConstVector addend;      // (columns), beside a multiplier of as many; absent: 0
  Sum unit;                // times multiplier * x + addend is in log2 units
  std::int64_t
      segment;  // columns a block of the cluster takes: a multiple of 8, a whole vector of every dtype

  unsigned zero = 0;  // which the compiler does not know

  /// A vector of 16-bit elements unchanged, and nothing the compiler could have widened before: it would keep
  /// what it widened, in twice the registers.
  template <class Vector>
  __device__ Vector unknown(Vector vector) const {
    if constexpr (sizeof(In) == 2) {
      unsigned words[sizeof(vector) / 4];
      memcpy(words, &vector, sizeof(vector));
      for (unsigned& word : words) word ^= zero;
      memcpy(&vector, words, sizeof(vector));
    }
    return vector;
  }

  /// The multiplier that all columns share, on its way: loads of x that follow do not wait for it. One that
  /// differs by column is applied by RowSegment.
  template <ColumnAccess access>
  __device__ PendingElement pending_multiplier() const {
    if constexpr (access == ColumnAccess::affine_vectors) return {};
    return PendingElement::load(multiplier.size == 1 && addend.size == 0 ? multiplier : ConstVector{}, 0);
  }

  /// Takes what RowSegment loads to log2 units.
  __device__ Sum scale(const PendingElement& shared) const {
    return unit * static_cast<Sum>(shared.value(1.0));
  }
};

/// The part of row `row` that this block of the cluster takes.
template <int threads, int items, ColumnAccess access, class In, class Out>
__device__ RowSegment<In, Out, threads, items, access> row_segment(const SoftmaxParams<In, Out>& p,
                                                                   std::int64_t row) {
  const std::int64_t first = ptx::cluster_rank() * p.segment;
  const std::int64_t left = p.x.columns - first;
  return {p.x.data + row * p.x.row_stride,
          p.y.data + row * p.y.row_stride,
          p.multiplier,
          p.addend,
          first,
          left < p.segment ? (left > 0 ? left : 0) : p.segment};
}

/// Whether rows of T stay in registers, and beyond them in shared memory, as they are in memory: half the
/// registers for 16-bit elements. Exponentials are taken twice, which for doubles costs too much.
template <class T>
constexpr bool softmax_holds_vectors(ColumnAccess access) {
  return access == ColumnAccess::vectors && sizeof(T) < 8;
}

/// Blocks that share a multiprocessor, so that some load while others compute or store: as many as leave each
/// thread the registers it needs. Columns read one by one and exponentials of doubles take more.
template <class T>
constexpr int softmax_blocks_per_multiprocessor(const SoftmaxSpec& spec, ColumnAccess access,
                                                bool holds_vectors) {
  using Sum = Accumulator<T>;
  const bool plain = access != ColumnAccess::elements && sizeof(Sum) == 4;
  const int item_bytes = static_cast<int>(holds_vectors ? sizeof(T) : sizeof(Sum));
  // Multipliers and addends that are under way beside x: of many columns, or of vectors of many.
  const bool many = spec.items >= 32 ? spec.threads <= 256 : sizeof(T) == 2;
  const int beside = access == ColumnAccess::affine_vectors && many ? 16 : 0;
  const int registers = spec.items * item_bytes / 4 + (plain ? 28 : 64) + beside;
  const int most = 2048 / spec.block_threads() < 32 ? 2048 / spec.block_threads() : 32;  // that fit at all
  const int blocks = 65536 / registers / spec.block_threads();
  return blocks > most ? most : blocks > 0 ? blocks : 1;
}

/// Reads each row once. Grid: a cluster a row, or a block for spec.rows rows; a block takes at most
/// threads * items columns.
template <class In, class Out, class Policy, ColumnAccess access, Output output>
__global__ void __launch_bounds__(Policy::spec.block_threads(),
                                  softmax_blocks_per_multiprocessor<In>(Policy::spec, access, false))
    softmax_kernel(const __grid_constant__ SoftmaxParams<In, Out> p) {
  constexpr SoftmaxSpec spec = Policy::spec;
  using Sum = Accumulator<In>;
  using Softmax = RowSoftmax<Sum, Policy>;
  __shared__ typename Softmax::TempStorage storage;

  // Addresses and the cluster's barrier come before the wait: the previous kernel's end hides them.
  const std::int64_t row = std::int64_t{ptx::cluster_index()} * spec.rows + threadIdx.x / spec.threads;
  const auto segment = row_segment<spec.threads, spec.items, access>(p, row);
  Softmax softmax(storage);
  ptx::grid_dependency_wait();
  if (row >= p.x.rows) return;  // a whole warp with a row of its own: no barrier is left waiting
  const PendingElement multiplier = p.template pending_multiplier<access>();
  Sum values[spec.items];
  segment.load(0, values);
  ptx::grid_dependency_trigger();
  const Sum scale = p.scale(multiplier);
  softmax.template apply<output, segment.group, segment.whole>(values, scale,
                                                               [&](int i) { return segment.inside(0, i); });
  segment.store(0, values);
}

/// The same with x as it is in memory, in registers and then in spec.shared_items of dynamic shared memory; a
/// block takes at most threads * (items + shared_items) columns.
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
  constexpr int group = Segment::group, vectors = spec.items / group, more = spec.shared_items / group;
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
    if (segment.inside(0, v * group)) extremes.add(raw.vectors[v].element);
  }
  OnlineSoftmax<Sum> part{extremes.maximum(scale), 0};
  Sum values[group];
#pragma unroll
  for (int v = 0; v < vectors; ++v) {
    Segment::widen_vector(raw.vectors[v], values);
    Softmax::add(part, values, scale, segment.inside(0, v * group));
  }
  if constexpr (more > 0) {
    ptx::cp_async_wait<0>();  // each thread reads what it copied itself
#pragma unroll 1
    for (int v = 0; v < more; v += 2) {
      Sum pair[2 * group];
#pragma unroll
      for (int i = 0; i < 2; ++i) Segment::widen_vector(shared[(v + i) * spec.threads], &pair[i * group]);
      Softmax::template accumulate<false, group>(
          part, pair, scale, [&](int i) { return segment.inside(beyond, v * group + i); });
    }
  }
  const RowNormaliser<Sum, output> normalise(softmax.merge(part));
#pragma unroll
  for (int v = 0; v < vectors; ++v) {
    Segment::widen_vector(p.unknown(raw.vectors[v]), values);
    for (Sum& value : values) value = normalise(value, scale);
    segment.store_vector(0, v, values);
  }
  if constexpr (more > 0) {
#pragma unroll 2
    for (int v = 0; v < more; ++v) {
      Segment::widen_vector(shared[v * spec.threads], values);
      for (Sum& value : values) value = normalise(value, scale);
      segment.store_vector(beyond, v, values);
    }
  }
}

/// Calls visit(offset, values) for chunks of threads * items columns of a segment, of any length, in
/// ascending order. The next chunk is under way while one is visited.
template <class In, class Out, int threads, int items, ColumnAccess access, class Visit>
__device__ void for_each_chunk(const RowSegment<In, Out, threads, items, access>& segment,
                               const Visit& visit) {
  constexpr int chunk = threads * items;
  Accumulator<In> values[items];
  if constexpr (access != ColumnAccess::elements) {
    auto raw = segment.fetch(0);
    for (std::int64_t c = 0; c < segment.columns(); c += chunk) {
      const auto next = segment.fetch(c + chunk);
      segment.finish(raw, c, values);
      visit(c, values);
      raw = next;
    }
  } else {
    for (std::int64_t c = 0; c < segment.columns(); c += chunk) {
      segment.load(c, values);
      visit(c, values);
    }
  }
}

/// Reads each row twice, threads * items columns of a block at a time: rows of any length. Grid: a cluster a
/// row.
template <class In, class Out, class Policy, ColumnAccess access, Output output>
__global__ void __launch_bounds__(Policy::spec.threads,
                                  softmax_blocks_per_multiprocessor<In>(Policy::spec, access, false))
    softmax_streaming_kernel(const __grid_constant__ SoftmaxParams<In, Out> p) {
  constexpr SoftmaxSpec spec = Policy::spec;
  using Sum = Accumulator<In>;
  using Softmax = RowSoftmax<Sum, Policy>;
  __shared__ typename Softmax::TempStorage storage;

  const auto segment = row_segment<spec.threads, spec.items, access>(p, std::int64_t{ptx::cluster_index()});
  Softmax softmax(storage);
  ptx::grid_dependency_wait();
  const Sum scale = p.scale(p.template pending_multiplier<access>());
  OnlineSoftmax<Sum> part;
  for_each_chunk(segment, [&](std::int64_t c, Sum(&x)[Policy::spec.items]) {
    Softmax::template accumulate<false, decltype(segment)::group, decltype(segment)::whole>(
        part, x, scale, [&](int i) { return segment.inside(c, i); });
  });
  ptx::grid_dependency_trigger();
  const RowNormaliser<Sum, output> normalise(softmax.merge(part));
  for_each_chunk(segment, [&](std::int64_t c, Sum(&x)[Policy::spec.items]) {
    for (Sum& value : x) value = normalise(value, scale);
    segment.store(c, x);
  });
}

}  // namespace masthead::inline v0

#pragma once
/// What the row-wise kernels share: parameters, a block's segment of a row, and how many blocks share a
/// multiprocessor.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/policy/limits.hpp"
#include "masthead/policy/softmax_policy.hpp"
#include "masthead/ptx/architecture.cuh"
#include "masthead/ptx/cluster.cuh"
#include "masthead/softmax/row_segment.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Parameters of the row-wise kernels.
template <class In, class Out>
struct SoftmaxParams {
  using Sum = Accumulator<In>;

  Matrix<const In> x;            // (rows, columns)
  Matrix<Out> y;                 // (rows, columns); may be x
  ConstVector multiplier;        // (1) or (columns); absent: 1
  ConstVector addend;            // (columns), beside a multiplier of as many; absent: 0
  ColumnCenters<Sum> centers{};  // (columns), beside an addend, subtracted from x first; absent: 0
  Sum unit;                      // times multiplier * x + addend is in log2 units
  std::int64_t
      segment;  // columns a block of the cluster takes: a multiple of 8, a whole vector of every dtype

  unsigned zero = 0;  // which the compiler does not know to be 0

  /// Returns a vector of 16-bit elements unchanged, as one that the compiler cannot have widened before: it
  /// would keep what it widened, in twice the registers.
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

  /// The multiplier that all columns share, in flight: loads of x that follow do not wait for it. One that
  /// differs by column is applied by RowSegment.
  template <ColumnAccess access>
  __device__ PendingElement pending_multiplier() const {
    if constexpr (access == ColumnAccess::affine_vectors) return {};
    return PendingElement::load(multiplier.size == 1 && addend.size == 0 ? multiplier : ConstVector{}, 0);
  }

  /// The factor that takes what RowSegment loads to log2 units.
  __device__ Sum scale(const PendingElement& shared) const {
    return unit * static_cast<Sum>(shared.value(1.0));
  }
};

/// The segment of row `row` that this block of the cluster takes.
template <int threads, int items, ColumnAccess access, class In, class Out>
__device__ RowSegment<In, Out, threads, items, access> row_segment(const SoftmaxParams<In, Out>& p,
                                                                   std::int64_t row) {
  const std::int64_t first = ptx::cluster_cta_rank() * p.segment;
  const std::int64_t left = p.x.columns - first;
  return {p.x.data + row * p.x.row_stride,
          p.y.data + row * p.y.row_stride,
          p.multiplier,
          p.addend,
          p.centers,
          first,
          left < p.segment ? (left > 0 ? left : 0) : p.segment};
}

/// Blocks that share a multiprocessor, so that some load while others compute or store: as many as leave each
/// thread the registers it needs, and as fit at all. Columns read one by one and exponentials of doubles take
/// more registers.
template <class T>
constexpr int softmax_blocks_per_multiprocessor(const SoftmaxSpec& spec, ColumnAccess access,
                                                bool holds_vectors) {
  using Sum = Accumulator<T>;
  const bool plain = access != ColumnAccess::elements && sizeof(Sum) == 4;
  const int item_bytes = static_cast<int>(holds_vectors ? sizeof(T) : sizeof(Sum));
  // Multipliers and addends that are in flight beside x: of many columns, or of vectors of many.
  const bool many = spec.items >= 32 ? spec.threads <= 256 : sizeof(T) == 2;
  // Few items leave too few registers for the call that a row of huge logits makes.
  const bool few = spec.items <= 8;
  const int beside = access != ColumnAccess::affine_vectors ? 0 : many ? 16 : few ? 4 : 0;
  const int registers = spec.items * item_bytes / 4 + (plain ? 28 : 64) + beside;
  const int by_threads = threads_per_multiprocessor(ptx::compiled_architecture) / spec.block_threads();
  const int by_blocks = blocks_per_multiprocessor(ptx::compiled_architecture);
  const int most = by_threads < by_blocks ? by_threads : by_blocks;
  const int blocks = 65536 / registers / spec.block_threads();
  return blocks > most ? most : blocks > 0 ? blocks : 1;
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

#pragma once
/// A block's segment of a row: global memory to registers and back, with an affine of each column on the way
/// in.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>
#include <type_traits>

#include "masthead/numeric/affine.hpp"
#include "masthead/numeric/feature.cuh"
#include "masthead/ptx/cp_async.cuh"
#include "masthead/ptx/load.cuh"
#include "masthead/tile/column_access.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Columns that a thread moves at once: 16 bytes of `In`.
template <class In>
inline constexpr int row_vector_items = 16 / static_cast<int>(sizeof(In));

/// A segment, consecutive columns of one row, over `threads` threads: thread t holds vectors t, t + threads,
/// ... of row_vector_items<In> columns, `items` columns at a time.
template <class In, class Out, int threads, int items, ColumnAccess access>
class RowSegment {
  using Sum = Accumulator<In>;
  static_assert(
      items % row_vector_items<In> == 0,
      "masthead::RowSegment: items must be whole 16-byte vectors of x: a multiple of 8 for 16-bit elements");
  template <class T>
  struct alignas(row_vector_items<In> * sizeof(T)) Packed {
    T element[row_vector_items<In>];
  };

 public:
  /// Adjacent values that a thread holds, and whether they lie in the segment together or not at all.
  static constexpr int vector = row_vector_items<In>;
  static constexpr bool whole = access != ColumnAccess::elements;
  /// Whether there may be centers: sums have them, which are not narrower than what they are computed in.
  static constexpr bool has_centers = access != ColumnAccess::vectors && std::is_same_v<In, Sum>;

  /// A vector of x as it is in memory.
  using Vector = Packed<In>;

  /// The segment of `columns` columns from `first` on of the rows at `x_row` and `y_row`.
  __device__ RowSegment(const In* x_row, Out* y_row, const ConstVector& multiplier, const ConstVector& addend,
                        const ColumnCenters<Sum>& centers, std::int64_t first, std::int64_t columns)
      : multiplier_(multiplier),
        addend_(addend),
        centers_(centers),
        columns_(columns),
        first_(first + thread_column()) {
    // The thread's own first column: everything else is a constant away.
    x_ = x_row + first_;
    y_ = y_row + first_;
  }

  __device__ std::int64_t columns() const { return columns_; }

  /// Asks whether there are centers, which must be known before the first `load` or `finish`: when the kernel
  /// before has ended.
  __device__ void look_for_centers() {
    if constexpr (has_centers) {
      centered_ = centers_.any != nullptr && __ldcg(centers_.any) != 0;
    }
  }

  /// Whether value i, of those loaded from `offset` on, is a column of the segment.
  __device__ bool inside(std::int64_t offset, int i) const {
    return step(whole ? i / vector * vector : i) < columns_left(offset);
  }

  /// Loads the values of the segment's columns from `offset` on: x where one multiplier serves all columns,
  /// else multiplier * (x - center) + addend. Values outside the segment are unspecified.
  __device__ void load(std::int64_t offset, Sum (&values)[items]) const {
    if constexpr (access != ColumnAccess::elements) {
      finish<together>(fetch(offset), offset, values);
    } else {
      const In* x = x_ + offset;
#pragma unroll
      for (int i = 0; i < items; ++i) values[i] = inside(offset, i) ? widen(x[step(i)]) : Sum(0);
      if (multiplier_.size > 1 || addend_.size > 0) {
#pragma unroll
        for (int i = 0; i < items; ++i) {
          if (inside(offset, i)) values[i] = affine(values[i], first_ + offset + step(i));
        }
      }
    }
  }

  /// The vectors of x that `load` reads, as they are in memory.
  struct Raw {
    Vector vectors[items / vector];
  };

  /// The first half of `load`, which fetches x: all of a thread's loads are in flight before the first is
  /// waited for. What is read `past_l1` does not stay there.
  template <bool past_l1 = false>
  __device__ Raw fetch(std::int64_t offset) const requires(access != ColumnAccess::elements) {
    Raw raw;
    if constexpr (past_l1) {
      const std::uint64_t x = ptx::global_address(x_ + offset);
#pragma unroll
      for (int v = 0; v < items / vector; ++v) {
        if (inside(offset, v * vector))
          raw.vectors[v] = ptx::load_past_l1<Vector>(x + sizeof(In) * step(v * vector));
      }
    } else {
      const In* x = x_ + offset;
#pragma unroll
      for (int v = 0; v < items / vector; ++v) {
        if (inside(offset, v * vector))
          raw.vectors[v] = *reinterpret_cast<const Vector*>(x + step(v * vector));
      }
    }
    return raw;
  }

  /// The second half of `load`, which computes the values of what was fetched from `offset` on. Multipliers
  /// and addends of `together` vectors are in flight at a time.
  template <int together = 1>
  __device__ void finish(const Raw& raw, std::int64_t offset, Sum (&values)[items]) const {
#pragma unroll
    for (int v = 0; v < items / vector; ++v) widen_vector(raw.vectors[v], &values[v * vector]);
    if constexpr (access == ColumnAccess::affine_vectors) {
      // Apart from the affine, which most often is all there is: it then has the registers for itself.
      if (has_centers && centered_) {
#pragma unroll
        for (int i = 0; i < items; ++i) {
          if (inside(offset, i)) values[i] -= centers_.center[first_ + offset + step(i)];
        }
      }
      const auto transform = [&](int v) {
        affine_packed(first_ + offset + step(v * vector), &values[v * vector]);
      };
#pragma unroll
      for (int v = 0; v < items / vector; v += together) {
        if (inside(offset, (v + together - 1) * vector)) {
#pragma unroll
          for (int i = 0; i < together; ++i) transform(v + i);
        } else if constexpr (together > 1) {
#pragma unroll
          for (int i = 0; i < together - 1; ++i) {
            if (inside(offset, (v + i) * vector)) transform(v + i);
          }
        }
      }
    }
  }

  /// Copies vector v of the segment's columns from `offset` on to shared memory (ptx::cp_async), if it lies
  /// in the segment.
  __device__ void copy(std::int64_t offset, int v, Vector* shared) const {
    if (inside(offset, v * vector)) ptx::cp_async<16>(shared, x_ + offset + step(v * vector), 16);
  }

  /// Widens a vector of x to its values.
  __device__ static void widen_vector(const Vector& packed, Sum* values) {
    if constexpr (dtype_of<In> == Dtype::bf16) {
      // A float is a bfloat16 and 16 zeros: one instruction per value, where taking elements out first costs
      // two.
      unsigned words[vector / 2];
      memcpy(words, &packed, sizeof(packed));
#pragma unroll
      for (int i = 0; i < vector / 2; ++i) {
        values[2 * i] = __uint_as_float(words[i] << 16);
        values[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
      }
    } else {
#pragma unroll
      for (int i = 0; i < vector; ++i) values[i] = widen(packed.element[i]);
    }
  }

  /// Stores the values of the segment's columns from `offset` on, rounded to Out.
  __device__ void store(std::int64_t offset, const Sum (&values)[items]) const {
#pragma unroll
    for (int v = 0; v < items / vector; ++v) store_vector(offset, v, &values[v * vector]);
  }

  /// Stores vector v of the segment's columns from `offset` on, rounded to Out.
  __device__ void store_vector(std::int64_t offset, int v, const Sum* values) const {
    Out* y = y_ + offset;
    Packed<Out> packed;
#pragma unroll
    for (int i = 0; i < vector; ++i) packed.element[i] = narrow<Out>(values[i]);
    if constexpr (whole) {
      if (inside(offset, v * vector)) store_packed(y + step(v * vector), packed);
    } else {
#pragma unroll
      for (int i = 0; i < vector; ++i) {
        if (inside(offset, v * vector + i)) y[step(v * vector + i)] = packed.element[i];
      }
    }
  }

 private:
  __device__ static int thread_column() { return static_cast<int>(threadIdx.x) % threads * vector; }

  /// Vectors whose multipliers and addends are in flight together: as many as a thread of the block has
  /// registers for.
  static constexpr int together = items < 32 ? 1 : (threads <= 256 ? 16 : 8) / vector;

  /// Columns from a thread's first value to its value i.
  __device__ static constexpr int step(int i) { return i / vector * threads * vector + i % vector; }

  /// Columns from the thread's first to the end, as far as a load or store can reach.
  __device__ int columns_left(std::int64_t offset) const {
    const std::int64_t left = columns_ - offset;
    return (left < threads * items ? static_cast<int>(left) : threads * items) - thread_column();
  }

  __device__ Sum affine(Sum x, std::int64_t column) const {
    if (has_centers && centered_) x -= centers_.center[column];
    return fma(x, load_feature(multiplier_, column, Sum(1)), load_feature(addend_, column, Sum(0)));
  }

  /// Applies `affine` to the values of a vector, from `column` on.
  __device__ void affine_packed(std::int64_t column, Sum* values) const {
    constexpr int count = 16 / static_cast<int>(sizeof(Sum));
    struct alignas(16) Sums {
      Sum element[count];
    };
    const auto at = [column](const ConstVector& sums, int i) {
      return reinterpret_cast<const Sums*>(static_cast<const Sum*>(sums.data) + column)[i];
    };
#pragma unroll
    for (int i = 0; i < vector / count; ++i) {
      const Sums multiplier = at(multiplier_, i), addend = addend_.size > 0 ? at(addend_, i) : Sums{};
#pragma unroll
      for (int j = 0; j < count; ++j) {
        Sum& value = values[i * count + j];
        value = fma(value, multiplier.element[j], addend.element[j]);
      }
    }
  }

  // By intrinsic: the compiler takes an assignment of a whole vector apart into stores of its elements here.
  __device__ static void store_packed(Out* y, const Packed<Out>& packed) {
    constexpr int bytes = static_cast<int>(sizeof(packed));
    using Word = std::conditional_t<bytes >= 16, uint4, std::conditional_t<bytes == 8, uint2, unsigned>>;
    Word words[bytes / sizeof(Word)];  // two where float comes out of 16-bit
    memcpy(words, &packed, bytes);
#pragma unroll
    for (int i = 0; i < static_cast<int>(bytes / sizeof(Word)); ++i)
      __stwb(reinterpret_cast<Word*>(y) + i, words[i]);
  }

  const ConstVector& multiplier_;
  const ConstVector& addend_;
  const ColumnCenters<Sum>& centers_;
  bool centered_ = false;
  std::int64_t columns_;
  std::int64_t first_;  // the thread's, in the row
  const In* x_;
  Out* y_;
};

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

#pragma once
/// Mean and variance of columns over the rows of a block.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>
#include <type_traits>

#include "masthead/numeric/moments.hpp"
#include "masthead/ptx/reciprocal.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::inline MASTHEAD_ARCHITECTURES {

/// The moments of `columns` adjacent columns by a block of columns * lanes threads: thread t reads column t %
/// columns in rows t / columns, + lanes, + 2 * lanes, ...
///
///     __shared__ typename BlockColumnStatistics<float>::TempStorage storage;
///     Moments<float> m = BlockColumnStatistics<float>(storage)([&](std::int64_t row) { return z[row * n +
///     column]; }, rows);
///
/// All threads call it (with rows = 0 for a column outside the matrix); threads below `columns` get their
/// column's result, the others nothing of use. Rows are merged by Chan's rule in a fixed order, so results
/// are deterministic. The call synchronizes the block once; `TempStorage` may be used again after the block's
/// next barrier.
template <class T, int columns = 32, int lanes = 8>
class BlockColumnStatistics {
 public:
  static constexpr int block_threads = columns * lanes;

  struct TempStorage {
    std::int64_t count[lanes][columns];  // (lane, column)
    T mean[lanes][columns];              // (lane, column)
    T m2[lanes][columns];                // (lane, column)
  };

  __device__ explicit BlockColumnStatistics(TempStorage& storage) : storage_(storage) {}

  template <class Read>
  __device__ Moments<T> operator()(const Read& read, std::int64_t rows) {
    const int column = static_cast<int>(threadIdx.x) % columns,
              lane = static_cast<int>(threadIdx.x) / columns;
    // Distances from the first row are as small as the deviation: neither their sum over many rows nor that
    // of equal values, which is 0, loses what the mean of the values themselves would.
    const T origin = rows > 0 ? read(std::int64_t{0}) : T(0);
    Moments<T> total;
    for (std::int64_t first = lane; first < rows; first += lanes * held) {
      T values[held];
      int count = 0;
#pragma unroll
      for (int i = 0; i < held; ++i) {
        const std::int64_t row = first + i * lanes;
        values[i] = row < rows ? read(row) - origin : T(0);
        count += row < rows;
      }
      total = merge(total, detail::moments_of(values, count));
    }
    storage_.count[lane][column] = total.count;
    storage_.mean[lane][column] = total.mean;
    storage_.m2[lane][column] = total.m2;
    __syncthreads();
    if (lane == 0) {
      for (int other = 1; other < lanes; ++other) {
        total = merge(total, Moments<T>{storage_.count[other][column], storage_.mean[other][column],
                                        storage_.m2[other][column]});
      }
    }
    total.mean += origin;
    return total;
  }

 private:
  static constexpr int held = 16;  // rows in registers at a time: their moments need no running division

  TempStorage& storage_;
};

}  // namespace masthead::inline v0::inline MASTHEAD_ARCHITECTURES

namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// The sum of splits `first`, first + step, ... of a column's `splits`, `stride` apart, about the mean of
/// split 0, which is not empty; `count` becomes how many values they hold. Loads of several are in flight at
/// the same time.
template <class Sum>
__device__ MomentSum sum_of_splits(const Moments<Sum>* parts, std::int64_t stride, int splits, int first,
                                   int step, std::int64_t& count) {
  constexpr int in_flight = std::is_same_v<Sum, double> ? 1 : 8;
  MomentSum sum(parts->mean);
  count = 0;
#pragma unroll 1
  for (int start = first; start < splits; start += in_flight * step) {
    Moments<Sum> part[in_flight];
#pragma unroll
    for (int i = 0; i < in_flight; ++i) {
      const int split = start + i * step;  // no branch: it would wait for each
      part[i] = parts[(split < splits ? split : 0) * stride];
      if (split >= splits) part[i].count = 0, part[i].m2 = 0;
    }
#pragma unroll
    for (int i = 0; i < in_flight; ++i) {
      // An empty split has a mean that means nothing.
      const Sum mean = part[i].count == 0 ? parts->mean : part[i].mean;
      sum.add(static_cast<double>(part[i].count), mean, part[i].m2);
      count += part[i].count;
    }
  }
  return sum;
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

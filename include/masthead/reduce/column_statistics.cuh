#pragma once
/// Mean and variance of columns over a block's rows.

#include <cstdint>

#include "masthead/numeric/moments.hpp"

namespace masthead::inline v0 {

/// Moments of `columns` adjacent columns by a block of columns * lanes threads: thread t reads column t %
/// columns in rows t / columns, + lanes, + 2 * lanes, ...
///
///     __shared__ typename BlockColumnStatistics<float>::TempStorage storage;
///     Moments<float> m = BlockColumnStatistics<float>(storage)([&](std::int64_t row) { return z[row * n +
///     column]; }, rows);
///
/// All threads call (with rows = 0 for a column outside the matrix); threads below `columns` get their
/// column's result, the others nothing of use. Rows are merged by Chan's rule in a fixed order, so results
/// are deterministic. The call synchronises the block once; `TempStorage` may be used again after the block's
/// next barrier.
template <class T, int columns = 32, int lanes = 8>
class BlockColumnStatistics {
 public:
  static constexpr int block_threads = columns * lanes;

  struct TempStorage {
    std::int64_t count[lanes][columns];
    T mean[lanes][columns];
    T m2[lanes][columns];
  };

  __device__ explicit BlockColumnStatistics(TempStorage& storage) : storage_(storage) {}

  template <class Read>
  __device__ Moments<T> operator()(const Read& read, std::int64_t rows) {
    const int column = static_cast<int>(threadIdx.x) % columns,
              lane = static_cast<int>(threadIdx.x) / columns;
    Moments<T> total;
    for (std::int64_t first = lane; first < rows; first += lanes * held) {
      T values[held];
      int count = 0;
#pragma unroll
      for (int i = 0; i < held; ++i) {
        const std::int64_t row = first + i * lanes;
        values[i] = row < rows ? read(row) : T(0);
        count += row < rows;
      }
      total = merge(total, moments_of(values, count));
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
    return total;
  }

 private:
  static constexpr int held = 16;  // rows in registers at a time: their moments need no running division

  TempStorage& storage_;
};

}  // namespace masthead::inline v0

#pragma once
/// Batch statistics of a tile's columns, from wgmma accumulators.

#include <cstdint>

#include "masthead/numeric/moments.hpp"
#include "masthead/ptx/reciprocal.cuh"
#include "masthead/tile/sm90_layout.hpp"

namespace masthead::inline v0 {

/// Mean and sum of squared deviations of one column over rows whose count all columns share.
struct alignas(8) ColumnMoment {
  float mean = 0;
  float m2 = 0;
};

/// The weights of a merge of `own` values with `other` ones; Chan's rule as in `merge` of Moments.
struct MomentWeights {
  float mean;
  float m2;

  __device__ static MomentWeights of(int own, int other) {
    const float weight =
        other == 0 ? 0.0f : static_cast<float>(other) * ptx::reciprocal(static_cast<float>(own + other));
    return {weight, static_cast<float>(own) * weight};
  }
  __device__ ColumnMoment merge(const ColumnMoment& own, const ColumnMoment& other) const {
    const float delta = other.mean - own.mean;
    return {fmaf(delta, mean, own.mean), fmaf(delta * delta, m2, own.m2 + other.m2)};
  }
};

/// Moments of each column of a tile, merged in an order that depends on nothing: two rows of a thread, eight
/// lanes that share columns, then warps in pairs. All consumer threads call it.
template <Sm90Layout layout>
class ColumnMomentsSm90 {
  static constexpr int warps = layout.consumer_warps(), columns = layout.tile.n;
  static constexpr int held = 16;  // columns of a thread at a time: a chunk of 64 columns

 public:
  struct SharedStorage {
    alignas(16) ColumnMoment part[warps][columns];
  };

  /// Leaves the moments of the warp's rows in `storage`; `rows` (which may be less than 1) of the tile's rows
  /// are in the batch. Synchronises nothing.
  // Rows outside the batch are zeros, of weight 0.
  __device__ __forceinline__ static void reduce_warp(const float (&acc)[layout.accumulators()],
                                                     SharedStorage& storage, int rows, int warp, int lane) {
    const int warp_rows = rows_of_warp(rows, warp), row = lane / 4;
    int count = (row < warp_rows) + (row + 8 < warp_rows);
    const MomentWeights two = MomentWeights::of(row < warp_rows, row + 8 < warp_rows);
    MomentWeights weights[3];
#pragma unroll
    for (int step = 0; step < 3; ++step) {
      const int other = __shfl_xor_sync(0xffffffffu, count, 4 << step);
      weights[step] = MomentWeights::of(count, other);
      count += other;
    }
#pragma unroll
    for (int chunk = 0; chunk < columns / 64; ++chunk) {
      ColumnMoment moment[held];
#pragma unroll
      for (int i = 0; i < held; ++i) {
        const int j = chunk * 8 + i / 2;
        moment[i] =
            two.merge({acc[WgmmaFragment::index(j, 0, i % 2)]}, {acc[WgmmaFragment::index(j, 1, i % 2)]});
      }
      // A butterfly that halves the columns a lane carries: it ends with both columns of one block of 8.
#pragma unroll
      for (int step = 0; step < 3; ++step) {
        const bool upper = (lane >> (2 + step)) & 1;
#pragma unroll
        for (int i = 0; i < held / 2; ++i) {
          const int half = held / 2 >> step;
          if (i >= half) continue;  // a fixed bound: the moments must stay in registers
          const ColumnMoment sent = upper ? moment[i] : moment[i + half];
          const ColumnMoment kept = upper ? moment[i + half] : moment[i];
          moment[i] = weights[step].merge(kept, {__shfl_xor_sync(0xffffffffu, sent.mean, 4 << step),
                                                 __shfl_xor_sync(0xffffffffu, sent.m2, 4 << step)});
        }
      }
      const int block = chunk * 8 + (lane >> 2 & 1) * 4 + (lane >> 3 & 1) * 2 + (lane >> 4 & 1);
      *reinterpret_cast<float4*>(&storage.part[warp][block * 8 + 2 * (lane % 4)]) =
          make_float4(moment[0].mean, moment[0].m2, moment[1].mean, moment[1].m2);
    }
  }

  /// The tile's moments of columns `thread`, ... to `tile_moments`, of which `features` remain. Behind a
  /// barrier of the consumer threads after `reduce_warp`; `storage` may be written again behind another.
  __device__ __forceinline__ static void store(const SharedStorage& storage, int rows,
                                               Moments<float>* tile_moments, std::int64_t features,
                                               int thread) {
#pragma unroll
    for (int column = thread; column < columns; column += 32 * warps) {
      if (column >= features) return;
      const ColumnMoment total = merge_warps<0, warps>(storage, rows, column);
      tile_moments[column] = {rows < layout.tile.m ? rows : layout.tile.m, total.mean, total.m2};
    }
  }

 private:
  __device__ static int rows_of_warp(int rows, int warp, int count = 1) {
    const int left = rows - warp * WgmmaFragment::warp_rows, most = count * WgmmaFragment::warp_rows;
    return left < 0 ? 0 : left < most ? left : most;
  }

  template <int first, int count>
  __device__ __forceinline__ static ColumnMoment merge_warps(const SharedStorage& storage, int rows,
                                                             int column) {
    if constexpr (count == 1) {
      return storage.part[first][column];
    } else {
      constexpr int half = count / 2;
      const ColumnMoment low = merge_warps<first, half>(storage, rows, column);
      const ColumnMoment high = merge_warps<first + half, half>(storage, rows, column);
      return MomentWeights::of(rows_of_warp(rows, first, half), rows_of_warp(rows, first + half, half))
          .merge(low, high);
    }
  }
};

/// The moments of one column over a batch of `rows`: those of its tiles, merged in ascending order. `moments`
/// is the first of them, the others lie `stride` apart. Reads past L1: other SMs wrote them in this launch.
template <int tile_rows, int group>
__device__ __forceinline__ Moments<float> batch_moments(const Moments<float>* moments, std::int64_t stride,
                                                        std::int64_t rows) {
  static_assert(sizeof(Moments<float>) == 16 && alignof(Moments<float>) == 8);
  ColumnMoment total;
#pragma unroll 1
  for (std::int64_t start = 0; start < rows; start += group * tile_rows, moments += group * stride) {
    float2 part[group];
#pragma unroll
    for (int i = 0; i < group; ++i) {
      if (start + i * tile_rows < rows) {
        part[i] = __ldcg(reinterpret_cast<const float2*>(moments + i * stride) + 1);
      }
    }
#pragma unroll
    for (int i = 0; i < group; ++i) {
      const std::int64_t before = start + i * tile_rows, left = rows - before;
      if (left <= 0) continue;
      const ColumnMoment tile{part[i].x, part[i].y};
      const int count = left < tile_rows ? static_cast<int>(left) : tile_rows;
      total = before == 0 ? tile : MomentWeights::of(static_cast<int>(before), count).merge(total, tile);
    }
  }
  return {rows, total.mean, total.m2};
}

}  // namespace masthead::inline v0

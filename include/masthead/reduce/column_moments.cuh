#pragma once
/// Batch statistics of a tile's columns, from wgmma accumulators.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>
#include <type_traits>

#include "masthead/numeric/moments.hpp"
#include "masthead/policy/wgmma.hpp"
#include "masthead/ptx/reciprocal.cuh"
#include "masthead/reduce/warp.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// The weights of a merge of `own` values with `other` ones, by Chan's rule as in `merge` of Moments
/// (numeric/moments.hpp).
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

/// The moments of each column of a tile, merged in an order that depends on nothing: the two rows of a
/// thread, the eight lanes that share columns, then warps in pairs. All consumer threads call it.
template <Sm90Layout layout>
class ColumnMomentsSm90 {
  static constexpr int warps = layout.consumer_warps(), columns = layout.tile.n;
  static constexpr int held = 16;  // columns a thread merges at a time: those it has of a column group

 public:
  struct SharedStorage {
    alignas(16) ColumnMoment part[warps][columns];  // (warp, tile_n)
  };

  /// Leaves the moments of the warp's rows in `storage`; `rows` (which may be less than 1) of the tile's rows
  /// are in the batch. Synchronizes nothing.
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
    for (int group = 0; group < columns / 64; ++group) {
      ColumnMoment moment[held];
#pragma unroll
      for (int i = 0; i < held; ++i) {
        const int j = group * 8 + i / 2;
        moment[i] =
            two.merge({acc[WgmmaFragment::slot(j, 0, i % 2)]}, {acc[WgmmaFragment::slot(j, 1, i % 2)]});
      }
      // A lane ends with both columns of one block of 8.
      butterfly<2, 3>(moment, lane, [&](int step, const ColumnMoment& kept, const ColumnMoment& sent) {
        return weights[step].merge(kept, {__shfl_xor_sync(0xffffffffu, sent.mean, 4 << step),
                                          __shfl_xor_sync(0xffffffffu, sent.m2, 4 << step)});
      });
      const int block = group * 8 + (lane >> 2 & 1) * 4 + (lane >> 3 & 1) * 2 + (lane >> 4 & 1);
      *reinterpret_cast<float4*>(&storage.part[warp][block * 8 + 2 * (lane % 4)]) =
          make_float4(moment[0].mean, moment[0].m2, moment[1].mean, moment[1].m2);
    }
  }

  /// Writes the tile's moments to `tile_moments`, for every consumer thread from column `thread` on, as far
  /// as `features` columns remain; with their count (Moments<float>) or without (ColumnMoment). All consumer
  /// threads call it, behind a barrier of theirs after `reduce_warp`; `storage` may be written again behind
  /// another.
  template <class Element>
  __device__ __forceinline__ static void store(const SharedStorage& storage, int rows, Element* tile_moments,
                                               std::int64_t features, int thread) {
#pragma unroll
    for (int column = thread; column < columns; column += 32 * warps) {
      if (column >= features) return;
      const ColumnMoment total = merge_warps<0, warps>(storage, rows, column);
      if constexpr (std::is_same_v<Element, ColumnMoment>) {
        tile_moments[column] = total;
      } else {
        tile_moments[column] = {rows < layout.tile.m ? rows : layout.tile.m, total.mean, total.m2};
      }
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

/// The moments of `columns` columns over a batch of `rows` of a resident grid, from those of their tiles.
/// `tiles[c]` is that of the first tile for column c, the others lie `stride` apart; those of `in_flight`
/// tiles are in flight at the same time. Reads past L1: other SMs wrote them in this launch.
template <int tile_rows, int in_flight, int columns>
__device__ __forceinline__ void batch_moments(const ColumnMoment* (&tiles)[columns], std::int64_t stride,
                                              int rows, Moments<double> (&total)[columns]) {
  MomentSum sum[columns];
#pragma unroll 1
  for (int start = 0; start < rows; start += in_flight * tile_rows) {
    float2 part[in_flight][columns];
#pragma unroll
    for (int i = 0; i < in_flight; ++i) {
#pragma unroll
      for (int c = 0; c < columns; ++c) {
        if (start + i * tile_rows < rows) {
          part[i][c] = __ldcg(reinterpret_cast<const float2*>(tiles[c]));
          tiles[c] += stride;
        }
      }
    }
#pragma unroll
    for (int i = 0; i < in_flight; ++i) {
      const int before = start + i * tile_rows, left = rows - before;
      if (left <= 0) continue;
      const double count = left < tile_rows ? left : tile_rows;
#pragma unroll
      for (int c = 0; c < columns; ++c) {
        if (before == 0) sum[c] = MomentSum(part[i][c].x);
        sum[c].add(count, part[i][c].x, part[i][c].y);
      }
    }
  }
  // No division: it is a call, which spills what the caller holds. One Newton step gives 44 bits.
  const double near = ptx::reciprocal(static_cast<float>(rows)), inverse = near * (2 - rows * near);
#pragma unroll
  for (int c = 0; c < columns; ++c) total[c] = sum[c].total(rows, inverse);
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

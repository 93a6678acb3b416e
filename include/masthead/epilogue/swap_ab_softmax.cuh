#pragma once
/// The exact softmax of rows that one cluster of the swap-AB engine covers.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/epilogue/swap_ab.cuh"
#include "masthead/ptx/cluster.cuh"
#include "masthead/ptx/reciprocal.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Merges `count` (a power of two) softmax partials of a row, part(i) for each. The sum is a binary tree over
/// the bits of i, in ascending order.
template <int count, class Part>
__device__ __forceinline__ SoftmaxPartial merge_partials(const Part& part) {
  SoftmaxPartial parts[count];
#pragma unroll
  for (int i = 0; i < count; ++i) parts[i] = part(i);
  float max = parts[0].max;
#pragma unroll
  for (int i = 1; i < count; ++i) max = larger(max, parts[i].max);
  const float shift = finite_shift(max);
  float sums[count];
#pragma unroll
  for (int i = 0; i < count; ++i) sums[i] = parts[i].sum * exp4_flushed(parts[i].max - shift);
#pragma unroll
  for (int distance = 1; distance < count; distance *= 2) {
#pragma unroll
    for (int i = 0; i < count; i += 2 * distance) sums[i] += sums[i + distance];
  }
  return {max, sums[0]};
}

/// Merges the softmax partials of the block's warps, in storage.warp_partials, into the cluster's totals, in
/// storage.totals as (shift, 1 / sum). All consumer threads call it; it synchronizes them.
///
/// A row's sum is a binary tree over the bits of the partials' index in the row, in ascending order: whatever
/// the tile, it has the same bits.
template <Sm90SwapAbLayout layout>
__device__ __forceinline__ void exchange_partials(const BlockSwapAbSm90<layout>& block) {
  auto& storage = block.storage;
  const int thread = static_cast<int>(threadIdx.x);
  constexpr int row_pairs = layout.tile.m / 2, cta_step = layout.consumer_threads() / row_pairs;
  __barrier_sync_count(1, layout.consumer_threads());
  // Two rows per store: what a store costs does not depend on its size.
  const int row = thread % row_pairs * 2;
  if (thread / row_pairs < block.n_blocks) {
    const auto of_row = [&](int r) {
      return merge_partials<layout.consumer_warps()>(
          [&](int warp) { return storage.warp_partials[warp][r]; });
    };
    const SoftmaxPartial first = of_row(row), second = of_row(row + 1);
    const float values[4] = {first.max, first.sum, second.max, second.sum};
    // st.async is an illegal instruction outside a cluster.
    if (block.n_blocks == 1) {
      storage.cta_partials[0][row] = first;
      storage.cta_partials[0][row + 1] = second;
    }
#pragma unroll 1
    for (int cta = thread / row_pairs; cta < block.n_blocks && block.n_blocks > 1; cta += cta_step) {
      ptx::cluster_store(&storage.cta_partials[block.n_block][row].max, values, &storage.exchange, cta);
    }
  }
  if (block.n_blocks > 1) {
    ptx::cluster_barrier_wait(&storage.exchange);
  } else {
    __barrier_sync_count(1, layout.consumer_threads());
  }

  constexpr int threads_per_row = layout.consumer_threads() / layout.tile.m < layout.max_ctas
                                      ? layout.consumer_threads() / layout.tile.m
                                      : layout.max_ctas;
  constexpr int own = layout.max_ctas / threads_per_row;
  if (thread < threads_per_row * layout.tile.m) {
    const int own_row = thread / threads_per_row, first = thread % threads_per_row * own;
    const SoftmaxPartial part = merge_partials<own>([&](int i) {
      return first + i < block.n_blocks ? storage.cta_partials[first + i][own_row] : SoftmaxPartial{};
    });
    float shift = part.max;
#pragma unroll
    for (int mask = 1; mask < threads_per_row; mask *= 2) {
      shift = larger(shift, __shfl_xor_sync(0xffffffffu, shift, mask));
    }
    shift = finite_shift(shift);
    float sum = part.sum * exp4_flushed(part.max - shift);
#pragma unroll
    for (int mask = 1; mask < threads_per_row; mask *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, mask);
    if (first == 0) storage.totals[own_row] = make_float2(shift, ptx::reciprocal(sum));
  }
  __barrier_sync_count(1, layout.consumer_threads());
}

/// acc, logits in log4 units, become probabilities: column parts of 16 features, each relative to an integer
/// max of its own, are summed over the block and the cluster, and scaled by powers of two. All consumer
/// threads call it.
template <Sm90SwapAbLayout layout>
__device__ __forceinline__ void softmax_over_cluster(const BlockSwapAbSm90<layout>& block,
                                                     float (&acc)[layout.accumulators()]) {
  using Epilogue = EpilogueSwapAbSm90<layout>;
  using Fragment = SwapAbFragment;
  constexpr int rows = Epilogue::rows;
  float maximum[rows], sum[rows];
#pragma unroll
  for (int i = 0; i < rows; ++i) maximum[i] = fmaxf(acc[Fragment::slot(i, 0)], acc[Fragment::slot(i, 1)]);
  Epilogue::reduce(maximum, block.lane, [](float a, float b) { return fmaxf(a, b); });
  float part_max[rows];  // of the warp's column part of each row
#pragma unroll
  for (int i = 0; i < Epilogue::owned_rows; ++i) maximum[i] = integer_max(maximum[i]);
#pragma unroll
  for (int i = 0; i < rows; ++i) part_max[i] = Epilogue::broadcast(maximum, block.lane, i);
#pragma unroll
  for (int i = 0; i < rows; ++i) {
    const LogitDistance distance(part_max[i]);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float& value = acc[Fragment::slot(i, half)];
      value = exp2_flushed(-distance(value));
    }
    sum[i] = acc[Fragment::slot(i, 0)] + acc[Fragment::slot(i, 1)];
  }
  Epilogue::reduce(sum, block.lane, [](float a, float b) { return a + b; });

  const int first = Fragment::owned(block.lane, rows);
  // With 4 rows per thread, lanes 16 to 31 end with what lanes 0 to 15 have.
  if (rows >= 8 || block.lane < 16) {
#pragma unroll
    for (int i = 0; i < Epilogue::owned_rows; ++i) {
      block.storage.warp_partials[block.warp][Fragment::at(block.lane, first + i, 0).row] = {maximum[i],
                                                                                             sum[i]};
    }
  }
  exchange_partials<layout>(block);
#pragma unroll
  for (int i = 0; i < rows; ++i) {
    const float2 total = block.storage.totals[Fragment::at(block.lane, i, 0).row];
    const float factor = exp4_flushed(part_max[i] - total.x) * total.y;
    acc[Fragment::slot(i, 0)] *= factor;
    acc[Fragment::slot(i, 1)] *= factor;
  }
}

/// Ends a tile with the softmax of the whole row, which is one cluster's.
template <class Policy_, class U>
struct SwapAbSoftmaxEnd {
  using Policy = Policy_;
  using Output = U;
  static constexpr Sm90SwapAbLayout layout = sm90_swap_ab_layout(Policy::spec);
  /// Bytes that each block of a cluster receives from each block per row.
  static constexpr int exchanged_bytes_per_row = sizeof(SoftmaxPartial);

  template <class Params>
  __device__ __forceinline__ static void finish(const BlockSwapAbSm90<layout>& block, const Params& p,
                                                float (&acc)[layout.accumulators()]) {
    softmax_over_cluster<layout>(block, acc);
    EpilogueSwapAbSm90<layout>::template store<false>(p.y, block.first_row(), block.feature(0), block.lane,
                                                      acc);
  }
};

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

#pragma once
/// The tile end of the swap-AB engine's two-pass path: quantized logits and softmax partials with the bits
/// that m128n256 gives, for another kernel to normalize.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include "masthead/epilogue/swap_ab.cuh"
#include "masthead/numeric/quantized_logit.hpp"
#include "masthead/tile/normalize_rows.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// `maximum`, for each of the thread's rows the largest of its logits, becomes the largest logit in the
/// cluster's columns. All consumer threads call it; it synchronizes them.
template <Sm90SwapAbLayout layout, int rows>
__device__ __forceinline__ void cluster_maximum(const BlockSwapAbSm90<layout>& block,
                                                float (&maximum)[rows]) {
  using Fragment = SwapAbFragment;
  using Epilogue = EpilogueSwapAbSm90<layout>;
  constexpr int ctas = softmax_part_columns / layout.tile.n;
  auto& storage = block.storage;
  Epilogue::reduce(maximum, block.lane, [](float a, float b) { return fmaxf(a, b); });
  const int first = Fragment::owned(block.lane, rows);
  if (rows >= 8 || block.lane < 16) {
#pragma unroll
    for (int i = 0; i < Epilogue::owned_rows; ++i) {
      storage.warp_partials[block.warp][Fragment::at(block.lane, first + i, 0).row].max = maximum[i];
    }
  }
  __barrier_sync_count(1, layout.consumer_threads());
  constexpr int row_pairs = layout.tile.m / 2;
  const int thread = static_cast<int>(threadIdx.x), row = thread % row_pairs * 2;
  const auto of_row = [&](int r) {
    float of_block = storage.warp_partials[0][r].max;
#pragma unroll
    for (int warp = 1; warp < layout.consumer_warps(); ++warp) {
      of_block = fmaxf(of_block, storage.warp_partials[warp][r].max);
    }
    return of_block;
  };
  const float values[2] = {of_row(row), of_row(row + 1)};
#pragma unroll 1
  for (int cta = thread / row_pairs; cta < ctas; cta += layout.consumer_threads() / row_pairs) {
    auto* of_cta = reinterpret_cast<float*>(storage.cta_partials[block.n_block % ctas]);
    ptx::cluster_store(of_cta + row, values, &storage.exchange, cta);
  }
  ptx::cluster_barrier_wait(&storage.exchange);
#pragma unroll
  for (int i = 0; i < rows; ++i) {
    const int of = Fragment::at(block.lane, i, 0).row;
    maximum[i] = reinterpret_cast<const float*>(storage.cta_partials[0])[of];
#pragma unroll
    for (int cta = 1; cta < ctas; ++cta) {
      maximum[i] = fmaxf(maximum[i], reinterpret_cast<const float*>(storage.cta_partials[cta])[of]);
    }
  }
}

/// Writes the softmax partials of each row for each of the block's column groups, with sums in the canonical
/// order: bits 0, 3, 4, 5, 1, 2 of the column. sum[i] is the thread's own, over bits 0 and 3. All consumer
/// threads call it; it synchronizes them.
template <Sm90SwapAbLayout layout, int rows>
__device__ __forceinline__ void publish_column_groups(const BlockSwapAbSm90<layout>& block,
                                                      const float (&sum)[rows], const float (&maximum)[rows],
                                                      SoftmaxPartial* partials, std::int64_t batch) {
  using Fragment = SwapAbFragment;
  auto& storage = block.storage;
  const int lane = block.lane;
  // (warp, bits 1 and 2 of the column, tile_m), over what was exchanged.
  auto* sums = reinterpret_cast<float*>(storage.warp_partials);
  static_assert(sizeof(storage.warp_partials) + sizeof(storage.cta_partials) >=
                layout.consumer_warps() * 4 * layout.tile.m * sizeof(float));
  __barrier_sync_count(1, layout.consumer_threads());
  if (lane / 4 % 2 == 0) {
#pragma unroll
    for (int i = 0; i < rows; ++i) {
      const int row = Fragment::at(lane, i, 0).row;
      sums[(block.warp * 4 + lane / 8) * layout.tile.m + row] = sum[i];
      if (block.warp == 0 && lane < 4) storage.totals[row].x = maximum[i];
    }
  }
  __barrier_sync_count(1, layout.consumer_threads());
  constexpr int column_groups = layout.tile.n / 64;
  for (int at = static_cast<int>(threadIdx.x); at < column_groups * layout.tile.m;
       at += layout.consumer_threads()) {
    const int row = at % layout.tile.m, group = at / layout.tile.m;
    const std::int64_t of = std::int64_t{block.m_block} * layout.tile.m + row;
    if (of >= batch) continue;
    float over_warps[4];
#pragma unroll
    for (int bits = 0; bits < 4; ++bits) {
      const auto of_warp = [&](int warp) {
        return sums[((group * 4 + warp) * 4 + bits) * layout.tile.m + row];
      };
      over_warps[bits] = (of_warp(0) + of_warp(1)) + (of_warp(2) + of_warp(3));
    }
    const float total = (over_warps[0] + over_warps[1]) + (over_warps[2] + over_warps[3]);
    __stcg(
        reinterpret_cast<float2*>(partials + (of * block.n_blocks + block.n_block) * column_groups + group),
        make_float2(storage.totals[row].x, total));
  }
}

/// acc, logits in log4 units, become quantized logits relative to the integer max of the cluster's columns,
/// as floats whose low 16 bits are stored; `partials` (batch, n_blocks * tile_n / 64) gets the softmax
/// partials of the column groups. All consumer threads call it; it synchronizes them.
template <Sm90SwapAbLayout layout, Dtype out>
__device__ __forceinline__ void quantize_over_cluster(const BlockSwapAbSm90<layout>& block,
                                                      SoftmaxPartial* partials, std::int64_t batch,
                                                      float (&acc)[layout.accumulators()]) {
  using Fragment = SwapAbFragment;
  constexpr int rows = layout.thread_rows();
  float maximum[rows], sum[rows];
#pragma unroll
  for (int i = 0; i < rows; ++i) {
    maximum[i] = fmaxf(acc[Fragment::slot(i, 0)], acc[Fragment::slot(i, 1)]);
  }
  cluster_maximum<layout>(block, maximum);
#pragma unroll
  for (int i = 0; i < rows; ++i) {
    maximum[i] = integer_max(maximum[i]);
    const LogitDistance distance(maximum[i]);
    float exponential[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float& value = acc[Fragment::slot(i, half)];
      value = distance(value);
      exponential[half] = exp2_flushed(-value);
      exponential[half] += __shfl_xor_sync(0xffffffffu, exponential[half], 4);
      value = __uint_as_float(quantized_logit_bits(QuantizedLogit<out>::encode(value)));
    }
    sum[i] = exponential[0] + exponential[1];
  }
  publish_column_groups<layout>(block, sum, maximum, partials, batch);
}

/// Ends a tile with quantized logits in y and softmax partials, for the normalize kernel.
template <class Policy_, class U>
struct SwapAbQuantizedEnd {
  using Policy = Policy_;
  using Output = U;
  static constexpr Sm90SwapAbLayout layout = sm90_swap_ab_layout(Policy::spec);
  /// Bytes that each block of a cluster receives from each block per row.
  static constexpr int exchanged_bytes_per_row = sizeof(float);

  template <class Params>
  __device__ __forceinline__ static void finish(const BlockSwapAbSm90<layout>& block, const Params& p,
                                                float (&acc)[layout.accumulators()]) {
    quantize_over_cluster<layout, dtype_of<U>>(block, p.partials, p.y.rows, acc);
    EpilogueSwapAbSm90<layout>::template store<true>(p.y, block.first_row(), block.feature(0), block.lane,
                                                     acc);
  }
};

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

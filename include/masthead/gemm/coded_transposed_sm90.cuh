#pragma once
/// Ending a tile of the transposed engine with codes and partials, the bits of which are those of the wide
/// policy: the row is finalised by another kernel.

#include "masthead/gemm/transposed_sm90.cuh"

namespace masthead::inline v0 {

/// Columns that share a reference, as in the tiles of the wide policy: those of a cluster.
inline constexpr int transposed_part_columns = 256;

/// The largest logit of each of the tile's rows in the cluster's columns, for the thread's rows. All consumer
/// threads call it; it synchronises them.
template <Sm90TransposedLayout layout, int rows>
__device__ __forceinline__ void cluster_maximum(const BlockTransposedSm90<layout>& block,
                                                float (&maximum)[rows]) {
  using Fragment = TransposedFragment;
  using Epilogue = EpilogueTransposedSm90<layout>;
  constexpr int ranks = transposed_part_columns / layout.tile.n;
  auto& storage = block.storage;
  Epilogue::reduce(maximum, block.lane, [](float a, float b) { return fmaxf(a, b); });
  const int first = Fragment::owned(block.lane, rows);
  if (rows >= 8 || block.lane < 16) {
#pragma unroll
    for (int i = 0; i < Epilogue::owned_rows; ++i) {
      storage.warp_parts[block.warp][Fragment::at(block.lane, first + i, 0).row].reference = maximum[i];
    }
  }
  __barrier_sync_count(1, layout.consumer_threads());
  constexpr int row_pairs = layout.tile.m / 2;
  const int thread = static_cast<int>(threadIdx.x), row = thread % row_pairs * 2;
  const auto of_row = [&](int r) {
    float of_block = storage.warp_parts[0][r].reference;
#pragma unroll
    for (int warp = 1; warp < layout.consumer_warps(); ++warp) {
      of_block = fmaxf(of_block, storage.warp_parts[warp][r].reference);
    }
    return of_block;
  };
  const float values[2] = {of_row(row), of_row(row + 1)};
#pragma unroll 1
  for (int rank = thread / row_pairs; rank < ranks; rank += layout.consumer_threads() / row_pairs) {
    auto* of_rank = reinterpret_cast<float*>(storage.rank_parts[block.rank % ranks]);
    ptx::cluster_store(of_rank + row, values, &storage.exchange, rank);
  }
  ptx::cluster_barrier_wait(&storage.exchange);
#pragma unroll
  for (int i = 0; i < rows; ++i) {
    const int of = Fragment::at(block.lane, i, 0).row;
    maximum[i] = reinterpret_cast<const float*>(storage.rank_parts[0])[of];
#pragma unroll
    for (int rank = 1; rank < ranks; ++rank) {
      maximum[i] = fmaxf(maximum[i], reinterpret_cast<const float*>(storage.rank_parts[rank])[of]);
    }
  }
}

/// Writes the sums of each row over the block's chunks of 64 columns, in the canonical order: bits 0, 3, 4,
/// 5, 1, 2 of the column. sum[i] is the thread's own, over bits 0 and 3. All consumer threads call it; it
/// synchronises them.
template <Sm90TransposedLayout layout, int rows>
__device__ __forceinline__ void publish_chunks(const BlockTransposedSm90<layout>& block,
                                               const float (&sum)[rows], const float (&reference)[rows],
                                               RowPartial* partials, std::int64_t batch) {
  using Fragment = TransposedFragment;
  auto& storage = block.storage;
  const int lane = block.lane;
  // (warp, bits 1 and 2 of the column, row): over what was exchanged.
  auto* sums = reinterpret_cast<float*>(storage.warp_parts);
  static_assert(sizeof(storage.warp_parts) + sizeof(storage.rank_parts) >=
                layout.consumer_warps() * 4 * layout.tile.m * sizeof(float));
  __barrier_sync_count(1, layout.consumer_threads());
  if (lane / 4 % 2 == 0) {
#pragma unroll
    for (int i = 0; i < rows; ++i) {
      const int row = Fragment::at(lane, i, 0).row;
      sums[(block.warp * 4 + lane / 8) * layout.tile.m + row] = sum[i];
      if (block.warp == 0 && lane < 4) storage.totals[row].x = reference[i];
    }
  }
  __barrier_sync_count(1, layout.consumer_threads());
  constexpr int chunks = layout.tile.n / 64;
  for (int at = static_cast<int>(threadIdx.x); at < chunks * layout.tile.m; at += layout.consumer_threads()) {
    const int row = at % layout.tile.m, chunk = at / layout.tile.m;
    const std::int64_t of = std::int64_t{block.group} * layout.tile.m + row;
    if (of >= batch) continue;
    float over_warps[4];
#pragma unroll
    for (int bits = 0; bits < 4; ++bits) {
      const auto of_warp = [&](int warp) {
        return sums[((chunk * 4 + warp) * 4 + bits) * layout.tile.m + row];
      };
      over_warps[bits] = (of_warp(0) + of_warp(1)) + (of_warp(2) + of_warp(3));
    }
    const float total = (over_warps[0] + over_warps[1]) + (over_warps[2] + over_warps[3]);
    __stcg(reinterpret_cast<float2*>(partials + (of * block.ranks + block.rank) * chunks + chunk),
           make_float2(storage.totals[row].x, total));
  }
}

/// acc (logits in log2 units) become codes of their distances from the cluster's reference, as floats whose
/// low 16 bits are stored; `partials` (batch, ranks * tile_n / 64) gets the sums. All consumer threads call
/// it; it synchronises them.
template <Sm90TransposedLayout layout, Dtype out>
__device__ __forceinline__ void code_over_cluster(const BlockTransposedSm90<layout>& block,
                                                  RowPartial* partials, std::int64_t batch,
                                                  float (&acc)[layout.accumulators()]) {
  using Fragment = TransposedFragment;
  constexpr int rows = layout.thread_rows();
  float reference[rows], sum[rows];
#pragma unroll
  for (int i = 0; i < rows; ++i) {
    reference[i] = fmaxf(acc[Fragment::index(i, 0)], acc[Fragment::index(i, 1)]);
  }
  cluster_maximum<layout>(block, reference);
#pragma unroll
  for (int i = 0; i < rows; ++i) {
    reference[i] = integer_reference(reference[i]);
    const float subtracted = finite_reference(reference[i]);
    float exponential[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float& value = acc[Fragment::index(i, half)];
      value = subtracted - value;
      exponential[half] = exp2_flushed(-value);
      exponential[half] += __shfl_xor_sync(0xffffffffu, exponential[half], 4);
      value = __uint_as_float(logit_code_bits(LogitCode<out>::encode(value)));
    }
    sum[i] = exponential[0] + exponential[1];
  }
  publish_chunks<layout>(block, sum, reference, partials, batch);
}

}  // namespace masthead::inline v0

#pragma once
/// The Hopper kernel for rows that fit one cluster: accumulators stay in registers while row statistics cross
/// the cluster through shared memory, and y is stored once, from exact logits.

#include "masthead/gemm/coded_transposed_sm90.cuh"
#include "masthead/kernel/roles_sm90.cuh"
#include "masthead/ptx/reciprocal.cuh"

namespace masthead::inline v0 {

/// What ends a tile.
enum class ClusterEnd : std::uint8_t {
  softmax,  ///< of the whole row, which is one cluster's
  codes,    ///< and partials, for the finalise kernel
  logits,   ///< in log2 units, or x W^T alone in training mode
};

template <class T, class U>
struct LinearSoftmaxClusterParams {
  CUtensorMap x;             // (batch, in_features), boxes of tile_m x slice_k
  CUtensorMap w;             // (out_features, in_features), boxes of tile_n x slice_k
  Matrix<U> y;               // (batch, out_features)
  Parameters<T> parameters;  // the vectors are read raw
  RowPartial* partials;      // (batch, tiles_n * tile_n / 64), for ClusterEnd::codes
  Mode mode;                 // training: sums without an affine
  int k_steps;
  int groups;   // ceil(batch / tile_m)
  int tiles_n;  // ceil(out_features / tile_n), in whole clusters
};

/// The merged statistics of `count` (a power of two) parts of a row; part(i) for each. The sum is a binary
/// tree over the bits of i, in ascending order.
template <int count, class Part>
__device__ __forceinline__ RowPartial merge_parts(const Part& part) {
  RowPartial parts[count];
#pragma unroll
  for (int i = 0; i < count; ++i) parts[i] = part(i);
  float reference = parts[0].reference;
#pragma unroll
  for (int i = 1; i < count; ++i) reference = larger(reference, parts[i].reference);
  const float subtracted = finite_reference(reference);
  float sums[count];
#pragma unroll
  for (int i = 0; i < count; ++i) sums[i] = parts[i].sum * exp2_flushed(parts[i].reference - subtracted);
#pragma unroll
  for (int distance = 1; distance < count; distance *= 2) {
#pragma unroll
    for (int i = 0; i < count; i += 2 * distance) sums[i] += sums[i + distance];
  }
  return {reference, sums[0]};
}

/// The parts of the block's warps, in storage.warp_parts, become the cluster's totals, in storage.totals as
/// (reference, 1 / sum). All consumer threads call it; it synchronises them.
///
/// A row's sum is a binary tree over the bits of the part's index in the row, in ascending order: whatever
/// the tile, it has the same bits.
template <Sm90TransposedLayout layout>
__device__ __forceinline__ void exchange_parts(const BlockTransposedSm90<layout>& block) {
  auto& storage = block.storage;
  const int thread = static_cast<int>(threadIdx.x);
  constexpr int row_pairs = layout.tile.m / 2, rank_step = layout.consumer_threads() / row_pairs;
  __barrier_sync_count(1, layout.consumer_threads());
  // Two rows a store: what a store costs does not depend on its size.
  const int row = thread % row_pairs * 2;
  if (thread / row_pairs < block.ranks) {
    const auto of_row = [&](int r) {
      return merge_parts<layout.consumer_warps()>([&](int warp) { return storage.warp_parts[warp][r]; });
    };
    const RowPartial first = of_row(row), second = of_row(row + 1);
    const float values[4] = {first.reference, first.sum, second.reference, second.sum};
    // st.async is an illegal instruction outside a cluster.
    if (block.ranks == 1) {
      storage.rank_parts[0][row] = first;
      storage.rank_parts[0][row + 1] = second;
    }
#pragma unroll 1
    for (int rank = thread / row_pairs; rank < block.ranks && block.ranks > 1; rank += rank_step) {
      ptx::cluster_store(&storage.rank_parts[block.rank][row].reference, values, &storage.exchange, rank);
    }
  }
  if (block.ranks > 1) {
    ptx::cluster_barrier_wait(&storage.exchange);
  } else {
    __barrier_sync_count(1, layout.consumer_threads());
  }

  constexpr int threads_a_row = layout.consumer_threads() / layout.tile.m < layout.max_ranks
                                    ? layout.consumer_threads() / layout.tile.m
                                    : layout.max_ranks;
  constexpr int own = layout.max_ranks / threads_a_row;
  if (thread < threads_a_row * layout.tile.m) {
    const int own_row = thread / threads_a_row, first = thread % threads_a_row * own;
    const RowPartial part = merge_parts<own>([&](int i) {
      return first + i < block.ranks ? storage.rank_parts[first + i][own_row] : RowPartial{};
    });
    float reference = part.reference;
#pragma unroll
    for (int mask = 1; mask < threads_a_row; mask *= 2) {
      reference = larger(reference, __shfl_xor_sync(0xffffffffu, reference, mask));
    }
    reference = finite_reference(reference);
    float sum = part.sum * exp2_flushed(part.reference - reference);
#pragma unroll
    for (int mask = 1; mask < threads_a_row; mask *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, mask);
    if (first == 0) storage.totals[own_row] = make_float2(reference, ptx::reciprocal(sum));
  }
  __barrier_sync_count(1, layout.consumer_threads());
}

/// acc (logits in log2 units) become probabilities: parts of 16 features, each relative to an integer of its
/// own, are summed over the block and the cluster, and scaled by powers of two. All consumer threads call it.
template <Sm90TransposedLayout layout>
__device__ __forceinline__ void softmax_over_cluster(const BlockTransposedSm90<layout>& block,
                                                     float (&acc)[layout.accumulators()]) {
  using Epilogue = EpilogueTransposedSm90<layout>;
  using Fragment = TransposedFragment;
  constexpr int rows = Epilogue::rows;
  float maximum[rows], sum[rows];
#pragma unroll
  for (int i = 0; i < rows; ++i) maximum[i] = fmaxf(acc[Fragment::index(i, 0)], acc[Fragment::index(i, 1)]);
  Epilogue::reduce(maximum, block.lane, [](float a, float b) { return fmaxf(a, b); });
  float reference[rows];  // of the warp's part of each row
#pragma unroll
  for (int i = 0; i < Epilogue::owned_rows; ++i) maximum[i] = integer_reference(maximum[i]);
#pragma unroll
  for (int i = 0; i < rows; ++i) reference[i] = Epilogue::broadcast(maximum, block.lane, i);
#pragma unroll
  for (int i = 0; i < rows; ++i) {
    const float subtracted = finite_reference(reference[i]);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float& value = acc[Fragment::index(i, half)];
      value = exp2_flushed(value - subtracted);
    }
    sum[i] = acc[Fragment::index(i, 0)] + acc[Fragment::index(i, 1)];
  }
  Epilogue::reduce(sum, block.lane, [](float a, float b) { return a + b; });

  const int first = Fragment::owned(block.lane, rows);
  // Of 4 rows a thread, lanes 16 to 31 end with what lanes 0 to 15 have.
  if (rows >= 8 || block.lane < 16) {
#pragma unroll
    for (int i = 0; i < Epilogue::owned_rows; ++i) {
      block.storage.warp_parts[block.warp][Fragment::at(block.lane, first + i, 0).row] = {maximum[i], sum[i]};
    }
  }
  exchange_parts<layout>(block);
#pragma unroll
  for (int i = 0; i < rows; ++i) {
    const float2 total = block.storage.totals[Fragment::at(block.lane, i, 0).row];
    const float factor = exp2_flushed(reference[i] - total.x) * total.y;
    acc[Fragment::index(i, 0)] *= factor;
    acc[Fragment::index(i, 1)] *= factor;
  }
}

/// Grid: groups * tiles_n blocks, in clusters of a row's (for a softmax, at most
/// Sm90TransposedLayout::max_ranks), of transposed_part_columns (for codes) or of one. Shared memory:
/// Policy::spec.shared_bytes().
template <class Policy, ClusterEnd end, class U>
__global__ void __launch_bounds__(Policy::spec.block_threads, 1) linear_softmax_cluster_sm90_kernel(
    const __grid_constant__ LinearSoftmaxClusterParams<DeviceElement<Policy::spec.dtype>, U> p) {
  constexpr Sm90TransposedLayout layout = Policy::spec.sm90_transposed();
  if constexpr (ptx::compiled_for_sm90a) {
    extern __shared__ __align__(16) unsigned char dynamic[];
    using Block = BlockTransposedSm90<layout>;
    using Epilogue = EpilogueTransposedSm90<layout>;
    constexpr int row_bytes = end == ClusterEnd::codes ? sizeof(float) : sizeof(RowPartial);
    const Block block(dynamic, p.x, p.w, p.tiles_n, p.groups,
                      ptx::cluster_size() * layout.tile.m * row_bytes);
    // At once: the next kernel's prologue costs this one nothing, and its wait covers this whole grid.
    ptx::grid_dependency_trigger();
    if (block.producer()) {
      block.load(p.x, p.w, p.k_steps, p.groups);
      __syncwarp();
    } else {
      ptx::grid_dependency_wait();
      if (threadIdx.x == 0) block.release();
      const auto affine = Epilogue::affine(p.parameters, p.mode, block.feature(0), block.lane);
      typename Block::Accumulators acc;
      block.multiply(p.k_steps, acc);
      Epilogue::apply_affine(acc, affine);
      if constexpr (end == ClusterEnd::softmax) {
        softmax_over_cluster<layout>(block, acc);
      } else if constexpr (end == ClusterEnd::codes) {
        code_over_cluster<layout, dtype_of<U>>(block, p.partials, p.y.rows, acc);
      }
      Epilogue::template store<end == ClusterEnd::codes>(p.y, std::int64_t{block.group} * layout.tile.m,
                                                         block.feature(0), block.lane, acc);
    }
  } else {
    not_compiled_for_sm90a();
  }
}

}  // namespace masthead::inline v0

#pragma once
/// The plan of a row-wise softmax: the one place that decides which of its kernels runs.

#include <cstdint>

#include "masthead/core/integer.hpp"
#include "masthead/policy/limits.hpp"
#include "masthead/policy/softmax_policy.hpp"
#include "masthead/tile/column_access.hpp"

namespace masthead::inline v0::detail {

/// How a kernel keeps a row between its statistics and its results.
enum class SoftmaxKernel : std::uint8_t {
  registers,  ///< as values, in registers
  vectors,    ///< as vectors of x, in registers and beyond them in shared memory
  streaming,  ///< not at all: it reads the row twice
};

/// Which kernels a policy is built with: those that hold a row, the one that streams it, or whichever it
/// needs.
enum class SoftmaxKernels : std::uint8_t { holding, streaming, both };

/// The plan of a row-wise softmax: what runs.
struct SoftmaxPlan {
  SoftmaxKernel kernel;
  int cluster;                   ///< blocks that share a row
  std::int64_t segment;          ///< columns of a block: a multiple of 8, a whole vector of every dtype
  std::int64_t blocks;           ///< of all the row's clusters; of the grid where one launch takes all rows
  std::int64_t rows_per_launch;  ///< rows that a launch takes at most: a whole number of blocks
  int block_threads;
  int shared_bytes;  ///< dynamic
};

/// Whether rows of elements of `bytes` bytes stay in registers, and beyond them in shared memory, as they are
/// in memory: half the registers for 16-bit elements. Exponentials are taken twice, which for doubles costs
/// too much.
constexpr bool softmax_holds_vectors(ColumnAccess access, int bytes) {
  return access == ColumnAccess::vectors && bytes < 8;
}

/// Blocks that share a row of `columns` at `block_columns` each: as few as hold it, so that the most clusters
/// run at a time; 1 where there are no clusters.
constexpr int softmax_cluster(std::int64_t columns, std::int64_t block_columns, int architecture) {
  if (architecture < 90) return 1;
  const std::int64_t blocks = (columns - 1) / block_columns + 1;
  return static_cast<int>(blocks < max_cluster ? blocks : max_cluster);
}

/// Blocks of a launch at most. More rows take several launches: ptx::cluster_index serves grids of fewer than
/// 2^24 blocks, and a grid has no more than 2^31 - 1. A launch of so many takes milliseconds.
inline constexpr std::int64_t max_softmax_blocks = static_cast<std::int64_t>(1) << 23;

/// The plan for x (rows, columns) of elements of `bytes` bytes with one policy.
constexpr SoftmaxPlan plan_softmax(const SoftmaxSpec& spec, SoftmaxKernels kernels, ColumnAccess access,
                                   int bytes, std::int64_t rows, std::int64_t columns, int architecture) {
  const bool vectors = softmax_holds_vectors(access, bytes);
  const std::int64_t block_columns = spec.block_columns(vectors && kernels != SoftmaxKernels::streaming);
  // A block of several rows holds short rows only; longer ones are streamed, one row per cluster.
  const int cluster =
      spec.rows > 1 && columns <= block_columns ? 1 : softmax_cluster(columns, block_columns, architecture);
  const std::int64_t segment = ceil_div(ceil_div(columns, cluster), 8) * 8;
  if (kernels != SoftmaxKernels::streaming && segment <= block_columns && (spec.rows == 1 || cluster == 1)) {
    return {vectors ? SoftmaxKernel::vectors : SoftmaxKernel::registers,
            cluster,
            segment,
            ceil_div(rows, spec.rows) * cluster,
            max_softmax_blocks / cluster * spec.rows,
            spec.block_threads(),
            vectors ? spec.threads * spec.shared_items * bytes : 0};
  }
  return {SoftmaxKernel::streaming,     cluster,      segment, rows * cluster,
          max_softmax_blocks / cluster, spec.threads, 0};
}

/// The index of the policy for a row; `vectors`: it is read in whole vectors, with one multiplier, and is not
/// of doubles. Depends on the row alone, never on the number of rows: a row's bits must not depend on its
/// batch.
template <int bytes>
constexpr int select_softmax_policy(std::int64_t columns, int architecture, bool vectors) {
  constexpr auto& policies = softmax_policies<bytes>;
  for (int i = 0; i < 5; ++i) {
    if (i == 4 && !vectors) continue;
    // Half a cluster of the fourth, then the fifth: 62 of 64 long rows, or more, are worked on at a time.
    const int most = i < 3 || architecture < 90 ? 1 : i == 3 && vectors ? max_cluster / 2 : max_cluster;
    if (columns <= most * policies[static_cast<std::size_t>(i)].block_columns(vectors)) return i;
  }
  return 5;
}

}  // namespace masthead::inline v0::detail

#pragma once
/// The last kernel of the overlapped path: the rows that the overlapped normalization left.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/epilogue/block_normalize.cuh"
#include "masthead/ptx/grid_dependency.cuh"
#include "masthead/tile/overlap_sections.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Normalizes the rows that are not overlapped, and what nobody claimed of those that are. Grid: a block for
/// every task of the rows that are not overlapped.
template <class Policy, class U>
__global__ void __launch_bounds__(normalize_threads)
    normalize_rest_sm90_kernel(const __grid_constant__ NormalizeSm90Params<U> p,
                               const OverlapSections overlap, const NormalizeTasks tasks,
                               const SectionProgress* progress) {
  using Normalizer = BlockNormalizerSm90<Policy, U>;
  __shared__ typename Normalizer::TempStorage storage;
  __shared__ unsigned claimed[OverlapSections::most];  // (section)
  ptx::grid_dependency_trigger();
  ptx::grid_dependency_wait();
  const int section = static_cast<int>(threadIdx.x);
  if (section < overlap.count()) claimed[section] = progress[section].claimed;
  unsigned index = blockIdx.x;
  // Last tasks first: of what the GEMM wrote last some is still in L2.
  const auto normalize = [&](std::int64_t first_row, unsigned rows) {
    const auto task = tasks.at(static_cast<int>(rows * tasks.blocks - 1 - index), static_cast<int>(rows));
    Normalizer::apply(p, first_row + task.row, std::int64_t{task.block} * tasks.columns, tasks.columns,
                      storage);
  };
  normalize(overlap.rows(), static_cast<unsigned>(p.y.rows - overlap.rows()));
  __syncthreads();
#pragma unroll 1
  for (int s = overlap.count() - 1; s >= 0; --s) {
    const auto rows = static_cast<unsigned>(overlap.rows_in(s));
    const unsigned all = rows * tasks.blocks, left = all - (::min)(all, claimed[s] * tasks.tasks_per_claim());
#pragma unroll 1
    for (; index < left; index += gridDim.x) {
      normalize(overlap.first_row(s), rows);
      __syncthreads();
    }
    index -= left;
  }
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

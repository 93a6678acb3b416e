#pragma once
/// The second pass of the two-pass path: y from quantized logits and softmax partials, in place.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/epilogue/block_normalize.cuh"
#include "masthead/ptx/grid_dependency.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Normalizes a block of columns of a row per block. Grid: the blocks of columns, row by row.
// A type parameter: nvcc 13.0 writes stubs that do not compile for kernels with a parameter of class type.
template <class Policy, class U>
__global__ void __launch_bounds__(normalize_threads)
    normalize_sm90_kernel(const __grid_constant__ NormalizeSm90Params<U> p) {
  using Normalizer = BlockNormalizerSm90<Policy, U>;
  __shared__ typename Normalizer::TempStorage storage;
  ptx::grid_dependency_trigger();
  ptx::grid_dependency_wait();
  const auto blocks = static_cast<unsigned>(normalize_blocks(p.y.columns));
  // Last rows first: the GEMM wrote them last, so they are still in L2.
  const unsigned index = gridDim.x - 1 - blockIdx.x;
  const bool last = index % blocks == blocks - 1;
  Normalizer::apply(p, index / blocks, std::int64_t{index % blocks} * normalize_columns,
                    last ? normalize_columns + normalize_threads : normalize_columns, storage);
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

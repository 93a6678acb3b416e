#pragma once
/// The GEMM of the SIMT path.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/core/parameters.hpp"
#include "masthead/gemm/block_gemm_simt.cuh"
#include "masthead/tile/raster.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Blocks per multiprocessor: two hide each other's latencies, where 128 registers per thread suffice without
/// spilling. They do for float with 64 accumulators; the other dtypes need a few more for widened or double
/// operands.
constexpr int simt_blocks_per_multiprocessor(const PolicySpec& spec) {
  const int accumulators = spec.tile.m * spec.tile.n / spec.block_threads;
  return spec.dtype == Dtype::f32 && accumulators <= 64 && spec.block_threads <= 256 ? 2 : 1;
}

/// Parameters of linear_simt_kernel.
template <class T>
struct LinearSimtParams {
  Matrix<const T> x;              // (batch, in_features)
  Parameters<T> parameters;       // weight (out_features, in_features)
  Matrix<Accumulator<T>> logits;  // (batch, out_features)
  Mode mode;
  Raster raster;
};

/// Multiplies a tile per block and leaves what TileEnd makes of it. Grid: one block per tile. Shared memory:
/// sizeof(BlockGemmSimt<Policy, vector_bytes>::TempStorage). TileEnd is SimtLogitsEnd.
template <class TileEnd, int vector_bytes>
__global__ void __launch_bounds__(TileEnd::Policy::spec.block_threads,
                                  simt_blocks_per_multiprocessor(TileEnd::Policy::spec))
    linear_simt_kernel(
        const __grid_constant__ LinearSimtParams<DeviceElement<TileEnd::Policy::spec.dtype>> p) {
  using Policy = typename TileEnd::Policy;
  using Gemm = BlockGemmSimt<Policy, vector_bytes>;
  static_assert(BlockGemm<Gemm>);
  extern __shared__ __align__(16) unsigned char shared[];
  const TileIndex tile = p.raster[blockIdx.x];
  const std::int64_t first_row = tile.m * Policy::spec.tile.m, first_column = tile.n * Policy::spec.tile.n;
  typename Gemm::Accumulators sums = {};
  Gemm (*reinterpret_cast<typename Gemm::TempStorage*>(shared))(p.x, p.parameters.weight, first_row,
                                                                first_column, sums);
  TileEnd::template finish<Gemm>(p, sums, shared, first_row, first_column);
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

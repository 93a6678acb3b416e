#pragma once
/// GEMM with the affine in its epilogue: logits in log2 units, or raw sums for batch statistics.

#include <cstdint>

#include "masthead/gemm/block_gemm_simt.cuh"
#include "masthead/numeric/feature.cuh"
#include "masthead/tile/raster.hpp"

namespace masthead::inline v0 {

/// Two blocks a multiprocessor hide each other's latencies, where 128 registers a thread suffice without
/// spilling: float with 64 accumulators does, the other dtypes need a few more for widened or double
/// operands.
constexpr int simt_blocks_per_multiprocessor(const PolicySpec& spec) {
  const int accumulators = spec.tile.m * spec.tile.n / spec.block_threads;
  return spec.dtype == Dtype::f32 && accumulators <= 64 && spec.block_threads <= 256 ? 2 : 1;
}

template <class T>
struct LinearAffineParams {
  Matrix<const T> x;              // (batch, in_features)
  Parameters<T> parameters;       // weight (out_features, in_features)
  Matrix<Accumulator<T>> logits;  // (batch, out_features)
  Mode mode;
  Raster raster;
};

/// An Affine rounded to the type it is applied in.
template <class Sum>
struct Multiply {
  Sum multiplier;
  Sum addend;
};

/// logits = fma(x W^T, multiplier, addend) times log2(e) in eval mode; x W^T alone in training mode.
/// Grid: one block a tile. Shared memory: sizeof(BlockGemmSimt<Policy, vector_bytes>::TempStorage).
template <class Policy, int vector_bytes>
__global__ void __launch_bounds__(Policy::spec.block_threads, simt_blocks_per_multiprocessor(Policy::spec))
    linear_affine_kernel(const __grid_constant__ LinearAffineParams<DeviceElement<Policy::spec.dtype>> p) {
  using Gemm = BlockGemmSimt<Policy, vector_bytes>;
  using Sum = typename Gemm::Sum;
  extern __shared__ __align__(16) unsigned char shared[];

  const TileIndex tile = p.raster[blockIdx.x];
  const std::int64_t first_row = tile.m * Policy::spec.tile.m, first_column = tile.n * Policy::spec.tile.n;
  typename Gemm::Accumulators sums = {};
  Gemm (*reinterpret_cast<typename Gemm::TempStorage*>(shared))(p.x, p.parameters.weight, first_row,
                                                                first_column, sums);

  // The block's features are folded once, into shared memory the GEMM has left: n <= the stages' bytes by
  // far.
  auto* affine = reinterpret_cast<Multiply<Sum>*>(shared);  // (tile.n)
  for (int j = static_cast<int>(threadIdx.x); j < Policy::spec.tile.n; j += Policy::spec.block_threads) {
    Affine folded;
    if (p.mode == Mode::eval && first_column + j < p.logits.columns) {
      folded = fold(load_feature(p.parameters, first_column + j), p.parameters.epsilon, log2e);
    }
    affine[j] = {static_cast<Sum>(folded.multiplier), static_cast<Sum>(folded.addend)};
  }
  __syncthreads();

  const std::int64_t rows = p.logits.rows - first_row, columns = p.logits.columns - first_column;
  Sum* logits = p.logits.data + first_row * p.logits.row_stride + first_column;
  Gemm::for_each(sums, [&](int row, int column, Sum sum) {
    if (row < rows && column < columns) {
      logits[row * p.logits.row_stride + column] = fma(sum, affine[column].multiplier, affine[column].addend);
    }
  });
}

}  // namespace masthead::inline v0

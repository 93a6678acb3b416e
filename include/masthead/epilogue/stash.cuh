#pragma once
/// Stashed tiles: they wait on chip until the statistics of their rows, or of the batch, are there.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include "masthead/epilogue/block_sm90.cuh"
#include "masthead/epilogue/fragment_softmax.cuh"
#include "masthead/epilogue/store.cuh"
#include "masthead/policy/wgmma.hpp"
#include "masthead/ptx/grid_barrier.cuh"
#include "masthead/ptx/grid_dependency.cuh"
#include "masthead/reduce/row_total.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// A warp's sums of one tile while its block multiplies the next: half of them in the warp's staging tile,
/// half in registers until the ring has room for them. Nobody but the lane that wrote them reads them.
template <Sm90Layout layout>
class StashedSumsSm90 {
  static constexpr int vectors = layout.accumulators() / 8;  // a lane's, in half of the sums

 public:
  static constexpr int bytes_per_warp = vectors * 32 * static_cast<int>(sizeof(float4));
  static_assert(bytes_per_warp == StagingTile::bytes(layout.tile.n));

  /// Stashes `acc`: the first half in the staging tile, the rest in registers.
  __device__ __forceinline__ void stash(const float (&acc)[layout.accumulators()], unsigned char* staging,
                                        int lane) {
    store(staging, lane, &acc[0]);
#pragma unroll
    for (int i = 0; i < 4 * vectors; ++i) kept_[i] = acc[4 * vectors + i];
  }
  /// Frees the registers: their half goes to `ring`, bytes_per_warp of it.
  __device__ __forceinline__ void to_shared(unsigned char* ring, int lane) const { store(ring, lane, kept_); }

  /// Loads both halves into `acc`.
  __device__ __forceinline__ static void load(float (&acc)[layout.accumulators()],
                                              const unsigned char* staging, const unsigned char* ring,
                                              int lane) {
#pragma unroll
    for (int i = 0; i < 2 * vectors; ++i) {
      const float4 four =
          reinterpret_cast<const float4*>(i < vectors ? staging : ring)[i % vectors * 32 + lane];
      acc[4 * i] = four.x;
      acc[4 * i + 1] = four.y;
      acc[4 * i + 2] = four.z;
      acc[4 * i + 3] = four.w;
    }
  }

 private:
  __device__ __forceinline__ static void store(unsigned char* target, int lane, const float* values) {
#pragma unroll
    for (int i = 0; i < vectors; ++i) {
      reinterpret_cast<float4*>(target)[i * 32 + lane] =
          make_float4(values[4 * i], values[4 * i + 1], values[4 * i + 2], values[4 * i + 3]);
    }
  }

  float kept_[4 * vectors];
};

/// A consumer warp's share of a stashed tile, as 16-bit quantized logits in shared memory.
struct StashedTile {
  unsigned char* staging;  // (box, 16, 64), 128-byte swizzle
  std::int64_t column;     // the tile's first
  float max[2];            // integer max of rows lane / 4 and lane / 4 + 8
};

/// Turns `tile` into probabilities in place and stores it, box by box; lane l holds the total of row
/// owned_row(l) of the staging tile, whose first row is `row` of y.
template <Sm90Layout layout, class U>
__device__ __forceinline__ void store_stashed(const OutputSm90<U>& y, const StashedTile& tile,
                                              const SoftmaxTotal& total, std::int64_t row, int lane) {
  using Epilogue = EpilogueSm90<layout, dtype_of<U>>;
  float factor[Epilogue::rows_per_lane];
#pragma unroll
  for (int i = 0; i < Epilogue::rows_per_lane; ++i) {
    const int staged_row = 4 * i + lane / 8, owner = owned_row(staged_row);
    const float low = __shfl_sync(0xffffffffu, tile.max[0], staged_row % 8 * 4);
    const float high = __shfl_sync(0xffffffffu, tile.max[1], staged_row % 8 * 4);
    const SoftmaxTotal of_row{__shfl_sync(0xffffffffu, total.shift, owner),
                              __shfl_sync(0xffffffffu, total.sum, owner)};
    factor[i] = of_row.factor(staged_row < 8 ? low : high);
  }
  StoreSm90<layout, U>::staging(y, tile.staging, row, tile.column, lane,
                                [&](int box) { Epilogue::normalize_box(tile.staging, box, lane, factor); });
}

/// Turns the exponentials of a tile, in `acc`, into probabilities and stores them through a staging tile that
/// nothing else uses; lane l holds the total of row owned_row(l) of the warp's 16, whose first is `row` of y.
template <Sm90Layout layout, class U>
__device__ __forceinline__ void store_registers(const OutputSm90<U>& y,
                                                const float (&acc)[layout.accumulators()],
                                                const SoftmaxPartial (&partial)[2], unsigned char* staging,
                                                std::int64_t column, const SoftmaxTotal& total,
                                                std::int64_t row, int lane) {
  float factor[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int owner = owned_row(lane / 4 + 8 * half);
    const SoftmaxTotal of_row{__shfl_sync(0xffffffffu, total.shift, owner),
                              __shfl_sync(0xffffffffu, total.sum, owner)};
    factor[half] = of_row.factor(partial[half].max);
  }
  StoreSm90<layout, U>::staged_unrolled(y, staging, row, column, lane, [&]<int box>() {
    EpilogueSm90<layout, dtype_of<U>>::template stage_probabilities<box>(acc, factor, staging, lane);
  });
}

/// Ends a consumer warp that has published its softmax partials: under the grid barrier acc, distances of
/// `tile`, become exponentials; then y is stored, from acc through `staging` and, if there are `two` tiles,
/// from `quantized`.
template <Sm90Layout layout, class U, class Params>
__device__ __forceinline__ void exchange_and_store(const BlockSm90<layout>& block, const Params& p,
                                                   float (&acc)[layout.accumulators()],
                                                   const SoftmaxPartial (&partial)[2], unsigned char* staging,
                                                   const ClusterTile& tile, bool two,
                                                   const StashedTile& quantized) {
  GridBarrier barrier;
  barrier.arrive();
  EpilogueSm90<layout, dtype_of<U>>::to_exponentials(acc);
  barrier.wait();
  ptx::grid_dependency_trigger();
  const std::int64_t row = block.first_row(tile) + block.consumer_warp() * WgmmaFragment::warp_rows,
                     rows = p.y.matrix.rows - row;
  const int parts = p.schedule.grid.tiles_n;
  const SoftmaxTotal total = total_of_16_rows(p.partials + row * parts, parts,
                                              rows < 16 ? static_cast<int>(rows) : 16, parts, block.lane);
  store_registers<layout>(p.y, acc, partial, staging, block.first_column(tile), total, row, block.lane);
  if (two) store_stashed<layout>(p.y, quantized, total, row, block.lane);
  StoreSm90<layout, U>::wait_staging_read(block.lane);
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

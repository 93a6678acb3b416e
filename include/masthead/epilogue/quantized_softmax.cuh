#pragma once
/// The tile end of a 16-bit softmax that another kernel completes.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/epilogue/block_sm90.cuh"
#include "masthead/epilogue/fragment_softmax.cuh"
#include "masthead/epilogue/store.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Ends a tile with quantized logits in y, stored box by box, and softmax partials.
template <class Policy_, class U>
struct QuantizedSoftmaxEnd {
  using Policy = Policy_;
  using Output = U;
  static constexpr Mode mode = Mode::eval;
  /// Quantized logits need no whole staging tile: a box is stored as soon as it is finished.
  static constexpr Sm90Layout layout = sm90_streaming_layout(Policy::spec);
  using Epilogue = EpilogueSm90<layout, dtype_of<U>>;

  template <class Params>
  __device__ __forceinline__ static void finish(const BlockSm90<layout>& block, const Params& p,
                                                typename Epilogue::Accumulators& acc,
                                                const AffineColumn* affine, const ClusterTile& tile, int) {
    const int warp = block.consumer_warp();
    unsigned char* box = block.storage.staging + warp * layout.warp_staging_bytes();
    const std::int64_t row = block.first_row(tile) + warp * WgmmaFragment::warp_rows;
    const std::int64_t column = block.first_column(tile);
    const bool inside = StoreSm90<layout, U>::is_inside(p.y, row, column);
    SoftmaxPartial partial[2];
    Epilogue::to_streamed_softmax(acc, affine, block.lane, partial, box, [&](int i) {
      StoreSm90<layout, U>::box_by_lanes(p.y, box, row, column + i * StagingTile::box_columns, inside,
                                         block.lane);
    });
    Epilogue::publish(partial, p.partials, p.schedule.grid.tiles_n, tile.n, row, p.y.matrix.rows, block.lane);
  }
};

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

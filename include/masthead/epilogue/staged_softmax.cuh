#pragma once
/// The tile end of the overlapped path.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include "masthead/epilogue/block_sm90.cuh"
#include "masthead/epilogue/fragment_softmax.cuh"
#include "masthead/epilogue/overlapped_normalize.cuh"
#include "masthead/ptx/opaque.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Ends a tile with softmax partials in memory and quantized logits in the staging tiles, which a producer
/// warp stores.
template <class Policy_, class U>
struct StagedSoftmaxEnd {
  using Policy = Policy_;
  using Output = U;
  static constexpr Mode mode = Mode::eval;
  static constexpr Sm90Layout layout = sm90_layout(Policy::spec);
  using Epilogue = EpilogueSm90<layout, dtype_of<U>>;

  template <class Params>
  __device__ __forceinline__ static void finish(const BlockSm90<layout>& block, const Params& p,
                                                typename Epilogue::Accumulators& acc,
                                                const AffineColumn* affine, const ClusterTile& tile,
                                                int turn) {
    const StageRing<1> ring(overlap_storage().staging);
    const StageRing<1>::State state{0, static_cast<std::uint32_t>(turn % 2)};
    const int warp = block.consumer_warp();
    SoftmaxPartial partial[2];
    ring.wait_empty(state);
    Epilogue::to_staged_softmax(acc, affine, block.lane, partial,
                                block.storage.staging + warp * StagingTile::bytes(layout.tile.n));
    cuda::ptx::fence_proxy_async(cuda::ptx::space_shared);
    // The tile is read here, from shared memory, and neither it nor addresses take registers before. Behind
    // the fence, which would wait for these stores.
    const int lane = ptx::opaque(block.lane);
    Epilogue::publish(partial, p.partials, p.schedule.grid.tiles_n, tile.n,
                      first_row_anew<layout>(tile) + warp * WgmmaFragment::warp_rows, p.y.matrix.rows, lane);
    ring.arrive_full(state);
  }
};

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

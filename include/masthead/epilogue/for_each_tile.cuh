#pragma once
/// The consumers' loop of the wgmma engine.

#include <type_traits>

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include "masthead/epilogue/block_sm90.cuh"
#include "masthead/epilogue/center.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Runs, for each tile of the cluster, the mainloop, the dequantization of packed operands, in eval mode the
/// subtraction of the centers, and the tile end, `End::finish(block, p, acc, affine, tile, turn)`. The
/// consumer warpgroups of a persistent kernel call it.
/// `tile_of(turn, stage)` is the turn's tile, asked for ahead of the mainloop, or a C++ reference to where
/// it is stored, asked for behind it; the affine of the tile is then in `stage` of its ring.
// A tile that is computed behind the mainloop makes short passes wait for it: 0.5 us of 10. One that is read
// from shared memory is read late: there are no registers to spare.
template <class End, class Params, class TileOf>
__device__ __forceinline__ void for_each_tile(const BlockSm90<End::layout>& block, const Params& p,
                                              const TileOf& tile_of) {
  constexpr Sm90Layout layout = End::layout;
  using Mainloop = typename EngineSm90<layout>::Mainloop;
  using AffineState = typename BlockSm90<layout>::AffineLoader::Ring::State;
  // In training mode the affine is that of the batch, which nobody knows yet.
  constexpr bool reads_affine = End::mode == Mode::eval || block.packed;
  typename Mainloop::Ring::State state;
  typename Mainloop::Accumulators acc;
#pragma unroll 1
  for (int turn = 0; p.schedule.has(block.cluster, turn); ++turn) {
    constexpr bool computed = !std::is_reference_v<decltype(tile_of(0, 0))>;
    [[maybe_unused]] ClusterTile ahead;
    if constexpr (computed) ahead = tile_of(turn, 0);
    Mainloop::multiply(block.storage.operands, block.ring, state, p.k_steps, block.warpgroup - 1, block.lane,
                       acc);
    const AffineState affine{turn % 2, static_cast<std::uint32_t>(turn / 2 % 2)};
    if constexpr (reads_affine) block.affine_ring.wait_full(affine);
    const ClusterTile& tile = [&]() -> const ClusterTile& {
      if constexpr (computed) {
        return ahead;
      } else {
        return tile_of(turn, affine.stage);
      }
    }();
    if constexpr (block.packed) block.template dequantize<End::mode>(p, acc, tile, affine.stage);
    if constexpr (End::mode == Mode::eval) {
      subtract_centers<layout>(acc, block.storage.affine.center[affine.stage], block.lane);
    }
    End::finish(block, p, acc, block.storage.affine.column[affine.stage], tile, turn);
    if constexpr (reads_affine) block.affine_ring.arrive_empty(affine);
  }
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

#pragma once
/// The first pass of the two-pass path, and of every pass whose logits or sums go through memory: any number
/// of tiles; what needs the whole row is left to a second kernel.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include "masthead/epilogue/block_sm90.cuh"
#include "masthead/epilogue/for_each_tile.cuh"
#include "masthead/epilogue/store.cuh"
#include "masthead/ptx/grid_dependency.cuh"
#include "masthead/ptx/setmaxnreg.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Multiplies tiles and leaves what TileEnd makes of them. Grid: any multiple of the cluster size; the
/// schedule's `clusters` says how many there are. Shared memory: TileEnd::layout.shared_bytes(). TileEnd is
/// QuantizedSoftmaxEnd, LogitsEnd or MomentsEnd.
template <class TileEnd>
__global__ void __launch_bounds__(TileEnd::Policy::spec.block_threads, 1) linear_two_pass_sm90_kernel(
    const __grid_constant__ LinearSm90Params<DeviceElement<TileEnd::Policy::spec.dtype>,
                                             typename TileEnd::Output, PersistentSchedule>
        p) {
  constexpr Sm90Layout layout = TileEnd::layout;
  if constexpr (ptx::compiled_for_sm90a) {
    extern __shared__ __align__(16) unsigned char dynamic[];
    const BlockSm90<layout> block(dynamic, p);
    if (block.warpgroup == 0) {
      ptx::release_registers<layout.producer_registers()>();
      if constexpr (TileEnd::mode == Mode::eval) {
        block.produce(p);
      } else {
        block.produce_sums(p);
      }
    } else {
      ptx::acquire_registers<layout.consumer_registers()>();
      for_each_tile<TileEnd>(block, p, [&](int turn, int) {
        ClusterTile tile;
        p.schedule.get(block.cluster, turn, tile);
        return tile;
      });
      ptx::grid_dependency_trigger();
      StoreSm90<layout, typename TileEnd::Output>::wait_staging_read(block.lane);  // of a float y
    }
    BlockSm90<layout>::leave();
  } else {
    ptx::not_compiled_for_sm90a();
  }
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

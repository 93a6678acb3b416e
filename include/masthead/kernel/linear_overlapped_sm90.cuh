#pragma once
/// The GEMM of the overlapped path, for large 16-bit outputs: rows that are complete are normalized while
/// other tiles are multiplied.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include "masthead/epilogue/for_each_tile.cuh"
#include "masthead/epilogue/overlapped_normalize.cuh"
#include "masthead/ptx/grid_dependency.cuh"
#include "masthead/ptx/setmaxnreg.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Multiplies tiles, and normalizes rows that are complete. Grid: any multiple of the cluster size; the
/// schedule's `clusters` says how many there are. y is 16-bit and stored by TMA. Shared memory:
/// TileEnd::layout.shared_bytes(). TileEnd is StagedSoftmaxEnd.
template <class TileEnd>
__global__ void __launch_bounds__(TileEnd::Policy::spec.block_threads, 1) linear_overlapped_sm90_kernel(
    const __grid_constant__ LinearSm90Params<DeviceElement<TileEnd::Policy::spec.dtype>,
                                             typename TileEnd::Output, PersistentSchedule>
        p) {
  constexpr Sm90Layout layout = TileEnd::layout;
  if constexpr (ptx::compiled_for_sm90a) {
    extern __shared__ __align__(16) unsigned char dynamic[];
    OverlapStorageSm90& overlap = overlap_storage();
    if (threadIdx.x == 0) {
      StageRing<1>(overlap.staging).init(32 * layout.consumer_warps(), 32);
      StageRing<1>(overlap.last_tile).init(1, 1);
    }
    // Its barrier and fence are for these rings too.
    const BlockSm90<layout> block(dynamic, p, 32);
    if (block.warpgroup == 0) {
      ptx::release_registers<layout.producer_registers()>();
      produce_and_normalize<layout, typename TileEnd::Output>(block, overlap, p);
    } else {
      ptx::acquire_registers<layout.consumer_registers()>();
      for_each_tile<TileEnd>(block, p,
                             [&](int, int stage) -> const ClusterTile& { return overlap.tile[stage]; });
      ptx::grid_dependency_trigger();
    }
    BlockSm90<layout>::leave();
  } else {
    ptx::not_compiled_for_sm90a();
  }
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

#pragma once
/// The kernel of the resident training path: the sums of all tiles wait on chip while the moments of their
/// columns cross the grid, and y is stored once.
///
/// It has no tile end and no for_each_tile, as what becomes of a tile depends on the other one: the first
/// tile's sums are stashed half in shared memory and half in registers, which the mainloop of the second must
/// leave alone.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include "masthead/epilogue/batch_affine.cuh"
#include "masthead/epilogue/center.cuh"
#include "masthead/epilogue/moments.cuh"
#include "masthead/epilogue/stash.cuh"
#include "masthead/ptx/grid_barrier.cuh"
#include "masthead/ptx/setmaxnreg.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Multiplies and normalizes all of y in training mode. Grid: schedule.clusters() clusters, launched
/// cooperatively. y is 16-bit. Shared memory: shared_bytes(Policy::spec).
template <class Policy, class U>
__global__ void __launch_bounds__(Policy::spec.block_threads, 1) linear_training_sm90_kernel(
    const __grid_constant__ LinearSm90Params<DeviceElement<Policy::spec.dtype>, U, ResidentSchedule> p) {
  constexpr Sm90Layout layout = sm90_layout(Policy::spec);
  using Mainloop = typename EngineSm90<layout>::Mainloop;
  using Epilogue = EpilogueSm90<layout, dtype_of<U>>;
  using StashedSums = StashedSumsSm90<layout>;
  using Scratch = typename ColumnMomentsSm90<layout>::SharedStorage;
  static_assert(layout.math_mode == MathMode::plain,
                "moments are taken of sums whose scaling comes with the affine");
  static_assert(layout.stashes_sums());
  static_assert(Sm90Layout::affine_stages >= resident_tiles);
  if constexpr (ptx::compiled_for_sm90a) {
    extern __shared__ __align__(16) unsigned char dynamic[];
    const BlockSm90<layout> block(dynamic, p);
    if (block.warpgroup == 0) {
      ptx::release_registers<layout.producer_registers()>();
      block.produce(p, [](const ClusterTile&, int) {});
      GridBarrier::pass();
      const bool updates = p.update.running_mean.data != nullptr;
      const double factor = updates ? p.update.factor(1) : 0.0;
      GridBarrier::pass();
      if (updates) update_running_of(block, p, factor);
      if (blockIdx.x == 0 && threadIdx.x == 0 && p.update.batches_tracked != nullptr) {
        ++*p.update.batches_tracked;  // behind the second grid barrier: all blocks have read it
      }
    } else {
      ptx::acquire_registers<layout.consumer_registers()>();
      const int consumer = block.warpgroup - 1, warp = consumer * 4 + block.warp;
      unsigned char* ring = block.storage.operands.x[0];
      unsigned char* staging = block.storage.staging + warp * StagingTile::bytes(layout.tile.n);
      unsigned char* staged = ring + warp * StagingTile::bytes(layout.tile.n);
      unsigned char* rest = staged + layout.staging_bytes();
      typename Mainloop::Ring::State state;
      typename Mainloop::Accumulators acc;
      StashedSums sums;
      ClusterTile first{}, last, next{};
      p.schedule.get(block.cluster, 0, last);
      bool two = false;
#pragma unroll 1
      for (;;) {
        Mainloop::multiply(block.storage.operands, block.ring, state, p.k_steps, consumer, block.lane, acc);
        if (two) {
          block.consumer_barrier();  // the whole block is past its last wgmma: the ring's memory is free
          sums.to_shared(rest, block.lane);
        }
        auto& scratch = *reinterpret_cast<Scratch*>(two ? ring : block.storage.staging);
        publish_moments(block, p, p.tile_moments, acc, scratch, last);
        block.consumer_barrier();
        if (two || !p.schedule.get(block.cluster, 1, next)) break;
        sums.stash(acc, staging, block.lane);
        first = last;
        last = next;
        two = true;
      }

      GridBarrier moments;
      moments.arrive();
      const BatchAffineSm90<layout> batch(block, p, {last, first});
      moments.wait();
      batch.write(p, block.storage.affine);
      auto& affine = block.storage.affine.column;
      auto& center = block.storage.affine.center;
      block.consumer_barrier();

      const std::int64_t row = block.first_row(last) + warp * WgmmaFragment::warp_rows;
      const auto publish = [&](const SoftmaxPartial(&partial)[2], const ClusterTile& tile) {
        Epilogue::publish(partial, p.partials, p.schedule.grid.tiles_n, tile.n, row, p.y.matrix.rows,
                          block.lane);
      };
      SoftmaxPartial partial[2];
      StashedTile quantized{};
      if (two) {
        subtract_centers<layout>(acc, center[0], block.lane);
        Epilogue::to_staged_softmax(acc, affine[0], block.lane, partial, staged);
        publish(partial, last);
        quantized = {staged, block.first_column(last), {partial[0].max, partial[1].max}};
        StashedSums::load(acc, staging, rest, block.lane);
        last = first;
      }
      subtract_centers<layout>(acc, center[two], block.lane);
      Epilogue::to_softmax(acc, affine[two], block.lane, partial);
      publish(partial, last);
      exchange_and_store<layout, U>(block, p, acc, partial, staging, last, two, quantized);
    }
    BlockSm90<layout>::leave();
  } else {
    ptx::not_compiled_for_sm90a();
  }
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

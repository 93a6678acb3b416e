#pragma once
/// The swap-AB wgmma engine: features on the instruction's 64 rows, so that few rows of x waste none of it
/// and a thread has two features. Shared memory, loader and mainloop.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cuda.h>

#include <cstdint>

#include "masthead/gemm/descriptor.cuh"
#include "masthead/gemm/ring.cuh"
#include "masthead/numeric/softmax_state.hpp"
#include "masthead/policy/swap_ab.hpp"
#include "masthead/ptx/cluster.cuh"
#include "masthead/ptx/copy_tensor.cuh"
#include "masthead/ptx/elect.cuh"
#include "masthead/ptx/grid_dependency.cuh"
#include "masthead/ptx/prefetch_tensor.cuh"
#include "masthead/ptx/prefetch_tensor_map.cuh"
#include "masthead/ptx/wgmma.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Shared memory of a block of the swap-AB engine.
template <Sm90SwapAbLayout layout>
struct SharedStorageSwapAbSm90 {
  using Ring = StageRing<layout.stages>;

  // (stage, slice, tile_n, slice_k), 128-byte swizzle
  alignas(1024) unsigned char w[layout.stages][layout.slices()][layout.w_bytes()];
  // (stage, slice, tile_m, slice_k), 128-byte swizzle
  alignas(1024) unsigned char x[layout.stages][layout.slices()][layout.x_bytes()];
  alignas(16) SoftmaxPartial warp_partials[layout.consumer_warps()][layout.tile.m];  // (warp, tile_m)
  alignas(16) SoftmaxPartial cta_partials[layout.max_ctas][layout.tile.m];           // (CTA rank, tile_m)
  float2 totals[layout.tile.m];  // (tile_m): (shift, 1 / sum) of a row, or its (max, -)
  typename Ring::SharedStorage ring;
  std::uint64_t exchange;   // counts what the cluster's blocks store here
  std::uint64_t warmed[2];  // (2): slices brought to L2, by turns
  std::uint64_t released;   // the kernel before this one has finished

  __device__ static SharedStorageSwapAbSm90& in(unsigned char* dynamic) {
    const auto start = reinterpret_cast<std::uintptr_t>(dynamic);
    static_assert(sizeof(SharedStorageSwapAbSm90) + 1008 == static_cast<std::size_t>(layout.shared_bytes()));
    return *reinterpret_cast<SharedStorageSwapAbSm90*>(dynamic + ((1024 - start % 1024) % 1024));
  }
};

/// A warp's place, and the GEMM of its block: acc = W x^T over all of k in ascending order.
template <Sm90SwapAbLayout layout>
struct BlockSwapAbSm90 {
  using Storage = SharedStorageSwapAbSm90<layout>;
  using Ring = typename Storage::Ring;
  using Accumulators = float[layout.accumulators()];

  Storage& storage;
  Ring ring;
  int warp;  ///< consumers first, then the producer
  int lane;
  int n_blocks;  ///< blocks side by side along the features, in whole clusters
  int n_block;   ///< this block's place among them
  int m_block;   ///< of tile.m rows of x

  /// All threads construct it. On return the block's own ring and the cluster's exchange are usable;
  /// `exchanged_bytes` complete the exchange.
  __device__ BlockSwapAbSm90(unsigned char* dynamic, const CUtensorMap& x, const CUtensorMap& w, int tiles_n,
                             int m_blocks, int exchanged_bytes)
      : storage(Storage::in(dynamic)),
        ring(storage.ring),
        warp(__shfl_sync(0xffffffffu, static_cast<int>(threadIdx.x) / 32, 0)),
        lane(static_cast<int>(threadIdx.x) % 32),
        n_blocks(tiles_n) {
    // Clusters that read the same features run side by side.
    const int cluster = ptx::cluster_size(), index = static_cast<int>(blockIdx.x) / cluster;
    m_block = index % m_blocks;
    n_block = index / m_blocks * cluster + static_cast<int>(blockIdx.x) % cluster;
    if (threadIdx.x == layout.consumer_threads()) {
      ptx::prefetch_tensor_map(&w);
      ptx::prefetch_tensor_map(&x);
      ring.init(1, static_cast<std::uint32_t>(layout.consumer_warps()));
      for (std::uint64_t& barrier : storage.warmed) cuda::ptx::mbarrier_init(&barrier, 1);
      cuda::ptx::mbarrier_init(&storage.released, 1);
      ptx::cluster_barrier_init(&storage.exchange);
      ptx::cluster_barrier_expect(&storage.exchange, exchanged_bytes);
    }
    __syncthreads();
    // All warps at one place: the wait holds a block barrier, which synccheck takes for divergent otherwise.
    ptx::cluster_arrive_relaxed();
    ptx::cluster_wait();
  }

  __device__ bool producer() const { return warp == layout.consumer_warps(); }

  /// Loads x and W for all of k. The producer warp calls it.
  __device__ __forceinline__ void load(const CUtensorMap& x, const CUtensorMap& w, int k_steps,
                                       int m_blocks) const {
    if (!ptx::elect()) return;
    const int row = m_block * layout.tile.m, feature = n_block * layout.tile.n;
    // Whether memory's bandwidth is what counts: W is too much for the ring, and hardly read twice.
    const bool streams = k_steps > layout.stages && m_blocks <= 2;
    const int ahead = k_steps < layout.stages ? k_steps : layout.stages;
    for (int step = n_block; step < ahead; step += n_blocks) prefetch(x, step, row);
    int warmed = 0;
    if (streams) {
      warmed = warm(w, k_steps, m_blocks);
    } else {
      // Blocks that need the same slices share the asking. Their writer is not missed: L2 is where it writes.
      for (int step = m_block; step < ahead; step += m_blocks) prefetch(w, step, feature);
    }
    ptx::grid_dependency_wait();
    // W that streams through L2 leaves first; what other kernels keep there may stay.
    const std::uint64_t policy = streams ? ptx::evict_first_policy() : ptx::evict_normal_policy();
    typename Ring::State state;
#pragma unroll 1
    for (int step = 0; step < k_steps; ++step, state.advance()) {
      ring.wait_empty(state);
      if (step == layout.stages - 2) wait_warmed(warmed);
      ring.expect_bytes(state, layout.stage_bytes());
#pragma unroll
      for (int slice = 0; slice < layout.slices(); ++slice) {
        const int column = step * layout.tile.k + slice * layout.slice_k();
        ptx::copy_tensor(storage.w[state.stage][slice], &w, column, feature, ring.barrier(state), policy);
        copy(storage.x[state.stage][slice], x, {column, row}, ring.barrier(state));
      }
    }
  }

  /// Ends the producer's warming up of L2. One consumer thread calls it, once the writes of earlier kernels
  /// are visible.
  __device__ void release() const {
    cuda::ptx::mbarrier_arrive(cuda::ptx::sem_release, cuda::ptx::scope_cta, cuda::ptx::space_shared,
                               &storage.released);
  }

  /// Computes acc, overwriting it. All threads of the consumer warps call it.
  __device__ __forceinline__ void multiply(int k_steps, Accumulators& acc) const {
    const std::uint64_t w = descriptor_of(storage.w[0][0] + warp / 4 * 64 * swizzle_row_bytes);
    const std::uint64_t x = descriptor_of(storage.x[0][0]);
    typename Ring::State state, previous;
#pragma unroll 1
    for (int step = 0; step < k_steps; ++step) {
      ring.wait_full(state);
      const int first = state.stage * layout.slices();
      ptx::wgmma_fence_registers(acc);
      ptx::wgmma_fence();
#pragma unroll
      for (int slice = 0; slice < layout.slices(); ++slice) {
        const std::uint64_t w_slice = w + (first + slice) * wgmma_descriptor_step(layout.w_bytes());
        const std::uint64_t x_slice = x + (first + slice) * wgmma_descriptor_step(layout.x_bytes());
#pragma unroll
        for (int i = 0; i < layout.slice_k() / layout.instruction_k(); ++i) {
          ptx::wgmma<layout.dtype>(acc, w_slice + i * wgmma_descriptor_step(32),
                                   x_slice + i * wgmma_descriptor_step(32), step > 0 || slice > 0 || i > 0);
        }
      }
      ptx::wgmma_commit();
      ptx::wgmma_fence_registers(acc);
      // The previous stage is done once only this one is in flight.
      ptx::wgmma_wait<1>();
      if (step > 0 && lane == 0) ring.arrive_empty(previous);
      previous = state;
      state.advance();
    }
    ptx::wgmma_wait<0>();
    ptx::wgmma_fence_registers(acc);
  }

  /// The row of the matrix x that is the block's first.
  __device__ std::int64_t first_row() const { return std::int64_t{m_block} * layout.tile.m; }
  /// The feature of the matrix that half `half` of a consumer thread's accumulators belongs to.
  __device__ std::int64_t feature(int half) const {
    return std::int64_t{n_block} * layout.tile.n + warp * SwapAbFragment::warp_features +
           SwapAbFragment::at(lane, 0, half).column;
  }

 private:
  __device__ __forceinline__ static void prefetch(const CUtensorMap& map, int step, int row) {
#pragma unroll
    for (int slice = 0; slice < layout.slices(); ++slice) {
      ptx::prefetch_tensor(&map, step * layout.tile.k + slice * layout.slice_k(), row);
    }
  }

  /// Brings slices of W to L2 while the kernel before this one ends, by reading them into the ring's last two
  /// stages and dropping them: its writes are not missed, because the slices are read again. At most
  /// `warm_slices` of them, two at a time, until `release`. Returns how many; wait_warmed waits for the last.
  // NOTES: reads, because prefetch_tensor of as many made kernels slower that stream W, as if part of it was
  // fetched from memory twice. The ring's first stages are left out: they keep memory busy while the rest
  // comes from L2. Two at a time, because what the kernel before loads queues behind these.
  __device__ __forceinline__ int warm(const CUtensorMap& w, int k_steps, int m_blocks) const {
    // Later blocks start when the kernel before has long finished.
    if (blockIdx.x >= cuda::ptx::get_sreg_nsmid()) return 0;
    constexpr int first = layout.stages * 2 / 5 * layout.slices(), last = first + layout.warm_slices();
    const int slices = k_steps * layout.slices(), end = last < slices ? last : slices;
    int count = 0;
    // Blocks that need the same features share the reading.
#pragma unroll 1
    for (int slice = first + m_block; slice < end; slice += m_blocks, ++count) {
      std::uint64_t* const barrier = &storage.warmed[count % 2];
      if (count >= 2) wait(barrier, count / 2 - 1);
      if (cuda::ptx::mbarrier_test_wait_parity(&storage.released, 0)) break;
      cuda::ptx::mbarrier_arrive_expect_tx(cuda::ptx::sem_release, cuda::ptx::scope_cta,
                                           cuda::ptx::space_shared, barrier, layout.w_bytes());
      copy(storage.w[layout.stages - 2 + count % 2][0], w,
           {slice * layout.slice_k(), n_block * layout.tile.n}, barrier);
    }
    return count;
  }
  /// Returns when the last of `count` slices that `warm` read are in the ring.
  __device__ __forceinline__ void wait_warmed(int count) const {
    if (count > 0) wait(&storage.warmed[(count - 1) % 2], (count - 1) / 2);
    if (count > 1) wait(&storage.warmed[count % 2], count / 2 - 1);
  }

  /// Returns when phase `phase` of `barrier` is complete; phases count from 0.
  __device__ __forceinline__ static void wait(std::uint64_t* barrier, int phase) {
    while (!cuda::ptx::mbarrier_try_wait_parity(barrier, static_cast<std::uint32_t>(phase) & 1u)) {
    }
  }

  __device__ __forceinline__ static void copy(void* target, const CUtensorMap& map, const int (&at)[2],
                                              std::uint64_t* barrier) {
    cuda::ptx::cp_async_bulk_tensor(cuda::ptx::space_cluster, cuda::ptx::space_global, target, &map, at,
                                    barrier);
  }
};

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

#pragma once
/// The transposed wgmma engine: features on the instruction's 64 rows, so that few rows of x waste none of it
/// and a thread's features are two. Loader, mainloop, and what a warp does with its accumulators.

#include <cuda.h>

#include <cstdint>

#include "masthead/gemm/epilogue_sm90.cuh"
#include "masthead/gemm/stage_ring.cuh"
#include "masthead/numeric/feature.cuh"
#include "masthead/numeric/logit_code.hpp"
#include "masthead/ptx/cluster.cuh"
#include "masthead/ptx/copy_tensor.cuh"
#include "masthead/ptx/elect.cuh"
#include "masthead/ptx/grid_dependency.cuh"
#include "masthead/ptx/prefetch_tensor.cuh"
#include "masthead/ptx/prefetch_tensor_map.cuh"
#include "masthead/ptx/wgmma.cuh"
#include "masthead/reduce/row_partials.cuh"
#include "masthead/tile/sm90_transposed_layout.hpp"

namespace masthead::inline v0 {

/// Shared memory of a block.
template <Sm90TransposedLayout layout>
struct SharedStorageTransposedSm90 {
  using Ring = StageRing<layout.stages>;

  // (stage, slice, tile_n or tile_m, slice_k), 128-byte swizzle
  alignas(1024) unsigned char w[layout.stages][layout.slices()][layout.w_bytes()];
  alignas(1024) unsigned char x[layout.stages][layout.slices()][layout.x_bytes()];
  alignas(16) RowPartial warp_parts[layout.consumer_warps()][layout.tile.m];
  alignas(16) RowPartial rank_parts[layout.max_ranks][layout.tile.m];
  float2 totals[layout.tile.m];
  typename Ring::SharedStorage ring;
  std::uint64_t exchange;
  std::uint64_t warmed[2];  // by turns
  std::uint64_t released;   // the kernel before this one has finished

  __device__ static SharedStorageTransposedSm90& in(unsigned char* dynamic) {
    const auto start = reinterpret_cast<std::uintptr_t>(dynamic);
    static_assert(sizeof(SharedStorageTransposedSm90) + 1008 ==
                  static_cast<std::size_t>(layout.shared_bytes()));
    return *reinterpret_cast<SharedStorageTransposedSm90*>(dynamic + ((1024 - start % 1024) % 1024));
  }
};

/// A warp's place, and the GEMM of its block: acc = W x^T over all of k in ascending order.
template <Sm90TransposedLayout layout>
struct BlockTransposedSm90 {
  using Storage = SharedStorageTransposedSm90<layout>;
  using Ring = typename Storage::Ring;
  using Accumulators = float[layout.accumulators()];

  Storage& storage;
  Ring ring;
  int warp;  ///< consumers first, then the producer
  int lane;
  int ranks;  ///< blocks side by side along the features, in whole clusters
  int rank;   ///< among them
  int group;  ///< of tile.m rows of x

  /// All threads. On return the block's own ring and the cluster's exchange are usable, which
  /// `exchanged_bytes` complete.
  __device__ BlockTransposedSm90(unsigned char* dynamic, const CUtensorMap& x, const CUtensorMap& w,
                                 int tiles_n, int groups, int exchanged_bytes)
      : storage(Storage::in(dynamic)),
        ring(storage.ring),
        warp(__shfl_sync(0xffffffffu, static_cast<int>(threadIdx.x) / 32, 0)),
        lane(static_cast<int>(threadIdx.x) % 32),
        ranks(tiles_n) {
    // Clusters that read the same features run side by side.
    const int cluster = ptx::cluster_size(), index = static_cast<int>(blockIdx.x) / cluster;
    group = index % groups;
    rank = index / groups * cluster + static_cast<int>(blockIdx.x) % cluster;
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

  /// The producer warp.
  __device__ __forceinline__ void load(const CUtensorMap& x, const CUtensorMap& w, int k_steps,
                                       int groups) const {
    if (!ptx::elect()) return;
    const int row = group * layout.tile.m, feature = rank * layout.tile.n;
    // Whether memory's bandwidth is what counts: W is too much for the ring, and hardly read twice.
    const bool streams = k_steps > layout.stages && groups <= 2;
    const int ahead = k_steps < layout.stages ? k_steps : layout.stages;
    for (int step = rank; step < ahead; step += ranks) prefetch(x, step, row);
    int warmed = 0;
    if (streams) {
      warmed = warm(w, k_steps, groups);
    } else {
      // Blocks that need the same slices share the asking. Their writer is not missed: L2 is where it writes.
      for (int step = group; step < ahead; step += groups) prefetch(w, step, feature);
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

  /// One consumer thread, once what came before this kernel is visible: ends the producer's warming up.
  __device__ void release() const {
    cuda::ptx::mbarrier_arrive(cuda::ptx::sem_release, cuda::ptx::scope_cta, cuda::ptx::space_shared,
                               &storage.released);
  }

  /// The consumer warps.
  __device__ __forceinline__ void multiply(int k_steps, Accumulators& acc) const {
    const std::uint64_t w = descriptor(storage.w[0][0] + warp / 4 * 64 * swizzle_row_bytes);
    const std::uint64_t x = descriptor(storage.x[0][0]);
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
      // The previous stage is done once only this one is under way.
      ptx::wgmma_wait<1>();
      if (step > 0 && lane == 0) ring.arrive_empty(previous);
      previous = state;
      state.advance();
    }
    ptx::wgmma_wait<0>();
    ptx::wgmma_fence_registers(acc);
  }

  /// The feature of the matrix that half `half` of a consumer thread's accumulators belongs to.
  __device__ std::int64_t feature(int half) const {
    return std::int64_t{rank} * layout.tile.n + warp * TransposedFragment::warp_features +
           TransposedFragment::at(lane, 0, half).column;
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
  __device__ __forceinline__ int warm(const CUtensorMap& w, int k_steps, int groups) const {
    // Later blocks start when the kernel before has long finished.
    if (blockIdx.x >= cuda::ptx::get_sreg_nsmid()) return 0;
    constexpr int first = layout.stages * 2 / 5 * layout.slices(), last = first + layout.warm_slices();
    const int slices = k_steps * layout.slices(), end = last < slices ? last : slices;
    int count = 0;
    // Blocks that need the same features share the reading.
#pragma unroll 1
    for (int slice = first + group; slice < end; slice += groups, ++count) {
      std::uint64_t* const barrier = &storage.warmed[count % 2];
      if (count >= 2) wait(barrier, count / 2 - 1);
      if (cuda::ptx::mbarrier_test_wait_parity(&storage.released, 0)) break;
      cuda::ptx::mbarrier_arrive_expect_tx(cuda::ptx::sem_release, cuda::ptx::scope_cta,
                                           cuda::ptx::space_shared, barrier, layout.w_bytes());
      copy(storage.w[layout.stages - 2 + count % 2][0], w, {slice * layout.slice_k(), rank * layout.tile.n},
           barrier);
    }
    return count;
  }
  __device__ __forceinline__ void wait_warmed(int count) const {
    if (count > 0) wait(&storage.warmed[(count - 1) % 2], (count - 1) / 2);
    if (count > 1) wait(&storage.warmed[count % 2], count / 2 - 1);
  }

  /// Phases count from 0.
  __device__ __forceinline__ static void wait(std::uint64_t* barrier, int phase) {
    while (!cuda::ptx::mbarrier_try_wait_parity(barrier, static_cast<std::uint32_t>(phase) & 1u)) {
    }
  }

  __device__ __forceinline__ static void copy(void* target, const CUtensorMap& map, const int (&at)[2],
                                              std::uint64_t* barrier) {
    cuda::ptx::cp_async_bulk_tensor(cuda::ptx::space_cluster, cuda::ptx::space_global, target, &map, at,
                                    barrier);
  }

  __device__ __forceinline__ static std::uint64_t descriptor(const void* tile) {
    // One value a warp: the shuffle lets it live in uniform registers.
    const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(tile));
    return wgmma_descriptor(__shfl_sync(0xffffffffu, address, 0));
  }
};

/// What a thread does with its accumulators (tile/sm90_transposed_layout.hpp). All lanes of a warp call every
/// function; none synchronises with another warp.
template <Sm90TransposedLayout layout>
struct EpilogueTransposedSm90 {
  using Fragment = TransposedFragment;
  using Accumulators = float[layout.accumulators()];
  static constexpr int rows = layout.thread_rows();
  /// Rows whose reductions a lane ends with; of 4 rows two lanes end with the same one.
  static constexpr int owned_rows = rows < 8 ? 1 : rows / 8;

  /// The affine of the thread's two features, in log2 units; neutral in training mode.
  struct ThreadAffine {
    float multiplier[2], addend[2];
  };

  /// `feature` is that of half 0. Features beyond the last get -inf: they can be neither maximum nor part of
  /// a sum. Each lane folds one of the two features and gets the other's affine from its neighbour.
  template <class T>
  __device__ __forceinline__ static ThreadAffine affine(const Parameters<T>& parameters, Mode mode,
                                                        std::int64_t feature, int lane) {
    const bool upper = lane % 2 != 0;
    const std::int64_t own = upper ? feature + 8 : feature;
    float multiplier = 0, addend = negative_infinity<float>;
    if (own < parameters.weight.rows) {
      multiplier = 1, addend = 0;
      if (mode == Mode::eval) {
        const Affine folded = fold(PendingFeature::load(parameters, own).value(), parameters.epsilon, log2e);
        multiplier = static_cast<float>(folded.multiplier);
        addend = static_cast<float>(folded.addend);
      }
    }
    const float other_multiplier = __shfl_xor_sync(0xffffffffu, multiplier, 1),
                other_addend = __shfl_xor_sync(0xffffffffu, addend, 1);
    return {{upper ? other_multiplier : multiplier, upper ? multiplier : other_multiplier},
            {upper ? other_addend : addend, upper ? addend : other_addend}};
  }

  __device__ __forceinline__ static void apply_affine(Accumulators& acc, const ThreadAffine& affine) {
#pragma unroll
    for (int i = 0; i < rows; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float& value = acc[Fragment::index(i, half)];
        value = fmaf(value, affine.multiplier[half], affine.addend[half]);
      }
    }
  }

  /// Reduces values[i] over the 8 lanes that share row i: values[0 .. owned_rows) become the results of the
  /// rows from Fragment::owned(lane, rows) on. The order is that of shuffles by xor 4, 8, 16.
  template <class Operation>
  __device__ __forceinline__ static void reduce(float (&values)[rows], int lane, Operation operation) {
#pragma unroll
    for (int step = 0; step < 3; ++step) {
      const int half = rows >> (step + 1);
      const bool upper = (lane >> (2 + step)) & 1;
      if (half == 0) {
        values[0] = operation(values[0], __shfl_xor_sync(0xffffffffu, values[0], 4 << step));
      }
#pragma unroll
      for (int i = 0; i < rows / 2; ++i) {
        if (i >= half) continue;  // a fixed bound: the values must stay in registers
        const float sent = upper ? values[i] : values[i + half];
        const float kept = upper ? values[i + half] : values[i];
        values[i] = operation(kept, __shfl_xor_sync(0xffffffffu, sent, 4 << step));
      }
    }
  }

  /// The result of `reduce` for row number i, in all lanes that hold that row.
  __device__ __forceinline__ static float broadcast(const float (&values)[rows], int lane, int i) {
    const int reversed = rows < 8 ? i * 2 : i / owned_rows;
    const int group = (reversed & 1) << 2 | (reversed & 2) | reversed >> 2;
    return __shfl_sync(0xffffffffu, values[i % owned_rows], 4 * group + lane % 4);
  }

  /// Stores acc to y, rounded or (codes) as the low 16 bits; row 0 of the tile is `row` of y, `feature` that
  /// of the thread's half 0.
  template <bool codes, class U>
  __device__ __forceinline__ static void store(const Matrix<U>& y, std::int64_t row, std::int64_t feature,
                                               int lane, const Accumulators& acc) {
    // Lanes whose features are neighbours swap, so that each has two adjacent features of one row.
    const bool odd = lane / 4 % 2 != 0;
    const bool pairs =
        reinterpret_cast<std::uintptr_t>(y.data) % (2 * sizeof(U)) == 0 && y.row_stride % 2 == 0;
#pragma unroll
    for (int i = 0; i < rows; i += 2) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float even_row = acc[Fragment::index(i, half)], odd_row = acc[Fragment::index(i + 1, half)];
        const float other = __shfl_xor_sync(0xffffffffu, odd ? even_row : odd_row, 4);
        const float first = odd ? other : even_row, second = odd ? odd_row : other;
        const std::int64_t r = row + Fragment::at(lane, i, half).row + (odd ? 1 : 0),
                           column = (feature & ~std::int64_t{1}) + 8 * half;
        if (r >= y.rows || column >= y.columns) continue;
        U* target = y.data + r * y.row_stride + column;
        if constexpr (sizeof(U) == 2) {
          const std::uint32_t packed =
              codes ? __byte_perm(__float_as_uint(first), __float_as_uint(second), 0x5410)
                    : narrow_pair<dtype_of<U>>(first, second);
          auto* bits = reinterpret_cast<std::uint16_t*>(target);
          if (pairs && column + 1 < y.columns) {
            __stwb(reinterpret_cast<unsigned*>(target), packed);
          } else {
            bits[0] = static_cast<std::uint16_t>(packed);
            if (column + 1 < y.columns) bits[1] = static_cast<std::uint16_t>(packed >> 16);
          }
        } else if (pairs && column + 1 < y.columns) {
          __stwb(reinterpret_cast<float2*>(target), make_float2(first, second));
        } else {
          target[0] = first;
          if (column + 1 < y.columns) target[1] = second;
        }
      }
    }
  }
};

}  // namespace masthead::inline v0

#pragma once
/// The promoted Hopper mainloop: the tensor core sums a chunk of k from zero, ordinary additions sum the
/// chunks.
///
/// wgmma truncates every term it adds to 25 bits of the largest (f16, bf16) and e4m3 to fewer: over thousands
/// of terms that is a bias. A chunk is one stage of k: 64 of f16x3, 128 of e4m3.

#include "masthead/gemm/loader_prepared_sm90.cuh"
#include "masthead/ptx/wgmma.cuh"

namespace masthead::inline v0 {

/// As MainloopSm90. Chunks of f16x3 take turns in two sets of registers, and while the tensor core fills one
/// the other is added up; within a chunk the small products come first, where truncation costs nothing. e4m3
/// goes through the tile's columns 128 at a time, and while one warpgroup adds up the other multiplies.
// Same bits and same time for f16x3 with one set of registers (1024 x 8192 -> 8192: 609 and 614 us, SGEMM
// 3490); hi hi in its place among the small products costs a third of the accuracy. Chunks of 128 of f16x3 in
// one set: up to 2.5 times the error. For e4m3, 128 columns and two sets: 1.20 of cuBLASLt, bound by what L2
// delivers; two blocks of 64 x 128 a multiprocessor 1.45 to 1.84.
// Quarters of 64 columns in two sets, x from registers, warpgroups that take turns: no quicker, or slower;
// without promotion the whole head takes 3 to 5 % less.
template <Sm90Layout layout>
struct MainloopPromotedSm90 {
  using Loader = LoaderPreparedSm90<layout>;
  using Ring = typename Loader::Ring;
  using State = typename Ring::State;
  using Accumulators = float[layout.accumulators()];

  __device__ __forceinline__ static void multiply(typename Loader::SharedStorage& storage, const Ring& ring,
                                                  State& state, int k_steps, int warpgroup, int lane,
                                                  Accumulators& sum) {
    const std::uint64_t x = descriptor(storage.x[0] + warpgroup * 64 * swizzle_row_bytes);
    const std::uint64_t w = descriptor(storage.w[0]);
#pragma unroll
    for (float& s : sum) s = 0.0f;
    if constexpr (layout.product == Product::f16x3) {
      Chunk even, odd;
      State done = state;
      issue(even, x, w, ring, state);
      int step = 1;
#pragma unroll 1
      for (; step + 1 < k_steps; step += 2) {
        issue(odd, x, w, ring, state);
        retire<1>(sum, even, ring, done, lane);
        issue(even, x, w, ring, state);
        retire<1>(sum, odd, ring, done, lane);
      }
      if (step < k_steps) {
        issue(odd, x, w, ring, state);
        retire<1>(sum, even, ring, done, lane);
        retire<0>(sum, odd, ring, done, lane);
      } else {
        retire<0>(sum, even, ring, done, lane);
      }
    } else {
      Chunk chunk;
#pragma unroll 1
      for (int step = 0; step < k_steps; ++step) {
        ring.wait_full(state);
#pragma unroll
        for (int first = 0; first < layout.tile.n; first += chunk_columns) {
          products(chunk, x + state.stage * wgmma_descriptor_step(layout.x_bytes()),
                   w + state.stage * wgmma_descriptor_step(layout.w_bytes()) +
                       wgmma_descriptor_step(first * swizzle_row_bytes));
          ptx::wgmma_wait<0>();
          ptx::wgmma_fence_registers(chunk);
          if (first + chunk_columns == layout.tile.n) release(ring, state, lane);
#pragma unroll
          for (int i = 0; i < chunk_registers; ++i) sum[first / 2 + i] += chunk[i];
        }
        state.advance();
      }
    }
  }

 private:
  static constexpr int chunk_columns = 128, chunk_registers = chunk_columns / 2;
  using Chunk = float[chunk_registers];

  /// Queues chunk = the products of 128 bytes of k.
  __device__ __forceinline__ static void products(Chunk& chunk, std::uint64_t x, std::uint64_t w) {
    constexpr int instructions = swizzle_row_bytes / 32;
    ptx::wgmma_fence_registers(chunk);
    ptx::wgmma_fence();
    if constexpr (layout.product == Product::f16x3) {
      constexpr std::uint64_t x_lo = wgmma_descriptor_step(layout.tile.m * swizzle_row_bytes),
                              w_lo = wgmma_descriptor_step(layout.tile.n * swizzle_row_bytes);
#pragma unroll
      for (int i = 0; i < instructions; ++i) {
        const std::uint64_t k = i * wgmma_descriptor_step(32);
        ptx::wgmma<Dtype::f16>(chunk, x + k + x_lo, w + k, i > 0);
        ptx::wgmma<Dtype::f16>(chunk, x + k, w + k + w_lo, 1);
      }
#pragma unroll
      for (int i = 0; i < instructions; ++i) {
        const std::uint64_t k = i * wgmma_descriptor_step(32);
        ptx::wgmma<Dtype::f16>(chunk, x + k, w + k, 1);
      }
    } else {
#pragma unroll
      for (int i = 0; i < instructions; ++i) {
        const std::uint64_t k = i * wgmma_descriptor_step(32);
        ptx::wgmma<Dtype::e4m3>(chunk, x + k, w + k, i > 0);
      }
    }
    ptx::wgmma_commit();
    ptx::wgmma_fence_registers(chunk);
  }

  /// Queues the next stage into `chunk`.
  __device__ __forceinline__ static void issue(Chunk& chunk, std::uint64_t x, std::uint64_t w,
                                               const Ring& ring, State& state) {
    ring.wait_full(state);
    products(chunk, x + state.stage * wgmma_descriptor_step(layout.x_bytes()),
             w + state.stage * wgmma_descriptor_step(layout.w_bytes()));
    state.advance();
  }

  /// Adds up `chunk`, queued before the `pending` latest ones, and gives its stage back.
  template <int pending>
  __device__ __forceinline__ static void retire(Accumulators& sum, Chunk& chunk, const Ring& ring,
                                                State& done, int lane) {
    ptx::wgmma_wait<pending>();
    ptx::wgmma_fence_registers(chunk);
    release(ring, done, lane);
    done.advance();
#pragma unroll
    for (int i = 0; i < chunk_registers; ++i) sum[i] += chunk[i];
  }

  __device__ __forceinline__ static std::uint64_t descriptor(const void* tile) {
    // One value a warp: the shuffle lets it live in uniform registers.
    const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(tile));
    return wgmma_descriptor(__shfl_sync(0xffffffffu, address, 0));
  }

  /// The stage may be loaded anew, here and at every block that multicasts into it.
  __device__ __forceinline__ static void release(const Ring& ring, const State& state, int lane) {
    if constexpr (layout.cluster_m == 1) {
      if (lane == 0) ring.arrive_empty(state);
    } else {
      if (lane < layout.cluster_m) ring.arrive_empty(state, lane);
    }
  }
};

}  // namespace masthead::inline v0

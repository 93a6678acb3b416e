#pragma once
/// The promoted Hopper mainloop: the tensor core sums each k-block from zero, ordinary additions sum the
/// k-blocks.
///
/// wgmma truncates every term it adds to 25 bits of the largest (f16, bf16) and e4m3 to fewer: over thousands
/// of terms that is a bias. A k-block is one stage of k: 64 of f16x3, 128 of e4m3.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include "masthead/gemm/descriptor.cuh"
#include "masthead/gemm/loader_packed_sm90.cuh"
#include "masthead/ptx/wgmma.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// sum = x W^T over `k_steps` k-blocks in ascending k. All threads of each consumer warpgroup call
/// `multiply`; the warpgroups need not be in step. K-blocks of f16x3 take turns in two sets of registers, and
/// while the tensor core fills one the other is added up; within a k-block the small products come first,
/// where truncation costs nothing. e4m3 goes through the tile's columns 128 at a time, and while one
/// warpgroup adds up the other multiplies.
// One set of registers gives f16x3 the same bits in the same time (1024 x 8192 -> 8192: 609 and 614 us, SGEMM
// 3490); hi hi in its place among the small products costs a third of the accuracy. K-blocks of 128 of f16x3
// in one set: up to 2.5 times the error. For e4m3, 128 columns and two sets: 1.20 of cuBLASLt, bound by what
// L2 delivers; two blocks of 64 x 128 per multiprocessor 1.45 to 1.84. Quarters of 64 columns in two sets, x
// from registers, warpgroups that take turns: no quicker, or slower; without promotion the whole head takes 3
// to 5 % less.
template <Sm90Layout layout>
struct MainloopPromotedSm90 {
  using Loader = LoaderPackedSm90<layout>;
  using Ring = typename Loader::Ring;
  using State = typename Ring::State;
  using Accumulators = float[layout.accumulators()];

  __device__ __forceinline__ static void multiply(typename Loader::SharedStorage& storage, const Ring& ring,
                                                  State& state, int k_steps, int warpgroup, int lane,
                                                  Accumulators& sum) {
    const std::uint64_t x = descriptor_of(storage.x[0] + warpgroup * 64 * swizzle_row_bytes);
    const std::uint64_t w = descriptor_of(storage.w[0]);
#pragma unroll
    for (float& s : sum) s = 0.0f;
    if constexpr (layout.math_mode == MathMode::f16x3) {
      KBlock even, odd;
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
      KBlock k_block;
#pragma unroll 1
      for (int step = 0; step < k_steps; ++step) {
        ring.wait_full(state);
#pragma unroll
        for (int first = 0; first < layout.tile.n; first += k_block_columns) {
          products(k_block, x + state.stage * wgmma_descriptor_step(layout.x_bytes()),
                   w + state.stage * wgmma_descriptor_step(layout.w_bytes()) +
                       wgmma_descriptor_step(first * swizzle_row_bytes));
          ptx::wgmma_wait<0>();
          ptx::wgmma_fence_registers(k_block);
          if (first + k_block_columns == layout.tile.n) ring.template release<layout.cluster_m>(state, lane);
#pragma unroll
          for (int i = 0; i < k_block_registers; ++i) sum[first / 2 + i] += k_block[i];
        }
        state.advance();
      }
    }
  }

 private:
  static constexpr int k_block_columns = 128, k_block_registers = k_block_columns / 2;
  using KBlock = float[k_block_registers];

  /// Queues `k_block` = the products of 128 bytes of k.
  __device__ __forceinline__ static void products(KBlock& k_block, std::uint64_t x, std::uint64_t w) {
    constexpr int instructions = swizzle_row_bytes / 32;
    ptx::wgmma_fence_registers(k_block);
    ptx::wgmma_fence();
    if constexpr (layout.math_mode == MathMode::f16x3) {
      constexpr std::uint64_t x_lo = wgmma_descriptor_step(layout.tile.m * swizzle_row_bytes),
                              w_lo = wgmma_descriptor_step(layout.tile.n * swizzle_row_bytes);
#pragma unroll
      for (int i = 0; i < instructions; ++i) {
        const std::uint64_t k = i * wgmma_descriptor_step(32);
        ptx::wgmma<Dtype::f16>(k_block, x + k + x_lo, w + k, i > 0);
        ptx::wgmma<Dtype::f16>(k_block, x + k, w + k + w_lo, 1);
      }
#pragma unroll
      for (int i = 0; i < instructions; ++i) {
        const std::uint64_t k = i * wgmma_descriptor_step(32);
        ptx::wgmma<Dtype::f16>(k_block, x + k, w + k, 1);
      }
    } else {
#pragma unroll
      for (int i = 0; i < instructions; ++i) {
        const std::uint64_t k = i * wgmma_descriptor_step(32);
        ptx::wgmma<Dtype::e4m3>(k_block, x + k, w + k, i > 0);
      }
    }
    ptx::wgmma_commit();
    ptx::wgmma_fence_registers(k_block);
  }

  /// Queues the products of the next stage into `k_block`.
  __device__ __forceinline__ static void issue(KBlock& k_block, std::uint64_t x, std::uint64_t w,
                                               const Ring& ring, State& state) {
    ring.wait_full(state);
    products(k_block, x + state.stage * wgmma_descriptor_step(layout.x_bytes()),
             w + state.stage * wgmma_descriptor_step(layout.w_bytes()));
    state.advance();
  }

  /// Adds `k_block`, queued before the `pending` latest ones, to `sum` and gives its stage back.
  template <int pending>
  __device__ __forceinline__ static void retire(Accumulators& sum, KBlock& k_block, const Ring& ring,
                                                State& done, int lane) {
    ptx::wgmma_wait<pending>();
    ptx::wgmma_fence_registers(k_block);
    ring.template release<layout.cluster_m>(done, lane);
    done.advance();
#pragma unroll
    for (int i = 0; i < k_block_registers; ++i) sum[i] += k_block[i];
  }
};

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

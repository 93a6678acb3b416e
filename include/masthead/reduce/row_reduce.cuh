#pragma once
/// Row reductions of the online-softmax state (max, sum) over a warp, a block or a cluster of blocks.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cub/warp/warp_reduce.cuh>
#include <cuda/functional>

#include "masthead/numeric/softmax_state.hpp"
#include "masthead/policy/softmax_policy.hpp"
#include "masthead/ptx/cluster.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Reduces one value per lane over a warp, whose lanes call it together; every lane gets the same bits.
/// `combine` is cuda::std::plus<> or cuda::maximum<>, for which CUB has ways of its own.
// NOTES: of whole warps alone. CUB gives each smaller group a mask of its own, and a mask that lanes do not
// share makes a collective section of every exchange: 152 instead of 91 instructions for a block of 256
// threads.
template <class T, class Combine>
__device__ T reduce_warp(T value, Combine combine) {
  using Reduce = cub::WarpReduce<T>;
  static_assert(sizeof(typename Reduce::TempStorage) == 1, "empty: nothing that must be in shared memory");
  typename Reduce::TempStorage none;
  return __shfl_sync(0xffffffffu, Reduce(none).Reduce(value, combine), 0);  // CUB leaves it in lane 0
}

/// The largest of a warp's values, -inf for NaN.
// NOTES: as integers of the same order, the maximum of which sm_80 and later form in one instruction (redux),
// where floats take a shuffle, a comparison and a guard at each of five steps.
__device__ inline float warp_max(float value) {
  const auto flipped = [](int bits) { return bits ^ (bits >> 31 & 0x7fffffff); };
  const int key = flipped(__float_as_int(larger(value, negative_infinity<float>)));
  return __int_as_float(flipped(reduce_warp(key, cuda::maximum<>{})));
}
/// The largest of a warp's values, -inf for NaN: the upper halves decide, then the lower halves of those that
/// have the largest upper one.
__device__ inline double warp_max(double value) {
  const auto flipped = [](long long bits) { return bits ^ (bits >> 63 & 0x7fffffffffffffff); };
  const long long key = flipped(__double_as_longlong(larger(value, negative_infinity<double>)));
  const int upper = static_cast<int>(key >> 32);
  const int largest = reduce_warp(upper, cuda::maximum<>{});
  const unsigned lower = reduce_warp(upper == largest ? static_cast<unsigned>(key) : 0u, cuda::maximum<>{});
  return __longlong_as_double(flipped(static_cast<long long>(largest) << 32 | lower));
}

/// Merges the (max, sum) of a warp's lanes; a lane that has none gives SoftmaxState<T>{}. `unit` takes
/// differences of maxima to log2 units. Every lane gets the same bits, in an order that is fixed. All lanes
/// of the warp call it.
// NOTES: the maxima are reduced first, then each sum is rescaled once: merging pairs at every step would take
// two exponentials per step.
template <class T>
__device__ SoftmaxState<T> merge_lanes(const SoftmaxState<T>& part, T unit) {
  SoftmaxState<T> merged;
  merged.max = warp_max(part.max);
  // With part.max = -inf the factor is 0 and the sum 0 or NaN, both of which the product keeps; a NaN there
  // makes one of the sum.
  merged.sum = reduce_warp(part.sum * exp2_of((part.max - merged.shift()) * unit), cuda::std::plus<>{});
  return merged;
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES

namespace masthead::inline v0::inline MASTHEAD_ARCHITECTURES {

/// Merges the (max, sum) of `threads` adjacent threads: 32 (each warp a row of its own) or a
/// whole block of a power of two of them, up to 1024. Every one of these threads gets the result.
/// Deterministic: the order is fixed.
///
/// A block's call synchronizes it once; `TempStorage` may be used again after the block's next barrier. A
/// warp's call neither synchronizes nor touches `TempStorage`. Blocks are one-dimensional: threads of a row
/// are adjacent in threadIdx.x.
// NOTES: not cub::BlockReduce, which leaves its result in thread 0, so that broadcasting it takes a second
// barrier, and has one thread merge the warps' results one after the other.
template <class T, int threads>
class RowReduce {
  static_assert(threads >= 32 && threads <= 1024 && (threads & (threads - 1)) == 0,
                "masthead::RowReduce: threads must be a power of two between 32 and 1024");
  static constexpr int warps = threads / 32;

 public:
  struct TempStorage {
    T pairs[warps][2];  // (warp, 2): (max, sum)
  };

  __device__ explicit RowReduce(TempStorage& storage) : storage_(storage) {}

  /// All `threads` call it, each with the state of its own columns. `unit` takes differences of maxima to
  /// log2 units: 1 where the maxima are in log2 units.
  __device__ SoftmaxState<T> operator()(SoftmaxState<T> part, T unit = T(1)) {
    part = detail::merge_lanes(part, unit);
    if constexpr (warps > 1) {
      const int lane = static_cast<int>(threadIdx.x) % 32;
      if (lane == 0) {
        storage_.pairs[threadIdx.x / 32][0] = part.max;
        storage_.pairs[threadIdx.x / 32][1] = part.sum;
      }
      __syncthreads();
      // Every warp merges all warps: no second barrier.
      part = lane < warps ? SoftmaxState<T>{storage_.pairs[lane][0], storage_.pairs[lane][1]}
                          : SoftmaxState<T>{};
      part = detail::merge_lanes(part, unit);
    }
    return part;
  }

 private:
  TempStorage& storage_;
};

}  // namespace masthead::inline v0::inline MASTHEAD_ARCHITECTURES

namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Says that the exchange over a cluster is open already.
struct Opened {};

/// Merges one (max, sum) per block over the blocks of a cluster, in a fixed order; every thread gets the
/// result. In a cluster of one block there is nothing to do.
///
/// All threads of all the cluster's blocks construct it, well before they need the result, and call it once,
/// or once more with `again`.
/// Each block pushes its pair into its peers' shared memory and waits for theirs, so no block can leave while
/// a peer still needs it.
template <class T>
class ClusterReduce {
 public:
  struct TempStorage {
    alignas(2 * sizeof(T)) T pairs[max_cluster][2];  // (CTA rank, 2): (max, sum)
    std::uint64_t barrier;
  };

  /// Opens the exchange without waiting for peers: what comes before the call hides that wait.
  __device__ explicit ClusterReduce(TempStorage& storage) : ClusterReduce(storage, Opened{}) {
    if (size_ == 1) return;
    if (threadIdx.x == 0) ptx::cluster_barrier_init(&storage.barrier);
    ptx::cluster_arrive_relaxed();
  }

  /// Stands for an object that has been called, in a function that has it no more: only `again` is left.
  __device__ ClusterReduce(TempStorage& storage, Opened) : storage_(storage), size_(ptx::cluster_size()) {}

  __device__ SoftmaxState<T> operator()(const SoftmaxState<T>& block) {
    if (size_ == 1) return block;
    ptx::cluster_wait();
    return exchange(block, 0, T(1));
  }

  /// Merges states of the same blocks a second time. `unit` takes differences of maxima to log2 units.
  __device__ SoftmaxState<T> again(const SoftmaxState<T>& block, T unit) {
    if (size_ == 1) return block;
    ptx::cluster_synchronize();  // every block has what was exchanged first
    return exchange(block, 1, unit);
  }

 private:
  __device__ SoftmaxState<T> exchange(const SoftmaxState<T>& block, unsigned phase, T unit) {
    if (threadIdx.x == 0)
      ptx::cluster_barrier_expect(&storage_.barrier, size_ * 2 * static_cast<int>(sizeof(T)));
    if (static_cast<int>(threadIdx.x) < size_) {
      const T pair[2] = {block.max, block.sum};
      ptx::cluster_store(storage_.pairs[ptx::cluster_cta_rank()], pair, &storage_.barrier,
                         static_cast<int>(threadIdx.x));
    }
    ptx::cluster_barrier_wait(&storage_.barrier, phase);
    const int cta_rank = static_cast<int>(threadIdx.x) % 32;
    return merge_lanes(cta_rank < size_
                           ? SoftmaxState<T>{storage_.pairs[cta_rank][0], storage_.pairs[cta_rank][1]}
                           : SoftmaxState<T>{},
                       unit);
  }

  TempStorage& storage_;
  int size_;
};

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

#pragma once
/// Row reductions of the online-softmax pair over a warp, a block or a cluster of blocks.

#include <cub/warp/warp_reduce.cuh>

#include "masthead/numeric/online_softmax.hpp"
#include "masthead/ptx/cluster.cuh"
#include "masthead/softmax/policy.hpp"

namespace masthead::inline v0 {

/// Merges the (max, sum) of `threads` adjacent threads, in log2 units: 32 (each warp a row of its own) or a
/// whole block of a power of two of them, up to 1024. Every one of these threads gets the result.
/// Deterministic: the order is fixed.
///
/// A block's call synchronises it once; `TempStorage` may be used again after the block's next barrier. A
/// warp's call neither synchronises nor touches `TempStorage`.
// NOTES: two levels of cub::WarpReduce. cub::BlockReduce leaves its result in thread 0, so that broadcasting
// it takes a second barrier, and has one thread merge the warps' results one after the other. Each level
// reduces the maxima, rescales its own sum once, then reduces the sums: merging pairs at every step would
// take two exponentials a step.
template <class T, int threads>
class RowReduce {
  static_assert(threads >= 32 && threads <= 1024 && (threads & (threads - 1)) == 0,
                "masthead::RowReduce: threads must be a power of two between 32 and 1024");
  static constexpr int warps = threads / 32;

 public:
  struct TempStorage {
    T pairs[warps][2];  // (max, sum) of each warp
  };

  __device__ explicit RowReduce(TempStorage& storage) : storage_(storage) {}

  /// All `threads` call with their own part of the row.
  __device__ OnlineSoftmax<T> operator()(OnlineSoftmax<T> part) {
    part = merge_lanes(part);
    if constexpr (warps > 1) {
      const int lane = static_cast<int>(threadIdx.x) % 32;
      if (lane == 0) {
        storage_.pairs[threadIdx.x / 32][0] = part.max;
        storage_.pairs[threadIdx.x / 32][1] = part.sum;
      }
      __syncthreads();
      // Every warp merges all warps: no second barrier.
      part = lane < warps ? OnlineSoftmax<T>{storage_.pairs[lane % warps][0], storage_.pairs[lane % warps][1]}
                          : OnlineSoftmax<T>{};
      part = merge_lanes(part);
    }
    return part;
  }

 private:
  struct Larger {
    __device__ T operator()(T a, T b) const { return larger(a, b); }
  };

  __device__ static OnlineSoftmax<T> merge_lanes(const OnlineSoftmax<T>& part) {
    using Reduce = cub::WarpReduce<T>;
    typename Reduce::TempStorage none;  // empty: shuffles
    OnlineSoftmax<T> merged;
    merged.max = __shfl_sync(0xffffffffu, Reduce(none).Reduce(part.max, Larger{}), 0);
    // With part.max = -inf the factor is 0 and the sum 0 or NaN, both of which the product keeps.
    merged.sum =
        __shfl_sync(0xffffffffu, Reduce(none).Sum(part.sum * exp2_of(part.max - merged.reference())), 0);
    return merged;
  }

  TempStorage& storage_;
};

/// Merges one (max, sum) a block over the blocks of a cluster, in ascending rank; every thread gets the
/// result. Nothing in a cluster of one block.
///
/// All threads of all the cluster's blocks construct it, early, and call it once. Each block pushes its pair
/// into its peers' shared memory and waits for theirs, so no block can leave while a peer still needs it.
template <class T>
class ClusterReduce {
 public:
  struct TempStorage {
    alignas(2 * sizeof(T)) T pairs[max_cluster][2];  // (max, sum) of each rank
    std::uint64_t barrier;
  };

  /// Opens the exchange without waiting for peers: what comes before the call hides that wait.
  __device__ explicit ClusterReduce(TempStorage& storage) : storage_(storage), size_(ptx::cluster_size()) {
    if (size_ == 1) return;
    if (threadIdx.x == 0) ptx::cluster_barrier_init(&storage.barrier);
    ptx::cluster_arrive_relaxed();
  }

  __device__ OnlineSoftmax<T> operator()(const OnlineSoftmax<T>& block) {
    if (size_ == 1) return block;
    ptx::cluster_wait();
    if (threadIdx.x == 0)
      ptx::cluster_barrier_expect(&storage_.barrier, size_ * 2 * static_cast<int>(sizeof(T)));
    if (static_cast<int>(threadIdx.x) < size_) {
      const T pair[2] = {block.max, block.sum};
      ptx::cluster_store(storage_.pairs[ptx::cluster_rank()], pair, &storage_.barrier,
                         static_cast<int>(threadIdx.x));
    }
    ptx::cluster_barrier_wait(&storage_.barrier);
    OnlineSoftmax<T> row{storage_.pairs[0][0], storage_.pairs[0][1]};
    for (int rank = 1; rank < size_; ++rank) {
      row = OnlineSoftmaxCombine<T>{T(1)}(row, {storage_.pairs[rank][0], storage_.pairs[rank][1]});
    }
    return row;
  }

 private:
  TempStorage& storage_;
  int size_;
};

}  // namespace masthead::inline v0

#pragma once
/// Row reductions of the online-softmax pair over a warp, a block or a cluster of blocks.

#include "masthead/numeric/online_softmax.hpp"
#include "masthead/ptx/cluster.cuh"
#include "masthead/softmax/policy.hpp"

namespace masthead::inline v0 {

/// Merges the (max, sum) of each `lanes` adjacent lanes of a warp, a power of two of them, in log2 units.
/// Every lane gets the same bits, in an order that is fixed. All lanes of the warp call.
// NOTES: by exclusive or, which leaves the result in every lane; cub::WarpReduce leaves it in the first, and
// every step of a row's last reduction is waited for. The maxima are reduced first, then each sum is rescaled
// once: merging pairs at every step would take two exponentials a step.
template <int lanes, class T>
__device__ OnlineSoftmax<T> merge_lanes(const OnlineSoftmax<T>& part) {
  OnlineSoftmax<T> merged = part;
#pragma unroll
  for (int mask = lanes / 2; mask > 0; mask /= 2)
    merged.max = larger(merged.max, __shfl_xor_sync(0xffffffffu, merged.max, mask));
  // With part.max = -inf the factor is 0 and the sum 0 or NaN, both of which the product keeps.
  merged.sum *= exp2_of(part.max - merged.reference());
#pragma unroll
  for (int mask = lanes / 2; mask > 0; mask /= 2)
    merged.sum += __shfl_xor_sync(0xffffffffu, merged.sum, mask);
  return merged;
}

/// Merges the (max, sum) of `threads` adjacent threads, in log2 units: 32 (each warp a row of its own) or a
/// whole block of a power of two of them, up to 1024. Every one of these threads gets the result.
/// Deterministic: the order is fixed.
///
/// A block's call synchronises it once; `TempStorage` may be used again after the block's next barrier. A
/// warp's call neither synchronises nor touches `TempStorage`.
// NOTES: not cub::BlockReduce, which leaves its result in thread 0, so that broadcasting it takes a second
// barrier, and has one thread merge the warps' results one after the other.
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
    part = merge_lanes<32>(part);
    if constexpr (warps > 1) {
      const int lane = static_cast<int>(threadIdx.x) % 32;
      if (lane == 0) {
        storage_.pairs[threadIdx.x / 32][0] = part.max;
        storage_.pairs[threadIdx.x / 32][1] = part.sum;
      }
      __syncthreads();
      // Every warp merges all warps: no second barrier.
      part = merge_lanes<warps>(
          OnlineSoftmax<T>{storage_.pairs[lane % warps][0], storage_.pairs[lane % warps][1]});
    }
    return part;
  }

 private:
  TempStorage& storage_;
};

/// Merges one (max, sum) a block over the blocks of a cluster, in a fixed order; every thread gets the
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
    const int rank = static_cast<int>(threadIdx.x) % max_cluster;
    return merge_lanes<max_cluster>(rank < size_
                                        ? OnlineSoftmax<T>{storage_.pairs[rank][0], storage_.pairs[rank][1]}
                                        : OnlineSoftmax<T>{});
  }

 private:
  TempStorage& storage_;
  int size_;
};

}  // namespace masthead::inline v0

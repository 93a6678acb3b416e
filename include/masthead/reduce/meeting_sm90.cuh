#pragma once
/// Waiting for the other blocks of a cooperative launch.

#include <cooperative_groups.h>
#include <cuda/atomic>

#include <utility>

#include "masthead/config.hpp"

namespace masthead::inline v0 {

/// The whole grid meets, through the barrier the driver keeps for cooperative launches: no memory of ours, so
/// nothing a failed or repeated launch could leave behind. Every thread of every block calls `arrive` once
/// and `wait` once, or `pass` instead of both.
class GridMeeting {
 public:
  /// On return all threads of the block have arrived.
  __device__ void arrive() { token_ = cooperative_groups::this_grid().barrier_arrive(); }
  /// On return what any thread of the grid wrote before arriving is visible to loads past L1.
  __device__ void wait() { cooperative_groups::this_grid().barrier_wait(std::move(token_)); }

  __device__ static void pass() { cooperative_groups::this_grid().sync(); }

 private:
  cooperative_groups::grid_group::arrival_token token_;
};

/// Some blocks of a cooperative launch meet at a word that was zero when the grid started.
class WordMeeting {
 public:
  __device__ explicit WordMeeting(unsigned& word) : word_(word) {}

  /// One thread a block, behind a barrier of the threads whose writes the others are to see.
  __device__ void arrive() { word_.fetch_add(1, cuda::memory_order_release); }
  /// On return what the `expected` blocks wrote before arriving is visible to loads past L1. Any thread;
  /// others of its block behind a barrier after it.
  __device__ void wait(int expected) const {
    while (word_.load(cuda::memory_order_acquire) != static_cast<unsigned>(expected)) {
    }
  }

 private:
  cuda::atomic_ref<unsigned, cuda::thread_scope_device> word_;
};

}  // namespace masthead::inline v0

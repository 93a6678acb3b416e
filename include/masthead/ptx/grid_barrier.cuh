#pragma once
/// The grid barrier: waiting for the other blocks of a cooperative launch.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cooperative_groups.h>

#include <utility>

#include "masthead/core/config.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail {

/// A barrier of the whole grid, through the one that the driver has for cooperative launches: no memory of
/// ours, so nothing that a failed or repeated launch could leave behind. Every thread of every block calls
/// `arrive` once and `wait` once, or `pass` instead of both.
class GridBarrier {
 public:
  /// Arrives. On return all threads of the block have arrived.
  __device__ void arrive() { token_ = cooperative_groups::this_grid().barrier_arrive(); }
  /// Waits for the grid. On return what any thread of the grid wrote before arriving is visible to loads past
  /// L1.
  __device__ void wait() { cooperative_groups::this_grid().barrier_wait((std::move)(token_)); }

  /// Arrives and waits.
  __device__ static void pass() { cooperative_groups::this_grid().sync(); }

 private:
  cooperative_groups::grid_group::arrival_token token_;
};

}  // namespace masthead::inline v0::detail
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

#pragma once
/// What GPUs allow a block and a cluster.

namespace masthead::inline v0::detail {

/// Shared memory a block can have at most on any architecture so far (sm_90; 227 KB). What the device at hand
/// has is checked at launch.
inline constexpr int max_shared_bytes = 232448;

/// Shared memory a block can have at most on an architecture (CUDA Programming Guide, "Compute
/// Capabilities").
constexpr int shared_bytes_per_block(int architecture) {
  switch (architecture) {
    case 75:
      return 64 * 1024;
    case 80:
    case 87:
      return 163 * 1024;
    case 86:
    case 88:
    case 89:
    case 120:
    case 121:
      return 99 * 1024;
    default:
      return max_shared_bytes;
  }
}

/// Threads that are resident on a multiprocessor at most (CUDA Programming Guide, "Compute Capabilities").
/// Launch bounds that ask for more are ignored with a warning of ptxas.
constexpr int threads_per_multiprocessor(int architecture) {
  switch (architecture) {
    case 75:
      return 1024;
    case 86:
    case 87:
    case 88:
    case 89:
    case 110:
    case 120:
    case 121:
      return 1536;
    default:
      return 2048;
  }
}

/// Blocks that are resident on a multiprocessor at most (CUDA Programming Guide, "Compute Capabilities").
constexpr int blocks_per_multiprocessor(int architecture) {
  switch (architecture) {
    case 75:
    case 86:
    case 87:
    case 88:
      return 16;
    case 89:
    case 110:
    case 120:
    case 121:
      return 24;
    default:
      return 32;
  }
}

/// The largest cluster that every sm_90 GPU can schedule (CUDA Programming Guide, "Thread Block Clusters").
inline constexpr int max_cluster = 8;

}  // namespace masthead::inline v0::detail

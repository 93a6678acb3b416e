#pragma once
/// A copy kernel: what a kernel that reads and writes every byte once can reach.

#include <algorithm>
#include <cstdint>

#include "support/cuda.cuh"

namespace benchmark {

inline constexpr int copy_threads = 256;
inline constexpr int copy_vectors = 4;  ///< 16-byte loads in flight per thread

/// `vectors` of 16 bytes, and `tail` bytes after them.
static __global__ void __launch_bounds__(copy_threads)
    copy_kernel(uint4* __restrict__ to, const uint4* __restrict__ from, std::int64_t vectors, int tail) {
  const std::int64_t first = std::int64_t(blockIdx.x) * copy_threads * copy_vectors + threadIdx.x;
  uint4 values[copy_vectors];
#pragma unroll
  for (int i = 0; i < copy_vectors; ++i) {
    if (first + i * copy_threads < vectors) values[i] = from[first + i * copy_threads];
  }
#pragma unroll
  for (int i = 0; i < copy_vectors; ++i) {
    if (first + i * copy_threads < vectors) to[first + i * copy_threads] = values[i];
  }
  if (blockIdx.x == 0 && threadIdx.x < tail) {
    reinterpret_cast<char*>(to + vectors)[threadIdx.x] =
        reinterpret_cast<const char*>(from + vectors)[threadIdx.x];
  }
}

/// Both pointers aligned to 16 bytes. Stream ordered.
inline void copy(void* to, const void* from, std::int64_t bytes, cudaStream_t stream) {
  constexpr std::int64_t block_vectors = copy_threads * copy_vectors;
  const std::int64_t vectors = bytes / 16;
  launch(&copy_kernel, std::max<std::int64_t>(1, (vectors + block_vectors - 1) / block_vectors), copy_threads,
         stream, static_cast<uint4*>(to), static_cast<const uint4*>(from), vectors,
         static_cast<int>(bytes % 16));
}

}  // namespace benchmark

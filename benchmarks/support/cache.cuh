#pragma once
/// Keeping the L2 cache from serving what a benchmark reads: rotating buffer sets, and a sweep before single
/// calls.

#include <algorithm>
#include <cstdint>

#include "support/cuda.cuh"
#include "support/random_fill.cuh"

namespace benchmark {

/// Bytes after whose use nothing older is left in L2: three times its size, and at least 256 MB.
inline std::int64_t rotation_bytes() {
  return std::max(3 * std::int64_t(device_attribute(cudaDevAttrL2CacheSize)), std::int64_t(256) << 20);
}

/// How many buffer sets of this size to rotate over.
inline int rotation_sets(std::int64_t bytes_per_set) {
  return static_cast<int>(std::max<std::int64_t>(2, (rotation_bytes() + bytes_per_set - 1) / bytes_per_set));
}

static __global__ void read_sweep_kernel(const uint4* data, std::int64_t size, unsigned* sink) {
  unsigned folded = 0;
  const std::int64_t step = std::int64_t(gridDim.x) * blockDim.x;
  for (std::int64_t i = std::int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < size; i += step) {
    const uint4 vector = data[i];
    folded ^= vector.x ^ vector.y ^ vector.z ^ vector.w;
  }
  // Practically never true, but the compiler has to read everything to know.
  if (folded == 0x7fc0ffee) *sink = folded;
}

/// Replaces the contents of L2 by reading another buffer. Reading also writes back the lines earlier kernels
/// left dirty, before the timed call starts: a flush by writing would leave dirty lines of its own, and the
/// timed call would pay for their write-back.
class CacheSweep {
 public:
  explicit CacheSweep(cudaStream_t stream) : data_(rotation_bytes() / 4), sink_(1) {
    random_fill(data_, Normal{}, 0xcac4e, stream);
  }

  void operator()(cudaStream_t stream) const {
    launch(&read_sweep_kernel, 8 * device_attribute(cudaDevAttrMultiProcessorCount), 256, stream,
           reinterpret_cast<const uint4*>(data_.data()), data_.size() / 4, sink_.data());
  }

 private:
  DeviceBuffer<float> data_;
  DeviceBuffer<unsigned> sink_;
};

}  // namespace benchmark

#pragma once
/// Random device data. Never zeros: they take less power, so kernels run faster on them than on real data.

#include <cstdint>

#include "masthead/core/dtype.cuh"
#include "support/cuda.cuh"

namespace benchmark {

/// Two independent values in (0, 1), from the 64 bits that element `index` of stream `seed` hashes to
/// (the finalizer of splitmix64; Steele, Lea and Flood, "Fast splittable pseudorandom number generators").
template <class Real>
struct UniformPair {
  Real first, second;

  static __device__ UniformPair of(std::uint64_t seed, std::uint64_t index) {
    std::uint64_t bits = (seed << 40) + index + 1;
    bits *= 0x9e3779b97f4a7c15u;
    bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9u;
    bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebu;
    bits ^= bits >> 31;
    // 23 bits each, centered in their cell: exact in float, and never 0 or 1.
    constexpr Real cell = Real(1) / (1 << 23);
    return {(static_cast<Real>(bits >> 41) + Real(0.5)) * cell,
            (static_cast<Real>((bits >> 9) & 0x7fffff) + Real(0.5)) * cell};
  }
};

struct Uniform {
  double low = 0, high = 1;

  template <class Real>
  __device__ Real operator()(UniformPair<Real> u) const {
    return static_cast<Real>(low) + static_cast<Real>(high - low) * u.first;
  }
};

/// Box and Muller's transform.
struct Normal {
  double mean = 0, deviation = 1;

  template <class Real>
  __device__ Real operator()(UniformPair<Real> u) const {
    constexpr Real two_pi = Real(6.283185307179586);
    const Real unit = sqrt(Real(-2) * log(u.first)) * cos(two_pi * u.second);
    return static_cast<Real>(mean) + static_cast<Real>(deviation) * unit;
  }
};

template <class T, class Distribution>
__global__ void random_fill_kernel(T* data, std::int64_t size, Distribution distribution,
                                   std::uint64_t seed) {
  const std::int64_t step = std::int64_t(gridDim.x) * blockDim.x;
  for (std::int64_t i = std::int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < size; i += step) {
    using Real = masthead::Accumulator<T>;
    data[i] = masthead::narrow<T>(distribution(UniformPair<Real>::of(seed, static_cast<std::uint64_t>(i))));
  }
}

/// Fills the buffer; the same seed gives the same values. Stream ordered.
template <class T, class Distribution>
void random_fill(const DeviceBuffer<T>& buffer, Distribution distribution, std::uint64_t seed,
                 cudaStream_t stream) {
  launch(&random_fill_kernel<T, Distribution>, 2048, 256, stream, buffer.data(), buffer.size(), distribution,
         seed);
}

/// Every byte 0xff: a NaN in every floating-point type, so that an element nothing wrote is seen.
template <class T>
void poison(const DeviceBuffer<T>& buffer, cudaStream_t stream) {
  succeed(cudaMemsetAsync(buffer.data(), 0xff, static_cast<std::size_t>(buffer.bytes()), stream));
}

template <class T>
__global__ void count_nan_kernel(const T* data, std::int64_t size, unsigned long long* count) {
  const std::int64_t step = std::int64_t(gridDim.x) * blockDim.x;
  for (std::int64_t i = std::int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < size; i += step) {
    const auto value = masthead::widen(data[i]);
    if (value != value) atomicAdd(count, 1ull);
  }
}

/// NaNs in the buffer. Synchronizes the stream.
template <class T>
std::int64_t count_nan(const DeviceBuffer<T>& buffer, cudaStream_t stream) {
  DeviceBuffer<unsigned long long> count(1);
  succeed(cudaMemsetAsync(count.data(), 0, sizeof(unsigned long long), stream));
  launch(&count_nan_kernel<T>, 2048, 256, stream, buffer.data(), buffer.size(), count.data());
  unsigned long long host = 0;
  succeed(cudaMemcpyAsync(&host, count.data(), sizeof(host), cudaMemcpyDeviceToHost, stream));
  succeed(cudaStreamSynchronize(stream));
  return static_cast<std::int64_t>(host);
}

}  // namespace benchmark

#pragma once
/// The device memory of a case: regions of one allocation, what fills them, and the hash of what a pass left.

#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>

#include "fingerprint/cases.hpp"
#include "masthead/core/dtype.cuh"
#include "support/cuda.cuh"
#include "support/random_fill.cuh"

namespace benchmark {

/// What every byte of memory holds before a pass. No output is the second: all types read it as a large
/// positive number, more than any probability, logarithm of one, or statistic.
inline constexpr int poisons[] = {0xff, 0x5a};

/// One allocation that every case takes its memory from anew: allocating for each would take longer than the
/// cases do.
class Arena {
 public:
  explicit Arena(std::int64_t bytes) : memory_(bytes) {}

  void reset() { used_ = 0; }

  /// Aligned to 256 bytes. Throws when the allocation is too small.
  template <class T>
  T* take(std::int64_t count) {
    const std::int64_t bytes = count * static_cast<std::int64_t>(sizeof(T));
    if (bytes > memory_.bytes() - used_) throw std::runtime_error("a case does not fit in the arena");
    T* const data = reinterpret_cast<T*>(memory_.data() + used_);
    used_ += (bytes + 255) / 256 * 256;
    return data;
  }

 private:
  DeviceBuffer<unsigned char> memory_;
  std::int64_t used_ = 0;
};

/// A matrix with what lies around it: elements in front (its offset), between rows, and behind the last.
template <class T>
struct Region {
  T* memory = nullptr;
  std::int64_t offset = 0, rows = 0, columns = 0, row_stride = 0, size = 0;

  static Region take(Arena& arena, std::int64_t rows, std::int64_t columns, const Placement& placement = {}) {
    constexpr std::int64_t behind = 32;
    Region r{nullptr, placement.offset, rows, columns, columns + placement.padding, 0};
    r.size = r.offset + rows * r.row_stride + behind;
    r.memory = arena.take<T>(r.size);
    return r;
  }

  T* data() const { return memory + offset; }
};

/// Blocks of 256 threads for a loop over `size` elements.
inline std::int64_t loop_blocks(std::int64_t size) {
  const std::int64_t blocks = (size + 2047) / 2048;
  return blocks < 2048 ? blocks : 2048;
}

template <class T>
void poison(const Region<T>& region, int value, cudaStream_t stream) {
  succeed(cudaMemsetAsync(region.memory, value, static_cast<std::size_t>(region.size) * sizeof(T), stream));
}

/// magnitude * a * b with a and b uniform in (-1, 1): numbers of many exponents, of 46 significant
/// bits in double. `magnitude` is a power of two. Every operation but the product of a and b is exact and
/// that one is no part of a sum, so the bits are the same whatever a compiler contracts.
struct UniformProduct {
  double magnitude = 1;

  template <class Real>
  __device__ Real operator()(UniformPair<Real> u) const {
    return static_cast<Real>(magnitude) * ((2 * u.first - 1) * (2 * u.second - 1));
  }
};

template <class T, class Distribution>
__global__ void fill_region_kernel(Region<T> region, Distribution distribution, std::uint64_t seed) {
  using Real = masthead::Accumulator<T>;
  const std::int64_t size = region.rows * region.columns, step = std::int64_t(gridDim.x) * blockDim.x;
  for (std::int64_t i = std::int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < size; i += step) {
    region.memory[region.offset + i / region.columns * region.row_stride + i % region.columns] =
        masthead::narrow<T>(distribution(UniformPair<Real>::of(seed, static_cast<std::uint64_t>(i))));
  }
}

/// Fills the matrix and poisons what is around it. An element depends on the seed and on its row and column
/// alone. Of `Uniform` use only intervals as wide as a power of two: their bits do not depend on contraction.
template <class T, class Distribution>
void fill(const Region<T>& region, const Distribution& distribution, std::uint64_t seed, cudaStream_t stream,
          int around = poisons[0]) {
  poison(region, around, stream);
  launch(&fill_region_kernel<T, Distribution>, loop_blocks(region.rows * region.columns), 256, stream, region,
         distribution, seed);
}

template <class T>
__global__ void place_non_finite_kernel(Region<T> region, T nan, T infinity, T negative_infinity) {
  constexpr int placed = 6;
  T* const data = region.memory + region.offset;
  if (threadIdx.x == 0) {  // of short rows, several fall on one element: the last stays
    for (std::int64_t i = 0; i < placed && i < region.rows; ++i) {
      const std::int64_t row = (region.rows - 1) * i / placed, column = i * 37 % region.columns;
      data[row * region.row_stride + column] = i % 3 == 0 ? nan : i % 3 == 1 ? infinity : negative_infinity;
    }
  }
  if (region.rows < 2) return;
  for (std::int64_t column = threadIdx.x; column < region.columns; column += blockDim.x) {
    data[(region.rows - 1) * region.row_stride + column] = negative_infinity;
  }
}

/// NaN and both infinities in a few rows from the first on, and a last row of -inf.
template <class T>
void place_non_finite(const Region<T>& region, cudaStream_t stream) {
  using Limits = std::numeric_limits<masthead::Accumulator<T>>;
  launch(&place_non_finite_kernel<T>, 1, 256, stream, region, masthead::narrow<T>(Limits::quiet_NaN()),
         masthead::narrow<T>(Limits::infinity()), masthead::narrow<T>(-Limits::infinity()));
}

/// The finalizer of splitmix64.
__host__ __device__ constexpr std::uint64_t mixed(std::uint64_t bits) {
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9u;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebu;
  return bits ^ (bits >> 31);
}

/// What is left of one region.
struct Digest {
  unsigned long long hash = 0;       ///< sum over row-major i of mixed(bits of element i + (i + 1) * odd)
  unsigned long long unwritten = 0;  ///< elements of the matrix that are the poison
  unsigned long long touched = 0;    ///< elements around it that are not
};

// A sum of integers is the same in any order.
template <class Bits>
__global__ void digest_kernel(Region<Bits> region, Bits poison, Digest* digest) {
  Digest mine;
  const std::int64_t step = std::int64_t(gridDim.x) * blockDim.x;
  for (std::int64_t i = std::int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < region.size; i += step) {
    const Bits bits = region.memory[i];
    const std::int64_t at = i - region.offset, row = at / region.row_stride, column = at % region.row_stride;
    if (at < 0 || row >= region.rows || column >= region.columns) {
      mine.touched += bits != poison;
      continue;
    }
    const auto index = static_cast<std::uint64_t>(row * region.columns + column);
    mine.hash += mixed(bits + (index + 1) * 0x9e3779b97f4a7c15u);
    mine.unwritten += bits == poison;
  }
  for (int mask = 16; mask > 0; mask /= 2) {
    mine.hash += __shfl_xor_sync(0xffffffffu, mine.hash, mask);
    mine.unwritten += __shfl_xor_sync(0xffffffffu, mine.unwritten, mask);
    mine.touched += __shfl_xor_sync(0xffffffffu, mine.touched, mask);
  }
  if (threadIdx.x % 32 != 0) return;
  atomicAdd(&digest->hash, mine.hash);
  if (mine.unwritten != 0) atomicAdd(&digest->unwritten, mine.unwritten);
  if (mine.touched != 0) atomicAdd(&digest->touched, mine.touched);
}

/// The digests of several regions, one after another, as one: of the hashes, in this order, and the sums of
/// the counts.
class Digester {
 public:
  Digester(Arena& arena, cudaStream_t stream) : digests_(arena.take<Digest>(most)), stream_(stream) {
    succeed(cudaMemsetAsync(digests_, 0, most * sizeof(Digest), stream));
  }

  template <class T>
  void add(const Region<T>& region, int poison) {
    if constexpr (sizeof(T) == 2) {
      add_bits<std::uint16_t>(region, poison);
    } else if constexpr (sizeof(T) == 4) {
      add_bits<std::uint32_t>(region, poison);
    } else {
      static_assert(sizeof(T) == 8);
      add_bits<std::uint64_t>(region, poison);
    }
  }

  /// Synchronizes the stream, so errors of the kernels before show here.
  Digest read() const {
    Digest host[most], total;
    succeed(cudaMemcpyAsync(host, digests_, sizeof(host), cudaMemcpyDeviceToHost, stream_));
    succeed(cudaStreamSynchronize(stream_));
    for (int i = 0; i < count_; ++i) {
      total.hash = mixed(total.hash * 0x9e3779b97f4a7c15u + host[i].hash + 1);
      total.unwritten += host[i].unwritten;
      total.touched += host[i].touched;
    }
    return total;
  }

 private:
  static constexpr int most = 8;

  template <class Bits, class T>
  void add_bits(const Region<T>& region, int poison) {
    if (count_ == most) throw std::logic_error("too many regions for a Digester");
    const Region<Bits> bits{reinterpret_cast<Bits*>(region.memory),
                            region.offset,
                            region.rows,
                            region.columns,
                            region.row_stride,
                            region.size};
    const auto pattern = static_cast<Bits>(0x0101010101010101u * static_cast<std::uint64_t>(poison));
    launch(&digest_kernel<Bits>, loop_blocks(region.size), 256, stream_, bits, pattern, digests_ + count_);
    ++count_;
  }

  Digest* digests_;
  int count_ = 0;
  cudaStream_t stream_;
};

/// A case's seeds, one per tensor: a hash of its name, so that new cases leave the data of others as they
/// are.
class Seeds {
 public:
  explicit Seeds(std::string_view name) {
    std::uint64_t hash = 0;
    for (const char c : name) hash = mixed(hash + static_cast<unsigned char>(c) + 1);
    first_ = (hash & 0xfffff) << 4;  // UniformPair has 24 bits of seeds
  }

  std::uint64_t next() { return first_ + count_++; }

 private:
  std::uint64_t first_, count_ = 0;
};

}  // namespace benchmark

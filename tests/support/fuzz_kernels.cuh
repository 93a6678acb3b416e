#pragma once
/// The kernels of tests/device/fuzz: they fill the memory of a case, compute its reference, and judge what a
/// call left.

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "fuzz_device.cuh"

namespace test::fuzz {

namespace {

void succeed(cudaError_t status) {
  if (status != cudaSuccess) throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(status));
}

constexpr int canary = 0xa5, poison_byte = 0xff, fence = 256, threads = 256;

unsigned blocks_for(std::int64_t count) {
  return static_cast<unsigned>(std::clamp<std::int64_t>((count + threads - 1) / threads, 1, 1 << 16));
}

/// The loop of a kernel over [0, count).
__device__ std::int64_t first_index() { return std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; }
__device__ std::int64_t index_step() { return std::int64_t{gridDim.x} * blockDim.x; }

// ---- inputs

enum class Content { head_x, head_weight, softmax_x };

__global__ void fill_matrix_kernel(Case c, Content content, Region r) {
  for (std::int64_t i = first_index(); i < r.rows * r.columns; i += index_step()) {
    const std::int64_t row = i / r.columns, column = i % r.columns;
    const double value = content == Content::head_x        ? head_x(c, row, column)
                         : content == Content::head_weight ? head_weight(c, row, column)
                                                           : softmax_x(c, row, column);
    store_element(r.memory + r.offset, r.dtype, row * r.row_stride + column, value);
  }
}

__device__ double vector_value(const Case& c, Stream role, std::int64_t i) {
  switch (role) {
    case stream_bias:
      return bias_value(c, i);
    case stream_gamma:
      return gamma_value(c, i);
    case stream_beta:
      return beta_value(c, i);
    case stream_mean:
      return mean_value(c, i);
    case stream_var:
      return var_value(c, i);
    default:
      return scale_value(c, i);
  }
}

__global__ void fill_vector_kernel(Case c, Stream role, Region r) {
  for (std::int64_t i = first_index(); i < r.columns; i += index_step()) {
    store_element(r.memory + r.offset, r.dtype, i, vector_value(c, role, i));
  }
}

__global__ void fill_running_kernel(Case c, Region mean, Region var, std::int64_t* tracked) {
  for (std::int64_t i = first_index(); i < mean.columns; i += index_step()) {
    store_element(mean.memory + mean.offset, mean.dtype, i, running_mean_before(c, i));
    store_element(var.memory + var.offset, var.dtype, i, running_var_before(c, i));
  }
  if (first_index() == 0) *tracked = batches_before;
}

/// The scale as double: (columns) or (1).
__global__ void widen_kernel(Region from, double absent, double* to, std::int64_t count) {
  for (std::int64_t i = first_index(); i < count; i += index_step()) {
    to[i] = from.rows > 0 ? load_element(from.memory + from.offset, from.dtype, i) : absent;
  }
}

// ---- the reference of a head

/// The largest finite magnitude of each row. A warp per row.
__global__ void largest_kernel(Region r, double* largest) {
  const std::int64_t row = first_index() / 32;
  if (row >= r.rows) return;
  double most = 0;
  for (std::int64_t k = threadIdx.x % 32; k < r.columns; k += 32) {
    const double value = fabs(load_element(r.memory + r.offset, r.dtype, row * r.row_stride + k));
    if (is_finite(value)) most = fmax(most, value);
  }
  for (int lane = 16; lane > 0; lane /= 2) most = fmax(most, __shfl_xor_sync(~0u, most, lane));
  if (threadIdx.x % 32 == 0) largest[row] = most;
}

/// A matrix as it is multiplied, dense.
__global__ void multiplied_kernel(Region r, MathMode mode, const double* largest, double* to) {
  for (std::int64_t i = first_index(); i < r.rows * r.columns; i += index_step()) {
    const std::int64_t row = i / r.columns, column = i % r.columns;
    to[i] = multiplied_as(mode, load_element(r.memory + r.offset, r.dtype, row * r.row_stride + column),
                          largest[row]);
  }
}

struct ProductParams {
  const double *x, *w;                  // (rows, depth), (columns, depth)
  const double *largest_x, *largest_w;  // (rows), (columns)
  std::int64_t rows, columns, depth;
  SumError bound;
  double *z, *error;  // (rows, columns)
};

constexpr int tile = 32, tile_rows = 4;  // outputs per thread

/// z and its error bound: tiles of 32 x 32 outputs, in ascending k.
__global__ void __launch_bounds__(tile* tile / tile_rows) product_kernel(ProductParams p) {
  __shared__ double x[tile][tile + 1], w[tile][tile + 1];  // (row, k), (column, k)
  constexpr int step = tile / tile_rows;
  const int tx = static_cast<int>(threadIdx.x) % tile, ty = static_cast<int>(threadIdx.x) / tile;
  const std::int64_t first_column = std::int64_t{blockIdx.x} * tile;
  for (std::int64_t first_row = std::int64_t{blockIdx.y} * tile; first_row < p.rows;
       first_row += std::int64_t{gridDim.y} * tile) {
    Product products[tile_rows];
    for (std::int64_t first = 0; first < p.depth; first += tile) {
      __syncthreads();
      for (int i = ty; i < tile; i += step) {
        const bool inside = first + tx < p.depth;
        x[i][tx] = inside && first_row + i < p.rows ? p.x[(first_row + i) * p.depth + first + tx] : 0;
        w[i][tx] =
            inside && first_column + i < p.columns ? p.w[(first_column + i) * p.depth + first + tx] : 0;
      }
      __syncthreads();
      const int count = static_cast<int>(p.depth - first < tile ? p.depth - first : tile);
#pragma unroll
      for (int i = 0; i < tile_rows; ++i) {
        if (first_row + ty + i * step >= p.rows) continue;
        for (int k = 0; k < count; ++k) products[i].add(x[ty + i * step][k], w[tx][k]);
      }
    }
    const std::int64_t column = first_column + tx;
#pragma unroll
    for (int i = 0; i < tile_rows; ++i) {
      const std::int64_t row = first_row + ty + i * step;
      if (row >= p.rows || column >= p.columns) continue;
      p.z[row * p.columns + column] = products[i].sum;
      p.error[row * p.columns + column] =
          p.bound.of(products[i], p.depth, p.largest_x[row], p.largest_w[column]);
    }
  }
}

/// Sums over some rows of the columns of a block: first what gives the means, then squares of the distances
/// from them.
struct ColumnSums {
  double z, error, square_error, squares, least, most;

  __device__ static ColumnSums none() { return {0, 0, 0, 0, INFINITY, -INFINITY}; }
  __device__ void add(const ColumnSums& other) {
    z += other.z, error += other.error, square_error += other.square_error, squares += other.squares;
    least = fmin(least, other.least), most = fmax(most, other.most);
  }
};

/// A block takes 32 columns and every gridDim.y-th row of 8.
template <bool second>
__global__ void column_kernel(const double* z, const double* error, std::int64_t rows, std::int64_t columns,
                              const BatchTerms* batch, ColumnSums* sums) {
  __shared__ ColumnSums parts[8][32];
  const std::int64_t column = std::int64_t{blockIdx.x} * 32 + threadIdx.x;
  ColumnSums own = ColumnSums::none();
  if (column < columns) {
    const double mean = second ? batch[column].mean : 0;
    for (std::int64_t row = std::int64_t{blockIdx.y} * 8 + threadIdx.y; row < rows;
         row += std::int64_t{gridDim.y} * 8) {
      const double v = z[row * columns + column], e = error[row * columns + column];
      if (second) {
        own.squares += (v - mean) * (v - mean);
      } else {
        own.add({v, e, e * e, 0, v, v});
      }
    }
  }
  parts[threadIdx.y][threadIdx.x] = own;
  __syncthreads();
  if (threadIdx.y > 0 || column >= columns) return;
  for (int i = 1; i < 8; ++i) own.add(parts[i][threadIdx.x]);
  sums[blockIdx.y * columns + column] = own;
}

template <bool second>
__global__ void batch_kernel(const ColumnSums* sums, int splits, std::int64_t rows, std::int64_t columns,
                             BatchTerms* batch) {
  for (std::int64_t n = first_index(); n < columns; n += index_step()) {
    ColumnSums all = ColumnSums::none();
    for (int i = 0; i < splits; ++i) all.add(sums[i * columns + n]);
    const double count = static_cast<double>(rows);
    if (second) {
      batch[n].variance = all.squares / count;
    } else {
      batch[n] = {all.z / count, 0, all.error / count, all.square_error / count, all.least, all.most};
    }
  }
}

struct FeatureParams {
  Region bias, gamma, beta, mean, var, scale;
  const BatchTerms* batch;
  FeatureTerms* features;
};

__device__ double element_of(const Region& r, std::int64_t n, double absent) {
  if (r.rows == 0) return absent;
  return load_element(r.memory + r.offset, r.dtype, r.columns == 1 ? 0 : n);
}

/// Sets running statistics that come of the batch, and the terms of each feature.
__global__ void feature_kernel(Case c, double epsilon, FeatureParams p) {
  const Dtype sums = sums_of(c.x);
  for (std::int64_t n = first_index(); n < c.columns; n += index_step()) {
    const BatchTerms b = p.batch[n];
    const double bias = element_of(p.bias, n, 0);
    if (c.statistics == Statistics::calibrated || c.statistics == Statistics::no_variance) {
      store_element(p.mean.memory + p.mean.offset, p.mean.dtype, n, calibrated_mean(c, b, bias));
      if (c.statistics == Statistics::calibrated) {
        store_element(p.var.memory + p.var.offset, p.var.dtype, n, calibrated_var(b));
      }
    }
    FeatureTerms f;
    f.gamma = element_of(p.gamma, n, 1), f.beta = element_of(p.beta, n, 0),
    f.scale = element_of(p.scale, n, 1);
    if (c.mode == masthead::Mode::training) {
      set_batch(f, b, sums, epsilon, c.rows);
    } else {
      set_running(f, element_of(p.mean, n, 0), element_of(p.var, n, 1), bias, sums, epsilon,
                  c.data == Data::integers);
    }
    p.features[n] = f;
  }
}

// ---- judging

/// What is written on the device while a case is judged.
struct VerdictMemory {
  unsigned faults, claimed;
  Fault fault;
  std::int64_t row, column;
  double got, low, high;
  unsigned long long used;  // the bits of a double that is not negative
  unsigned long long unjudged;
  int has_target, target_is_nan;
  double target_low, target_high;
  unsigned long long hashes[2];
};

struct DeviceVerdict {
  VerdictMemory* memory;

  __device__ void wrong(Fault fault, std::int64_t row, std::int64_t column, double got, double low,
                        double high) {
    atomicAdd(&memory->faults, 1u);
    if (atomicCAS(&memory->claimed, 0u, 1u) != 0) return;
    memory->fault = fault, memory->row = row, memory->column = column;
    memory->got = got, memory->low = low, memory->high = high;
  }
  __device__ void used(double part) {
    const auto bits = static_cast<unsigned long long>(__double_as_longlong(part));
    if (part > 0 && bits > *static_cast<volatile unsigned long long*>(&memory->used)) {
      atomicMax(&memory->used, bits);
    }
  }
  __device__ void unjudged() { atomicAdd(&memory->unjudged, 1ull); }
  __device__ void target(double low, double high, bool nan) {
    memory->has_target = 1, memory->target_is_nan = nan;
    memory->target_low = low, memory->target_high = high;
  }
};

struct WarpGroup {
  __device__ std::int64_t rank() const { return threadIdx.x % 32; }
  __device__ std::int64_t size() const { return 32; }
  template <class Merge>
  __device__ static double merge(double value, const Merge& merge_two) {
    for (int lane = 16; lane > 0; lane /= 2) value = merge_two(value, __shfl_xor_sync(~0u, value, lane));
    return value;
  }
  __device__ double max(double value) const {
    return merge(value, [](double a, double b) { return fmax(a, b); });
  }
  __device__ double sum(double value) const {
    return merge(value, [](double a, double b) { return a + b; });
  }
};

struct BlockGroup {
  double* shared;  // (warps)

  __device__ std::int64_t rank() const { return threadIdx.x; }
  __device__ std::int64_t size() const { return threads; }
  template <class Merge>
  __device__ double merge(double value, const Merge& merge_two) const {
    value = WarpGroup::merge(value, merge_two);
    __syncthreads();
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
    __syncthreads();
    value = shared[0];
    for (int i = 1; i < threads / 32; ++i) value = merge_two(value, shared[i]);
    return value;
  }
  __device__ double max(double value) const {
    return merge(value, [](double a, double b) { return fmax(a, b); });
  }
  __device__ double sum(double value) const {
    return merge(value, [](double a, double b) { return a + b; });
  }
};

__device__ bool is_poison(const unsigned char* at, std::int64_t bytes) {
  for (std::int64_t i = 0; i < bytes; ++i) {
    if (at[i] != poison_byte) return false;
  }
  return true;
}

/// A row per warp, or per block.
template <bool by_block, class Logits>
__global__ void __launch_bounds__(threads)
    judge_kernel(Logits logits, RowRules rules, Region y, VerdictMemory* memory) {
  __shared__ double shared[threads / 32];
  const std::int64_t step = by_block ? gridDim.x : std::int64_t{gridDim.x} * (threads / 32);
  const std::int64_t begin =
      by_block ? blockIdx.x : std::int64_t{blockIdx.x} * (threads / 32) + threadIdx.x / 32;
  DeviceVerdict verdict{memory};
  for (std::int64_t row = begin; row < y.rows; row += step) {
    const unsigned char* data = y.memory + y.offset;
    const auto got = [&](std::int64_t column) {
      return load_element(data, y.dtype, row * y.row_stride + column);
    };
    const auto unwritten = [&](std::int64_t column) {
      const std::int64_t bytes = bytes_of(y.dtype);
      return is_poison(data + (row * y.row_stride + column) * bytes, bytes);
    };
    if constexpr (by_block) {
      judge_row(BlockGroup{shared}, logits, rules, row, got, unwritten, verdict);
      __syncthreads();
    } else {
      judge_row(WarpGroup(), logits, rules, row, got, unwritten, verdict);
    }
  }
}

/// Finds bytes before, between and after the rows of a region that are no canaries any more.
__global__ void around_kernel(Region r, Fault fault, VerdictMemory* memory) {
  const std::int64_t size = bytes_of(r.dtype), pad = (r.row_stride - r.columns) * size,
                     between = r.rows * pad, end = r.offset + r.rows * r.row_stride * size;
  for (std::int64_t i = first_index(); i < between + r.offset + r.bytes - end; i += index_step()) {
    std::int64_t at = i;  // before the rows
    if (i >= r.offset && i < r.offset + between) {
      const std::int64_t row = (i - r.offset) / pad;
      at = r.offset + (row * r.row_stride + r.columns) * size + (i - r.offset) % pad;
    } else if (i >= r.offset + between) {
      at = end + (i - r.offset - between);
    }
    if (r.memory[at] != canary) {
      DeviceVerdict{memory}.wrong(fault, (at - r.offset) / (r.row_stride * size), at - r.offset, r.memory[at],
                                  canary, canary);
    }
  }
}

__global__ void part_kernel(Region part, Region y, std::int64_t first, VerdictMemory* memory) {
  const std::int64_t size = bytes_of(y.dtype);
  for (std::int64_t i = first_index(); i < part.rows * part.columns; i += index_step()) {
    const std::int64_t row = i / part.columns, column = i % part.columns;
    const unsigned char* alone = part.memory + part.offset + (row * part.row_stride + column) * size;
    const unsigned char* among = y.memory + y.offset + ((first + row) * y.row_stride + column) * size;
    bool same = true;
    for (std::int64_t j = 0; j < size; ++j) same = same && alone[j] == among[j];
    if (same) continue;
    const double other = load_element(alone, y.dtype, 0);
    DeviceVerdict{memory}.wrong(Fault::bits, first + row, column, load_element(among, y.dtype, 0), other,
                                other);
  }
}

__global__ void running_kernel(Case c, Region mean, Region var, const std::int64_t* tracked, Region bias,
                               const BatchTerms* batch, VerdictMemory* memory) {
  const Dtype sums = sums_of(c.x);
  const double factor = c.cumulative ? 1.0 / static_cast<double>(batches_before + 1) : momentum;
  const double unbiased = static_cast<double>(c.rows) / static_cast<double>(c.rows - 1);
  DeviceVerdict verdict{memory};
  const auto rounded = [](double value, Dtype dtype) {
    double memory_of_one;
    store_element(&memory_of_one, dtype, 0, value);
    return load_element(&memory_of_one, dtype, 0);
  };
  const auto check = [&](Fault fault, const Region& r, std::int64_t n, const Bounds& b) {
    const double is = load_element(r.memory + r.offset, r.dtype, n), most = largest_of(r.dtype);
    if (!(is >= b.low && is <= b.high) && fabs(b.middle) < 0.99 * most)
      verdict.wrong(fault, 0, n, is, b.low, b.high);
  };
  for (std::int64_t n = first_index(); n < c.columns; n += index_step()) {
    const BatchTerms b = batch[n];
    const double own_bias = element_of(bias, n, 0);
    const double mean_error = b.error + mean_rounding(b, sums, c.rows) + 2 * roundoff(sums) * fabs(own_bias);
    check(Fault::running_mean, mean, n,
          running_bounds(rounded(running_mean_before(c, n), mean.dtype), b.mean + own_bias, mean_error,
                         factor, sums, mean.dtype));
    check(Fault::running_var, var, n,
          running_bounds(rounded(running_var_before(c, n), var.dtype), b.variance * unbiased,
                         variance_error(b, sums, c.rows) * unbiased, factor, sums, var.dtype));
  }
  if (first_index() == 0 && *tracked != batches_before + 1) {
    verdict.wrong(Fault::batches_tracked, 0, 0, static_cast<double>(*tracked), batches_before + 1,
                  batches_before + 1);
  }
}

/// Adds up a hash of each word at its place.
__global__ void hash_kernel(const std::uint64_t* words, std::int64_t count, unsigned long long* hash) {
  std::uint64_t sum = 0;
  for (std::int64_t i = first_index(); i < count; i += index_step()) sum += bits_of(words[i], 1, i);
  for (int lane = 16; lane > 0; lane /= 2) sum += __shfl_xor_sync(~0u, sum, lane);
  if (threadIdx.x % 32 == 0) atomicAdd(hash, static_cast<unsigned long long>(sum));
}

}  // namespace

}  // namespace test::fuzz

/// Random calls against float64, under a forward error bound for each element.
///
///     fuzz --cases 100000 --seed 1
///     fuzz --seed 1 --case 4711
///     fuzz --seed 1 --plant-fault
///
/// A case is a call of scale_softmax or of a head: fuzz_cases.hpp draws it, fuzz_values.hpp says what memory
/// holds, and fuzz_judge.hpp derives what each element of the result should be and how far it may be from
/// that. Outputs are poisoned with NaN and lie between canaries, as workspaces and running statistics do;
/// inputs must not change; in some cases rows must have the same bits in another batch, and equal columns the
/// same bits in one row.
///
/// --cases N     how many (200)
/// --seed S      where they start; by default the time, which is printed. A seed means the same cases on
///               every machine.
/// --case K      only this one
/// --plant-fault a control: in each case, one fault is made in a right result (an element just out of its
///               bounds, two elements swapped, one not written, a canary, an input or a bit of a row
///               changed), and the program fails unless it finds every one
///
/// The last line says how many cases were wrong and the largest error as a part of its bound; lines before it
/// say the same by kind of call, as bounds that are too loose would show there. Each failure has all
/// parameters of the case and the command that repeats it. Exit status: 0, 1 for a fault, 77 without a GPU
/// that this program has code for (1 under MASTHEAD_REQUIRE_GPU=1). MASTHEAD_TEST_SMALL=1: a tenth of the
/// cases, small ones.

#include <cuda_runtime.h>

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "../support/fuzz_device.cuh"

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
  double z = 0, error = 0, square_error = 0, squares = 0, least = INFINITY, most = -INFINITY;

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
  ColumnSums own;
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
    ColumnSums all;
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
    const double mean_error = b.error + 2 * roundoff(sums) * (fabs(b.mean) + fabs(own_bias));
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

// ---- Workplace

Workplace::Workplace() {
  std::size_t free = 0, total = 0;
  succeed(cudaMemGetInfo(&free, &total));
  arena_bytes_ = std::int64_t{3} << 30;
  if (static_cast<std::int64_t>(free) < arena_bytes_ + (std::int64_t{1} << 28)) {
    throw std::runtime_error("the device has " + std::to_string(free) + " bytes free, " +
                             std::to_string(arena_bytes_) + " are needed");
  }
  succeed(cudaMalloc(&arena_, static_cast<std::size_t>(arena_bytes_)));
  succeed(cudaMalloc(&verdict_, sizeof(VerdictMemory)));
  succeed(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
}

Workplace::~Workplace() {
  cudaStreamDestroy(stream_);
  cudaFree(verdict_);
  cudaFree(arena_);
}

template <class T>
T* Workplace::take_array(std::int64_t count) {
  const std::int64_t bytes = (count * static_cast<std::int64_t>(sizeof(T)) + 255) / 256 * 256;
  if (bytes > arena_bytes_ - used_) throw std::runtime_error("a case does not fit in the arena");
  T* const array = reinterpret_cast<T*>(arena_ + used_);
  used_ += bytes;
  return array;
}

Region Workplace::take(Dtype dtype, std::int64_t rows, std::int64_t columns, const Placement& at) {
  Region r;
  r.dtype = dtype, r.rows = rows, r.columns = columns, r.row_stride = columns + at.pad;
  r.offset = fence + at.shift * bytes_of(dtype);
  r.bytes = r.offset + rows * r.row_stride * bytes_of(dtype) + fence;
  r.memory = take_array<unsigned char>(r.bytes);
  succeed(cudaMemsetAsync(r.memory, canary, static_cast<std::size_t>((r.bytes + 255) / 256 * 256), stream_));
  return r;
}

void Workplace::add_vector(Region& vector, bool present, Dtype dtype, std::int64_t size, Stream role) {
  vector = {};
  if (!present) return;
  vector = take(dtype, 1, size, {0, c.vector_shift});
  fill_vector_kernel<<<blocks_for(size), threads, 0, stream_>>>(c, role, vector);
}

void Workplace::begin(const Case& of) {
  c = of;
  used_ = 0;
  x = weight = y = part = bias = gamma = beta = mean = var = scale = {};
  running_mean = running_var = batches_tracked = workspace = {};
  const std::int64_t n = c.columns, k = c.is_head() ? c.in_features : n;
  x = take(c.x, c.rows, k, c.of_x);
  fill_matrix_kernel<<<blocks_for(c.rows * k), threads, 0, stream_>>>(
      c, c.is_head() ? Content::head_x : Content::softmax_x, x);
  pristine_x_ = x.data();
  add_vector(scale, c.scale_of != ScaleOf::absent, c.scale_dtype, c.scale_of == ScaleOf::one ? 1 : n,
             stream_scale);
  if (c.is_head()) {
    weight = take(c.x, n, k, c.of_weight);
    fill_matrix_kernel<<<blocks_for(n * k), threads, 0, stream_>>>(c, Content::head_weight, weight);
    add_vector(bias, c.has_bias, c.bias_dtype, n, stream_bias);
    add_vector(gamma, c.has_gamma, c.gamma_dtype, n, stream_gamma);
    add_vector(beta, c.beta != BetaOf::absent, c.beta_dtype, n, stream_beta);
    add_vector(mean, true, c.mean_dtype, n, stream_mean);
    add_vector(var, true, c.var_dtype, n, stream_var);
  }
  inputs_ = used_;
  y = take(c.y, c.rows, n, c.of_y);
  if (c.in_place) {
    succeed(cudaMemcpyAsync(y.memory, x.memory, static_cast<std::size_t>(x.bytes), cudaMemcpyDeviceToDevice,
                            stream_));
    x = y;
  }
  if (c.part_rows > 0) part = take(c.y, c.part_rows, n, c.of_y);
  if (c.tracks) {
    running_mean = take(c.mean_dtype, 1, n, {0, c.vector_shift});
    running_var = take(c.var_dtype, 1, n, {0, c.vector_shift});
    batches_tracked = take(Dtype::f64, 1, 1, {});
  }
  if (!c.is_head()) {
    const std::int64_t count = c.scale_of == ScaleOf::per_column ? n : 1;
    scales_ = take_array<double>(count);
    widen_kernel<<<blocks_for(count), threads, 0, stream_>>>(scale, 1, scales_, count);
  }
  succeed(cudaGetLastError());
}

void Workplace::set_reference(bool tensor, MathMode mode) {
  packed_ = masthead::detail::is_packed(mode);
  const std::int64_t m = c.rows, n = c.columns, k = c.in_features;
  z_ = take_array<double>(m * n), error_ = take_array<double>(m * n);
  features_ = take_array<FeatureTerms>(n), batch_ = take_array<BatchTerms>(n);
  const std::int64_t kept = used_;
  double* const largest_x = take_array<double>(m);
  double* const largest_w = take_array<double>(n);
  double* const of_x = take_array<double>(m * k);
  double* const of_w = take_array<double>(n * k);
  const auto prepare = [&](const Region& r, double* largest, double* to) {
    largest_kernel<<<static_cast<unsigned>((r.rows + 7) / 8), threads, 0, stream_>>>(r, largest);
    multiplied_kernel<<<blocks_for(r.rows * r.columns), threads, 0, stream_>>>(r, mode, largest, to);
  };
  prepare(x, largest_x, of_x);
  prepare(weight, largest_w, of_w);
  const dim3 grid(static_cast<unsigned>((n + tile - 1) / tile),
                  static_cast<unsigned>(std::min<std::int64_t>((m + tile - 1) / tile, 65535)));
  product_kernel<<<grid, tile * tile / tile_rows, 0, stream_>>>(
      {of_x, of_w, largest_x, largest_w, m, n, k, sum_error(c, tensor, mode), z_, error_});

  const int splits = static_cast<int>(std::clamp<std::int64_t>(m / 256, 1, 256));
  ColumnSums* const sums = take_array<ColumnSums>(splits * n);
  const dim3 columns(static_cast<unsigned>((n + 31) / 32), static_cast<unsigned>(splits)), block(32, 8);
  column_kernel<false><<<columns, block, 0, stream_>>>(z_, error_, m, n, batch_, sums);
  batch_kernel<false><<<blocks_for(n), threads, 0, stream_>>>(sums, splits, m, n, batch_);
  column_kernel<true><<<columns, block, 0, stream_>>>(z_, error_, m, n, batch_, sums);
  batch_kernel<true><<<blocks_for(n), threads, 0, stream_>>>(sums, splits, m, n, batch_);
  feature_kernel<<<blocks_for(n), threads, 0, stream_>>>(
      c, epsilons[c.epsilon], {bias, gamma, beta, mean, var, scale, batch_, features_});
  succeed(cudaGetLastError());
  used_ = kept;  // what follows is on the same stream
}

void Workplace::poison(std::int64_t workspace_bytes) {
  const auto fill = [&](const Region& r) {
    if (!r.present()) return;
    const auto size = static_cast<std::size_t>(bytes_of(r.dtype));
    succeed(cudaMemset2DAsync(r.data(), static_cast<std::size_t>(r.row_stride) * size, poison_byte,
                              static_cast<std::size_t>(r.columns) * size, static_cast<std::size_t>(r.rows),
                              stream_));
  };
  if (!c.in_place) fill(y);
  fill(part);
  if (workspace_bytes > 0) {
    workspace = take(Dtype::e4m3, 1, workspace_bytes, {});
    fill(workspace);
  }
  if (running_mean.present()) {
    fill_running_kernel<<<blocks_for(c.columns), threads, 0, stream_>>>(
        c, running_mean, running_var, static_cast<std::int64_t*>(batches_tracked.data()));
  }
  succeed(cudaMemsetAsync(verdict_, 0, sizeof(VerdictMemory), stream_));
  hash_inputs(0);
  succeed(cudaGetLastError());
}

void Workplace::hash_inputs(int slot) {
  unsigned long long* const hash = &static_cast<VerdictMemory*>(verdict_)->hashes[slot];
  hash_kernel<<<blocks_for(inputs_ / 8), threads, 0, stream_>>>(
      reinterpret_cast<const std::uint64_t*>(arena_), inputs_ / 8, hash);
}

void Workplace::check_around(const Region& region, Fault fault) {
  if (!region.present()) return;
  const std::int64_t pad = (region.row_stride - region.columns) * bytes_of(region.dtype);
  around_kernel<<<blocks_for(region.rows * pad + 2 * fence), threads, 0, stream_>>>(
      region, fault, static_cast<VerdictMemory*>(verdict_));
}

void Workplace::judge(bool quantized, Found& found, std::int64_t target_row, std::int64_t target_column) {
  VerdictMemory* const memory = static_cast<VerdictMemory*>(verdict_);
  // All but the hash of what the inputs were.
  VerdictMemory v{};
  succeed(cudaMemcpyAsync(&v, memory, sizeof(v), cudaMemcpyDeviceToHost, stream_));
  succeed(cudaStreamSynchronize(stream_));
  const unsigned long long hash = v.hashes[0];
  v = {};
  v.hashes[0] = hash;
  succeed(cudaMemcpyAsync(memory, &v, sizeof(v), cudaMemcpyHostToDevice, stream_));

  RowRules rules = row_rules(c, quantized);
  rules.target_row = target_row, rules.target_column = target_column;
  const auto judge_with = [&](const auto& logits) {
    using Logits = std::remove_cvref_t<decltype(logits)>;
    if (c.columns > 1024) {
      judge_kernel<true, Logits>
          <<<static_cast<unsigned>(std::min<std::int64_t>(c.rows, 1 << 20)), threads, 0, stream_>>>(
              logits, rules, y, memory);
    } else {
      judge_kernel<false, Logits>
          <<<static_cast<unsigned>((c.rows + threads / 32 - 1) / (threads / 32)), threads, 0, stream_>>>(
              logits, rules, y, memory);
    }
  };
  if (c.is_head()) {
    judge_with(HeadLogits{z_, error_, features_, c.columns, sums_of(c.x), c.data == Data::integers, packed_});
  } else {
    const bool per_column = c.scale_of == ScaleOf::per_column && c.columns > 1;
    judge_with(
        SoftmaxLogits{pristine_x_, c.x, c.columns + c.of_x.pad, scales_, per_column, sums_of(c.x), false});
  }
  check_around(y, Fault::around_y);
  check_around(part, Fault::around_y);
  check_around(workspace, Fault::around_workspace);
  if (running_mean.present()) {
    check_around(running_mean, Fault::around_running);
    check_around(running_var, Fault::around_running);
    check_around(batches_tracked, Fault::around_running);
    running_kernel<<<blocks_for(c.columns), threads, 0, stream_>>>(
        c, running_mean, running_var, static_cast<const std::int64_t*>(batches_tracked.data()), bias, batch_,
        memory);
  }
  if (part.present()) {
    part_kernel<<<blocks_for(part.rows * part.columns), threads, 0, stream_>>>(part, y, c.part_first, memory);
  }
  hash_inputs(1);
  succeed(cudaGetLastError());
  succeed(cudaMemcpyAsync(&v, memory, sizeof(v), cudaMemcpyDeviceToHost, stream_));
  succeed(cudaStreamSynchronize(stream_));

  const bool changed = v.hashes[0] != v.hashes[1];
  found.faults = v.faults + (changed ? 1 : 0);
  found.first = v.faults > 0 ? v.fault : changed ? Fault::input_changed : Fault::none;
  found.row = v.row, found.column = v.column, found.got = v.got, found.low = v.low, found.high = v.high;
  std::memcpy(&found.most_used, &v.used, sizeof(double));
  found.unjudged_rows = static_cast<std::int64_t>(v.unjudged);
  found.has_target = v.has_target != 0, found.target_is_nan = v.target_is_nan != 0;
  found.target_low = v.target_low, found.target_high = v.target_high;
}

namespace {

// ---- one case

void run_call(Workplace& place, Found& found, bool& quantized) {
  using masthead::Precision;
  if (!place.c.is_head()) return run_softmax(place);
  switch (place.c.precision) {
    case Precision::fp64:
      return run_head<Precision::fp64>(place, found, quantized);
    case Precision::fp32_ieee:
      return run_head<Precision::fp32_ieee>(place, found, quantized);
    case Precision::fp32:
      return run_head<Precision::fp32>(place, found, quantized);
    case Precision::tf32:
      return run_head<Precision::tf32>(place, found, quantized);
    case Precision::fp16_scaled:
      return run_head<Precision::fp16_scaled>(place, found, quantized);
    case Precision::bf16:
      return run_head<Precision::bf16>(place, found, quantized);
    case Precision::fp16:
      return run_head<Precision::fp16>(place, found, quantized);
    case Precision::fp8:
      return run_head<Precision::fp8>(place, found, quantized);
  }
}

/// Throws where the context is lost.
Found run_case(Workplace& place, const Case& c, bool& quantized) {
  Found found;
  place.begin(c);
  try {
    run_call(place, found, quantized);
  } catch (const masthead::Error& error) {
    found.thrown = error.what();
    found.faults = 1, found.first = Fault::threw;
    succeed(cudaStreamSynchronize(place.stream()));
    return found;
  }
  if (found.skipped.empty()) place.judge(quantized, found);
  return found;
}

std::string text_of(const Found& found) {
  std::ostringstream out;
  out.precision(9);
  out << found.faults << (found.faults == 1 ? " fault: " : " faults, one: ") << name(found.first);
  if (found.first == Fault::threw) {
    out << ": " << found.thrown;
  } else if (found.first != Fault::input_changed) {
    out << ", (" << found.row << ", " << found.column << ") is " << found.got << ", should be in ["
        << found.low << ", " << found.high << ']';
  }
  return out.str();
}

// ---- planted faults

/// Elements of y in host memory.
struct Element {
  Region y;
  std::int64_t row, column;

  unsigned char* address() const {
    return y.memory + y.offset + (row * y.row_stride + column) * bytes_of(y.dtype);
  }
  double get() const {
    unsigned char bytes[8];
    succeed(
        cudaMemcpy(bytes, address(), static_cast<std::size_t>(bytes_of(y.dtype)), cudaMemcpyDeviceToHost));
    return load_element(bytes, y.dtype, 0);
  }
  void set(double value) const {
    unsigned char bytes[8];
    store_element(bytes, y.dtype, 0, value);
    succeed(
        cudaMemcpy(address(), bytes, static_cast<std::size_t>(bytes_of(y.dtype)), cudaMemcpyHostToDevice));
  }
};

void flip(unsigned char* address) {
  unsigned char byte;
  succeed(cudaMemcpy(&byte, address, 1, cudaMemcpyDeviceToHost));
  byte ^= 0x10;
  succeed(cudaMemcpy(address, &byte, 1, cudaMemcpyHostToDevice));
}

enum class Plant { above_bound, swapped, around_y, around_workspace, unwritten, input, other_bits, count_ };

constexpr const char* name(Plant plant) {
  constexpr const char* names[] = {
      "an element just above its bound", "two elements swapped",      "a byte beside y",
      "a byte beside the workspace",     "an element left unwritten", "an input changed",
      "a bit of a row alone changed"};
  return names[static_cast<int>(plant)];
}

/// Makes one fault in the right result of a case, of the kind that is its turn, or of one that is possible
/// there.
Plant plant_fault(Workplace& place, bool quantized) {
  const Case& c = place.c;
  Draw draw(c.values);
  Element element{place.y, draw.integer(0, c.rows - 1), draw.integer(0, c.columns - 1)};
  auto plant = static_cast<Plant>(c.number % static_cast<std::uint64_t>(Plant::count_));
  if (plant == Plant::other_bits && !place.part.present()) plant = Plant::above_bound;
  if (plant == Plant::around_workspace && !place.workspace.present()) plant = Plant::around_y;
  if (plant == Plant::unwritten && c.in_place) plant = Plant::above_bound;  // it has no poison
  const auto bounds = [&] {
    Found found;
    place.judge(quantized, found, element.row, element.column);
    return found;
  };
  if (plant == Plant::swapped) {
    Element most = element, least = element;
    double highest = element.get(), lowest = highest;
    for (int i = 0; i < 64; ++i) {
      Element other = element;
      other.column = draw.integer(0, c.columns - 1);
      const double value = other.get();
      if (value > highest) most = other, highest = value;
      if (value < lowest) least = other, lowest = value;
    }
    element = least;
    const Found found = bounds();
    if (found.has_target && !found.target_is_nan && highest > found.target_high) {
      least.set(highest);
      most.set(lowest);
      return plant;
    }
    plant = Plant::above_bound;
  }
  if (plant == Plant::above_bound) {
    const Found found = bounds();
    if (found.has_target && found.target_is_nan) {
      element.set(0.25);
      return plant;
    }
    if (found.has_target && found.target_high < 0.5 * largest_of(c.y)) {
      element.set(few_units_above(found.target_high, c.y));
      return plant;
    }
    plant = Plant::around_y;
  }
  switch (plant) {
    case Plant::around_y: {
      const std::int64_t bytes = bytes_of(c.y);
      if (place.y.row_stride > c.columns && draw.chance(1, 2)) {
        element.column = draw.integer(c.columns, place.y.row_stride - 1);
        flip(element.address());
      } else {
        const std::int64_t end = place.y.offset + c.rows * place.y.row_stride * bytes;
        flip(place.y.memory + (draw.chance(1, 2) ? place.y.offset - 1 : end));
      }
      break;
    }
    case Plant::around_workspace:
      flip(place.workspace.memory + place.workspace.offset + place.workspace.columns);
      break;
    case Plant::unwritten:
      succeed(cudaMemset(element.address(), poison_byte, static_cast<std::size_t>(bytes_of(c.y))));
      break;
    case Plant::input:
      flip(static_cast<unsigned char*>(place.scale.present() ? place.scale.data() : place.first_input()));
      break;
    default: {
      Element other{place.part, 0, element.column};
      flip(other.address());
      break;
    }
  }
  return plant;
}

// ---- the run

struct Options {
  std::uint64_t cases = 200, seed = 0;
  std::int64_t only = -1;
  bool has_seed = false, plant = false;
};

[[noreturn]] void usage(const std::string& why) {
  std::cerr << why << "\nusage: fuzz [--cases N] [--seed S] [--case K] [--plant-fault]\n";
  std::exit(2);
}

Options read_options(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (option == "--device") continue;  // what all device tests are given
    if (option == "--plant-fault") {
      options.plant = true;
      continue;
    }
    if (option != "--cases" && option != "--seed" && option != "--case")
      usage("unknown option " + std::string(option));
    if (++i == argc) usage(std::string(option) + " needs a number");
    char* end = nullptr;
    const std::uint64_t value = std::strtoull(argv[i], &end, 0);
    if (end == argv[i] || *end != '\0') usage(std::string(argv[i]) + " is no number");
    if (option == "--cases") options.cases = value;
    if (option == "--case") options.only = static_cast<std::int64_t>(value);
    if (option == "--seed") options.seed = value, options.has_seed = true;
  }
  if (!options.has_seed) {
    options.seed = static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
  }
  return options;
}

/// The kind of call that the largest part of the bound is told for.
std::string kind_of(const Case& c) {
  std::ostringstream out;
  if (c.is_head()) {
    out << "head " << c.precision << ' ' << name(c.mode);
  } else {
    out << "scale_softmax " << c.x;
  }
  out << (c.y == sums_of(c.x) ? "" : ", rounded y");
  return out.str();
}

/// Whether the GPU at hand can run this program; says why not.
bool has_gpu() {
  int devices = 0;
  cudaError_t error = cudaGetDeviceCount(&devices);
  if (error == cudaSuccess && devices == 0) error = cudaErrorNoDevice;
  cudaFuncAttributes attributes{};
  if (error == cudaSuccess) error = cudaFuncGetAttributes(&attributes, fill_vector_kernel);
  if (error == cudaSuccess) return true;
  std::fprintf(stderr, "fuzz: no usable CUDA device: %s\n", cudaGetErrorString(error));
  return false;
}

int run(const Options& options, const Limits& limits, std::uint64_t cases) {
  using Clock = std::chrono::steady_clock;
  std::cout << "fuzz: seed " << options.seed << (options.plant ? ", a fault planted in each case" : "")
            << std::endl;
  Workplace place;
  std::map<std::string, double> used;
  std::uint64_t done = 0, wrong = 0, skipped = 0, planted = 0, missed = 0;
  std::int64_t unjudged = 0, rows = 0;
  double most_used = 0;
  auto told = Clock::now();
  const std::uint64_t begin = options.only >= 0 ? static_cast<std::uint64_t>(options.only) : 0,
                      end = options.only >= 0 ? begin + 1 : cases;
  const auto report = [&](const Case& c, const std::string& text) {
    if (wrong + missed > 50) return;  // more would say no more
    std::cout << "case " << c.number << ": " << text << "\n  " << c << "\n  again: fuzz --seed "
              << options.seed << " --case " << c.number << (options.plant ? " --plant-fault" : "")
              << std::endl;
  };
  for (std::uint64_t number = begin; number < end; ++number) {
    const Case c = make_case(options.seed, number, limits);
    bool quantized = false;
    Found found;
    try {
      found = run_case(place, c, quantized);
    } catch (const std::exception& error) {
      ++wrong;
      report(c, error.what());
      return 1;  // the context may be lost
    }
    ++done;
    if (!found.skipped.empty()) {
      ++skipped;
      continue;
    }
    rows += c.rows;
    unjudged += found.unjudged_rows;
    if (found.faults > 0) {
      ++wrong;
      if (!options.plant) report(c, text_of(found));
      continue;
    }
    double& of_kind = used[kind_of(c)];
    of_kind = std::max(of_kind, found.most_used);
    // Rounding y to 16 bits comes close to its bound in every large case, and says nothing.
    if (c.y == sums_of(c.x)) most_used = std::max(most_used, found.most_used);
    if (options.only >= 0) std::cout << "case " << number << ": " << c << '\n';
    if (options.plant) {
      const Plant plant = plant_fault(place, quantized);
      Found again;
      place.judge(quantized, again);
      ++planted;
      if (again.faults == 0) {
        ++missed;
        report(c, std::string("not found: ") + name(plant));
      } else if (options.only >= 0) {
        std::cout << "planted " << name(plant) << "; found " << text_of(again) << '\n';
      }
    }
    if (Clock::now() - told > std::chrono::seconds(5)) {
      told = Clock::now();
      std::cerr << "fuzz: " << done << " of " << end - begin << " cases, " << wrong << " wrong" << std::endl;
    }
  }
  for (const auto& [kind, part] : used) std::printf("max error/bound %.3f  %s\n", part, kind.c_str());
  if (skipped > 0)
    std::printf("SKIPPED: %" PRIu64 " cases that this GPU or this code has no engine for\n", skipped);
  std::printf("fuzz: %" PRId64 " of %" PRId64 " rows leave the range of float and were not judged\n",
              unjudged, rows);
  if (options.plant) {
    std::printf("fuzz: %" PRIu64 " cases, %" PRIu64 " faults planted, %" PRIu64 " found, seed %" PRIu64 "\n",
                done, planted, planted - missed, options.seed);
    return planted > 0 && missed == 0 ? 0 : 1;
  }
  std::printf("fuzz: %" PRIu64 " cases, %" PRIu64 " wrong, seed %" PRIu64 ", max error/bound %.3f\n", done,
              wrong, options.seed, most_used);
  return wrong > 0 ? 1 : 0;
}

}  // namespace

}  // namespace test::fuzz

int main(int argc, char** argv) {
  using namespace test::fuzz;
  const Options options = read_options(argc, argv);
  const auto is_set = [](const char* variable) {
    const char* value = std::getenv(variable);
    return value != nullptr && std::string_view(value) == "1";
  };
  if (!has_gpu()) return is_set("MASTHEAD_REQUIRE_GPU") ? 1 : 77;
  const bool small = is_set("MASTHEAD_TEST_SMALL");
  try {
    return run(options, small ? Limits::small() : Limits(), small ? options.cases / 10 : options.cases);
  } catch (const std::exception& error) {
    std::cerr << "fuzz: " << error.what() << std::endl;
    return 1;
  }
}

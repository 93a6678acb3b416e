#pragma once
/// x W^T in float64, for the checks: rows of choice, all columns, on the device.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "cublaslt_gemm.cuh"
#include "support/cuda.cuh"
#include "support/gemm_error.cuh"
#include "support/random_fill.cuh"

namespace benchmark {

inline constexpr int product_tile = 64;   ///< rows and columns of a block's output
inline constexpr int product_depth = 16;  ///< of k, per step

/// y(i, j) = Σ_k x(rows[i], k) w(j, k) with double FMAs in ascending k. Blocks of 256 threads, 4 x 4 sums
/// each; one block per tile, tiles of the same columns next to each other, so that W is read once.
template <class T>
__global__ void __launch_bounds__(256)
    product_f64_kernel(const T* x, const std::int64_t* rows, std::int64_t count, const T* weight,
                       std::int64_t in_features, std::int64_t out_features, double* y) {
  // One column of padding keeps the transposing stores off each other's banks.
  __shared__ double x_tile[product_depth][product_tile + 1], weight_tile[product_depth][product_tile + 1];
  const std::int64_t row_tiles = (count + product_tile - 1) / product_tile;
  const std::int64_t first_row = blockIdx.x % row_tiles * product_tile;
  const std::int64_t first_column = blockIdx.x / row_tiles * product_tile;
  const int lane_row = threadIdx.x / 16, lane_column = threadIdx.x % 16;
  double sums[4][4] = {};
  for (std::int64_t k0 = 0; k0 < in_features; k0 += product_depth) {
    for (int i = threadIdx.x; i < product_tile * product_depth; i += 256) {
      const int line = i / product_depth, depth = i % product_depth;
      const std::int64_t k = k0 + depth, row = first_row + line, column = first_column + line;
      x_tile[depth][line] = k < in_features && row < count ? as_double(x[rows[row] * in_features + k]) : 0;
      weight_tile[depth][line] =
          k < in_features && column < out_features ? as_double(weight[column * in_features + k]) : 0;
    }
    __syncthreads();
#pragma unroll
    for (int depth = 0; depth < product_depth; ++depth) {
#pragma unroll
      for (int r = 0; r < 4; ++r) {
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          sums[r][c] =
              fma(x_tile[depth][lane_row + 16 * r], weight_tile[depth][lane_column + 16 * c], sums[r][c]);
        }
      }
    }
    __syncthreads();
  }
  for (int r = 0; r < 4; ++r) {
    for (int c = 0; c < 4; ++c) {
      const std::int64_t row = first_row + lane_row + 16 * r, column = first_column + lane_column + 16 * c;
      if (row < count && column < out_features) y[row * out_features + column] = sums[r][c];
    }
  }
}

/// Copies host values to the device. Synchronizes the stream.
template <class T>
DeviceBuffer<T> to_device(const std::vector<T>& values, cudaStream_t stream) {
  DeviceBuffer<T> buffer(static_cast<std::int64_t>(values.size()));
  succeed(cudaMemcpyAsync(buffer.data(), values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice,
                          stream));
  succeed(cudaStreamSynchronize(stream));
  return buffer;
}

/// (rows.size(), out_features) of x W^T, on the device; `rows` index x. A few elements are compared with dot
/// products on the host, and a wrong one throws. Synchronizes the stream.
template <class T>
DeviceBuffer<double> product_f64(const GemmShape& shape, const T* x, const T* weight,
                                 const std::vector<std::int64_t>& rows, cudaStream_t stream) {
  const auto [batch, in_features, out_features] = shape;
  const auto count = static_cast<std::int64_t>(rows.size());
  const DeviceBuffer<std::int64_t> device_rows = to_device(rows, stream);
  DeviceBuffer<double> y(count * out_features);
  poison(y, stream);
  const auto tiles = [](std::int64_t size) { return (size + product_tile - 1) / product_tile; };
  launch(&product_f64_kernel<T>, tiles(count) * tiles(out_features), 256, stream, x, device_rows.data(),
         count, weight, in_features, out_features, y.data());

  constexpr std::int64_t samples = 16;
  for (std::int64_t sample = 0; sample < samples; ++sample) {
    const std::int64_t i = (count - 1) * (sample * 7 % samples) / (samples - 1);
    const std::int64_t column = (out_features - 1) * sample / (samples - 1);
    const ExactDot exact = exact_dot(x + rows[static_cast<std::size_t>(i)] * in_features,
                                     weight + column * in_features, in_features, stream);
    const double got = to_host(y.data() + i * out_features + column, 1, stream)[0];
    const double error = std::abs(got - exact.value);
    if (!(error <= 1e-13 * exact.magnitude)) {
      throw std::runtime_error("the float64 reference product is wrong by " + std::to_string(error));
    }
  }
  return y;
}

}  // namespace benchmark

#pragma once
/// The head in float64, from the same device data, for the check before timing.
///
/// The product and the batch statistics are float64 on the device; the rest, of sampled rows alone, is plain
/// double arithmetic on the host. Written from the definition and not from the library's headers.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "cublaslt_gemm.cuh"
#include "masthead/core/parameters.hpp"
#include "support/cuda.cuh"
#include "support/gemm_error.cuh"
#include "support/product_f64.cuh"
#include "support/softmax_error.cuh"

namespace benchmark {

/// A head's vectors on the host. All have out_features elements.
struct HeadVectors {
  std::vector<double> bias, gamma, beta, mean, variance;
  double scale, epsilon;
};

/// mean and biased variance of every column of (rows, columns), one thread per column, in two passes.
static __global__ void column_statistics_kernel(const double* values, std::int64_t rows, std::int64_t columns,
                                                double* mean, double* variance) {
  const std::int64_t column = std::int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (column >= columns) return;
  const auto n = static_cast<double>(rows);
  double sum = 0, squares = 0;
  for (std::int64_t row = 0; row < rows; ++row) sum += values[row * columns + column];
  for (std::int64_t row = 0; row < rows; ++row) {
    const double deviation = values[row * columns + column] - sum / n;
    squares += deviation * deviation;
  }
  mean[column] = sum / n;
  variance[column] = squares / n;
}

/// Replaces mean and variance by the batch's: of product + bias, biased. `product` is (batch, out_features)
/// on the device. Synchronizes the stream.
inline void take_batch_statistics(HeadVectors& v, const DeviceBuffer<double>& product, cudaStream_t stream) {
  const auto columns = static_cast<std::int64_t>(v.bias.size());
  const DeviceBuffer<double> mean(columns), variance(columns);
  launch(&column_statistics_kernel, (columns + 63) / 64, 64, stream, product.data(), product.size() / columns,
         columns, mean.data(), variance.data());
  v.mean = to_host(mean.data(), columns, stream);
  v.variance = to_host(variance.data(), columns, stream);
  for (std::size_t c = 0; c < v.bias.size(); ++c) v.mean[c] += v.bias[c];
}

/// log softmax(scale * BatchNorm1d(product + bias)) of one row of the product.
inline std::vector<double> log_probabilities(const HeadVectors& v, const std::vector<double>& product_row) {
  std::vector<double> logits(v.bias.size());
  for (std::size_t c = 0; c < logits.size(); ++c) {
    const double normalized = (product_row[c] + v.bias[c] - v.mean[c]) / std::sqrt(v.variance[c] + v.epsilon);
    logits[c] = v.scale * (normalized * v.gamma[c] + v.beta[c]);
  }
  log_softmax(logits);
  return logits;
}

/// The error of 8 sampled rows of y, a head's output. Synchronizes the stream.
template <class T, class U>
SoftmaxError head_error(const GemmShape& shape, const T* x, const T* weight, HeadVectors vectors,
                        masthead::Mode mode, const U* y, cudaStream_t stream) {
  const auto [batch, in_features, out_features] = shape;
  const std::vector<std::int64_t> sampled = sampled_rows(batch, 8);
  // Batch statistics need every row.
  const bool training = mode == masthead::Mode::training;
  const std::vector<std::int64_t> rows = training ? sampled_rows(batch, batch) : sampled;
  const DeviceBuffer<double> product = product_f64(shape, x, weight, rows, stream);
  if (training) take_batch_statistics(vectors, product, stream);

  SoftmaxError error;
  for (std::size_t i = 0; i < sampled.size(); ++i) {
    const std::int64_t row = training ? sampled[i] : static_cast<std::int64_t>(i);
    error.add(to_host(y + sampled[i] * out_features, out_features, stream),
              log_probabilities(vectors, to_host(product.data() + row * out_features, out_features, stream)),
              masthead::dtype_of<U>);
  }
  return error;
}

}  // namespace benchmark

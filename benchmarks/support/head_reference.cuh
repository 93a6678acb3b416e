#pragma once
/// The head in float64, from the same device data, for the check before timing.
///
/// The product is cuBLASLt's in double precision, itself checked by sampled dot products on the host; the
/// rest is plain double arithmetic on the host, written from the definition and not from the library's
/// headers.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "cublaslt_gemm.cuh"
#include "masthead/parameters.hpp"
#include "support/cuda.cuh"
#include "support/gemm_error.cuh"
#include "support/random_fill.cuh"
#include "support/softmax_error.cuh"

namespace benchmark {

/// out row i = in row rows[i], as double.
template <class T>
__global__ void widen_rows_kernel(const T* in, std::int64_t columns, const std::int64_t* rows,
                                  std::int64_t size, double* out) {
  const std::int64_t step = std::int64_t(gridDim.x) * blockDim.x;
  for (std::int64_t i = std::int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < size; i += step) {
    out[i] = masthead::widen(in[rows[i / columns] * columns + i % columns]);
  }
}

/// The given rows of a matrix without gaps, as double, on the device. Synchronises the stream.
template <class T>
DeviceBuffer<double> widen_rows(const T* matrix, std::int64_t columns, const std::vector<std::int64_t>& rows,
                                cudaStream_t stream) {
  const auto count = static_cast<std::int64_t>(rows.size());
  DeviceBuffer<std::int64_t> device_rows(count);
  DeviceBuffer<double> out(count * columns);
  succeed(cudaMemcpyAsync(device_rows.data(), rows.data(), static_cast<std::size_t>(device_rows.bytes()),
                          cudaMemcpyHostToDevice, stream));
  launch(&widen_rows_kernel<T>, 2048, 256, stream, matrix, columns, device_rows.data(), out.size(),
         out.data());
  succeed(cudaStreamSynchronize(stream));
  return out;
}

/// x W^T of the given rows of x in double, on the host, row by row. Takes a slice of W at a time, so that W
/// in double need not fit in memory. Synchronises the stream.
template <class T>
std::vector<double> product_f64(const GemmShape& shape, const T* x, const T* weight,
                                const std::vector<std::int64_t>& rows, cudaStream_t stream) {
  const auto [batch, in_features, out_features] = shape;
  const auto count = static_cast<std::int64_t>(rows.size());
  const std::int64_t slice = std::min(out_features, std::max<std::int64_t>(1, (1 << 27) / in_features));
  const DeviceBuffer<double> x_f64 = widen_rows(x, in_features, rows, stream);
  std::vector<double> product(static_cast<std::size_t>(count * out_features));
  for (std::int64_t first = 0; first < out_features; first += slice) {
    std::vector<std::int64_t> features;
    for (std::int64_t f = first; f < std::min(first + slice, out_features); ++f) features.push_back(f);
    const auto width = static_cast<std::int64_t>(features.size());
    const GemmShape part{count, in_features, width};
    const DeviceBuffer<double> weight_f64 = widen_rows(weight, in_features, features, stream);
    const DeviceBuffer<double> y(count * width);
    const CublasLtGemm gemm(part, GemmTypes::of("fp64"), nullptr);
    poison(y, stream);
    gemm.run({x_f64.data(), weight_f64.data(), y.data()}, stream);
    const double* no_bias = nullptr;
    const double error = sampled_gemm_error(part, x_f64.data(), weight_f64.data(), no_bias, y.data(), stream);
    if (!(error <= gemm_tolerance(GemmTypes::of("fp64")))) {
      throw std::runtime_error("the float64 reference product is wrong: error " + std::to_string(error));
    }
    succeed(cudaMemcpy2D(product.data() + first, static_cast<std::size_t>(out_features) * sizeof(double),
                         y.data(), static_cast<std::size_t>(width) * sizeof(double),
                         static_cast<std::size_t>(width) * sizeof(double), static_cast<std::size_t>(count),
                         cudaMemcpyDeviceToHost));
  }
  return product;
}

/// A head's vectors on the host. All have out_features elements.
struct HeadVectors {
  std::vector<double> bias, gamma, beta, mean, variance;
  double scale, epsilon;
};

/// Replaces mean and variance by the batch's: of product + bias, biased.
inline void take_batch_statistics(HeadVectors& v, const std::vector<double>& product) {
  const std::size_t columns = v.bias.size(), rows = product.size() / columns;
  std::fill(v.mean.begin(), v.mean.end(), 0);
  std::fill(v.variance.begin(), v.variance.end(), 0);
  const auto n = static_cast<double>(rows);
  for (std::size_t i = 0; i < product.size(); ++i) v.mean[i % columns] += product[i] / n;
  for (std::size_t i = 0; i < product.size(); ++i) {
    const double deviation = product[i] - v.mean[i % columns];
    v.variance[i % columns] += deviation * deviation / n;
  }
  for (std::size_t c = 0; c < columns; ++c) v.mean[c] += v.bias[c];
}

/// log softmax(scale * BatchNorm1d(product + bias)) of one row of the product.
inline std::vector<double> log_probabilities(const HeadVectors& v, const double* product_row) {
  std::vector<double> logits(v.bias.size());
  for (std::size_t c = 0; c < logits.size(); ++c) {
    const double normalised = (product_row[c] + v.bias[c] - v.mean[c]) / std::sqrt(v.variance[c] + v.epsilon);
    logits[c] = v.scale * (normalised * v.gamma[c] + v.beta[c]);
  }
  log_softmax(logits);
  return logits;
}

/// The error of 8 sampled rows of y, a head's output. Synchronises the stream.
template <class T, class U>
SoftmaxError head_error(const GemmShape& shape, const T* x, const T* weight, HeadVectors vectors,
                        masthead::Mode mode, const U* y, cudaStream_t stream) {
  const auto [batch, in_features, out_features] = shape;
  const std::vector<std::int64_t> sampled = sampled_rows(batch, 8);
  // Batch statistics need every row.
  const bool training = mode == masthead::Mode::training;
  const std::vector<std::int64_t> rows = training ? sampled_rows(batch, batch) : sampled;
  const std::vector<double> product = product_f64(shape, x, weight, rows, stream);
  if (training) take_batch_statistics(vectors, product);

  SoftmaxError error;
  for (std::size_t i = 0; i < sampled.size(); ++i) {
    const std::int64_t row = training ? sampled[i] : static_cast<std::int64_t>(i);
    error.add(to_host(y + sampled[i] * out_features, out_features, stream),
              log_probabilities(vectors, product.data() + row * out_features), masthead::dtype_of<U>);
  }
  return error;
}

}  // namespace benchmark

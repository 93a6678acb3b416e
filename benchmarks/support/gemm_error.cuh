#pragma once
/// Whether a matrix product is right: a few of its elements against float64 dot products on the host.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "cublaslt_gemm.cuh"
#include "masthead/dtype.cuh"
#include "support/cuda.cuh"

namespace benchmark {

/// Copies `size` elements of device memory to the host, widened to double. Synchronises the stream.
template <class T>
std::vector<double> to_host(const T* data, std::int64_t size, cudaStream_t stream) {
  std::vector<T> raw(static_cast<std::size_t>(size));
  succeed(cudaMemcpyAsync(raw.data(), data, raw.size() * sizeof(T), cudaMemcpyDeviceToHost, stream));
  succeed(cudaStreamSynchronize(stream));
  std::vector<double> values(raw.size());
  std::transform(raw.begin(), raw.end(), values.begin(), [](T value) { return masthead::widen(value); });
  return values;
}

/// Half a unit in the last place, relative to the value, at most.
constexpr double half_ulp(masthead::Dtype dtype) {
  constexpr double values[] = {0x1p-53, 0x1p-24, 0x1p-11, 0x1p-8};
  return values[static_cast<int>(dtype)];
}

/// The largest error of 64 elements spread over y, corners included, beyond the rounding of the output and
/// relative to |bias| + Σ|x w|; NaN where an element is NaN. `bias` may be null. Synchronises the stream.
template <class T, class U>
double sampled_gemm_error(const GemmShape& shape, const T* x, const T* weight, const U* bias, const U* y,
                          cudaStream_t stream) {
  constexpr int samples = 64;
  const auto [batch, in_features, out_features] = shape;
  double worst = 0;
  for (int sample = 0; sample < samples; ++sample) {
    const std::int64_t column = (out_features - 1) * sample / (samples - 1);
    // Steps of the golden ratio spread any number of samples evenly.
    const std::int64_t row =
        sample == samples - 1
            ? batch - 1
            : static_cast<std::int64_t>(std::fmod(sample * 0.61803398875, 1.0) * static_cast<double>(batch));
    const std::vector<double> x_row = to_host(x + row * in_features, in_features, stream);
    const std::vector<double> weight_row = to_host(weight + column * in_features, in_features, stream);
    double exact = bias == nullptr ? 0 : to_host(bias + column, 1, stream)[0];
    double magnitude = std::abs(exact);
    for (std::size_t k = 0; k < x_row.size(); ++k) {
      exact += x_row[k] * weight_row[k];
      magnitude += std::abs(x_row[k] * weight_row[k]);
    }
    const double got = to_host(y + row * out_features + column, 1, stream)[0];
    const double rounding = half_ulp(masthead::dtype_of<U>) * std::abs(exact);
    const double error = (std::abs(got - exact) - rounding) / magnitude;
    if (std::isnan(error)) return error;
    worst = std::max(worst, error);
  }
  return worst;
}

/// What `sampled_gemm_error` may be: far above the rounding of any order of summation, far below what a
/// forgotten bias or a misplaced element gives.
constexpr double gemm_tolerance(const GemmTypes& types) {
  if (types.operand == masthead::Dtype::f64) return 1e-13;
  return types.compute == CUBLAS_COMPUTE_32F_FAST_TF32 ? 0x1p-11 : 0x1p-17;
}

}  // namespace benchmark

#pragma once
/// Whether a matrix product is right: a few of its elements against float64 dot products on the host.

#include <cuda_fp8.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "cublaslt_gemm.cuh"
#include "masthead/core/dtype.cuh"
#include "support/cuda.cuh"

namespace benchmark {

/// Exact.
template <class T>
__host__ __device__ double as_double(T value) {
  if constexpr (std::is_same_v<T, __nv_fp8_e4m3>) {
    return static_cast<float>(value);
  } else {
    return masthead::widen(value);
  }
}

/// Copies `size` elements of device memory to the host, widened to double. Synchronizes the stream.
template <class T>
std::vector<double> to_host(const T* data, std::int64_t size, cudaStream_t stream) {
  std::vector<T> raw(static_cast<std::size_t>(size));
  succeed(cudaMemcpyAsync(raw.data(), data, raw.size() * sizeof(T), cudaMemcpyDeviceToHost, stream));
  succeed(cudaStreamSynchronize(stream));
  std::vector<double> values(raw.size());
  std::transform(raw.begin(), raw.end(), values.begin(), [](T value) { return as_double(value); });
  return values;
}

/// Half a unit in the last place, relative to the value, at most.
constexpr double half_ulp(masthead::Dtype dtype) {
  constexpr double values[] = {0x1p-53, 0x1p-24, 0x1p-11, 0x1p-8};
  return values[static_cast<int>(dtype)];
}

/// Σ x w of two rows of device memory.
struct ExactDot {
  double value = 0;
  double magnitude = 0;  ///< Σ|x w|
};

/// Summed in ascending order on the host. Synchronizes the stream.
template <class T>
ExactDot exact_dot(const T* x, const T* weight, std::int64_t size, cudaStream_t stream) {
  const std::vector<double> x_row = to_host(x, size, stream), weight_row = to_host(weight, size, stream);
  ExactDot dot;
  for (std::size_t k = 0; k < x_row.size(); ++k) {
    dot.value += x_row[k] * weight_row[k];
    dot.magnitude += std::abs(x_row[k] * weight_row[k]);
  }
  return dot;
}

/// The largest error of 64 elements spread over y = unit * x W^T + bias, corners included, beyond the
/// rounding of the output and relative to |bias| + unit * Σ|x w|; NaN where an element is NaN. `bias` may be
/// null. Synchronizes the stream.
template <class T, class U>
double sampled_gemm_error(const GemmShape& shape, const T* x, const T* weight, const U* bias, const U* y,
                          cudaStream_t stream, double unit = 1) {
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
    const ExactDot dot = exact_dot(x + row * in_features, weight + column * in_features, in_features, stream);
    const double added = bias == nullptr ? 0 : to_host(bias + column, 1, stream)[0];
    const double exact = unit * dot.value + added;
    const double got = to_host(y + row * out_features + column, 1, stream)[0];
    const double rounding = half_ulp(masthead::dtype_of<U>) * std::abs(exact);
    const double error = (std::abs(got - exact) - rounding) / (unit * dot.magnitude + std::abs(added));
    if (std::isnan(error)) return error;
    worst = std::max(worst, error);
  }
  return worst;
}

/// What `sampled_gemm_error` may be: far above the rounding of any order of summation, far below what a
/// forgotten bias or a misplaced element gives.
constexpr double gemm_tolerance(const GemmTypes& types) {
  if (types.operand == CUDA_R_64F) return 1e-13;
  if (types.operand == CUDA_R_8F_E4M3) return 0x1p-10;  // products keep 13 bits below the largest
  return types.compute == CUBLAS_COMPUTE_32F_FAST_TF32 ? 0x1p-11 : 0x1p-17;
}

}  // namespace benchmark

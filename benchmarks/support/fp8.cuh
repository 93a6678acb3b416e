#pragma once
/// Matrices rounded to e4m3: with one scale per tensor, as cuBLASLt's fp8 product takes them, or one per row.

#include <cuda_fp8.h>

#include <cstdint>
#include <vector>

#include "masthead/core/dtype.cuh"
#include "support/cuda.cuh"

namespace benchmark {

/// `bits` = the larger of itself and the bits of max|data|, which order like the values.
template <class T>
__global__ void largest_magnitude_kernel(const T* data, std::int64_t size, unsigned* bits) {
  float largest = 0;
  const std::int64_t step = std::int64_t(gridDim.x) * blockDim.x;
  for (std::int64_t i = std::int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < size; i += step) {
    largest = fmaxf(largest, fabsf(static_cast<float>(masthead::widen(data[i]))));
  }
  atomicMax(bits, __float_as_uint(largest));
}

static __global__ void scale_of_magnitude_kernel(float* scale) {
  constexpr float largest_e4m3 = 448;
  *scale = *scale / largest_e4m3;
}

template <class T>
__global__ void quantize_kernel(const T* data, std::int64_t size, const float* scale, __nv_fp8_e4m3* out) {
  const std::int64_t step = std::int64_t(gridDim.x) * blockDim.x;
  for (std::int64_t i = std::int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < size; i += step) {
    out[i].__x = __nv_cvt_float_to_fp8(static_cast<float>(masthead::widen(data[i])) / *scale, __NV_SATFINITE,
                                       __NV_E4M3);
  }
}

/// Matrices quantized with one scale for all of them: a value is its e4m3 number times the scale, which maps
/// the largest magnitude to e4m3's largest number, 448.
class QuantizedMatrices {
 public:
  /// `matrices` are not all zero. Stream ordered.
  template <class T>
  QuantizedMatrices(const std::vector<const DeviceBuffer<T>*>& matrices, cudaStream_t stream) : scale_(1) {
    succeed(cudaMemsetAsync(scale_.data(), 0, sizeof(float), stream));
    for (const DeviceBuffer<T>* matrix : matrices) {
      launch(&largest_magnitude_kernel<T>, 2048, 256, stream, matrix->data(), matrix->size(),
             reinterpret_cast<unsigned*>(scale_.data()));
    }
    launch(&scale_of_magnitude_kernel, 1, 1, stream, scale_.data());
    for (const DeviceBuffer<T>* matrix : matrices) {
      const auto& out = values_.emplace_back(matrix->size());
      launch(&quantize_kernel<T>, 2048, 256, stream, matrix->data(), matrix->size(), scale_.data(),
             out.data());
    }
  }

  const __nv_fp8_e4m3* operator[](std::size_t matrix) const { return values_[matrix].data(); }

  /// On the device.
  const float* scale() const { return scale_.data(); }

  /// Synchronizes the stream.
  double host_scale(cudaStream_t stream) const {
    float value = 0;
    succeed(cudaMemcpyAsync(&value, scale_.data(), sizeof(value), cudaMemcpyDeviceToHost, stream));
    succeed(cudaStreamSynchronize(stream));
    return value;
  }

 private:
  DeviceBuffer<float> scale_;
  std::vector<DeviceBuffer<__nv_fp8_e4m3>> values_;
};

/// One block per row.
template <class T>
__global__ void quantize_rows_kernel(const T* data, std::int64_t columns, float* out) {
  __shared__ unsigned bits;
  if (threadIdx.x == 0) bits = 0;
  __syncthreads();
  data += blockIdx.x * columns;
  out += blockIdx.x * columns;
  float largest = 0;
  for (std::int64_t i = threadIdx.x; i < columns; i += blockDim.x) {
    largest = fmaxf(largest, fabsf(static_cast<float>(masthead::widen(data[i]))));
  }
  atomicMax(&bits, __float_as_uint(largest));
  __syncthreads();
  int exponent = 0;  // the least whose power of two is not below largest / 448
  if (frexp(__uint_as_float(bits) / 448.0, &exponent) == 0.5) --exponent;
  for (std::int64_t i = threadIdx.x; i < columns; i += blockDim.x) {
    __nv_fp8_e4m3 number;
    number.__x = __nv_cvt_float_to_fp8(ldexpf(static_cast<float>(masthead::widen(data[i])), -exponent),
                                       __NV_SATFINITE, __NV_E4M3);
    out[i] = ldexpf(static_cast<float>(number), exponent);
  }
}

/// The values of (rows, columns) that e4m3 numbers times a power of two per row can hold, rounded to nearest:
/// the power maps the row's largest magnitude into (224, 448]. Stream ordered.
template <class T>
DeviceBuffer<float> quantized_rows(const DeviceBuffer<T>& matrix, std::int64_t columns, cudaStream_t stream) {
  DeviceBuffer<float> out(matrix.size());
  launch(&quantize_rows_kernel<T>, matrix.size() / columns, 256, stream, matrix.data(), columns, out.data());
  return out;
}

}  // namespace benchmark

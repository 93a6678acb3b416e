#pragma once
/// The data sets of the accuracy harness.

#include <array>
#include <cmath>
#include <cstdint>
#include <string_view>

#include "cublaslt_gemm.cuh"
#include "masthead/core/dtype.cuh"
#include "support/cuda.cuh"
#include "support/random_fill.cuh"

namespace benchmark {

enum class DataSet : std::uint8_t {
  normal,       ///< x and W ~ N(0, 1)
  uniform,      ///< x and W ~ U(0, 1): one sign, so that a biased sum shows
  log_uniform,  ///< magnitudes 2^U(-12, 12), random signs
  outlier,      ///< N(0, 1) with one element of 2^15, of random sign, in every row: x even columns, W odd
  reference,    ///< x ~ U(0, 1), W ~ U(-1, 1) / sqrt(in_features) as nn.Linear is initialized
};

inline constexpr std::array data_sets{DataSet::normal, DataSet::uniform, DataSet::log_uniform,
                                      DataSet::outlier, DataSet::reference};

constexpr std::string_view name(DataSet data) {
  constexpr std::string_view names[] = {"normal", "uniform", "log_uniform", "outlier", "reference"};
  return names[static_cast<int>(data)];
}

/// 2^U(-12, 12) of random sign.
struct LogUniform {
  template <class Real>
  __device__ Real operator()(UniformPair<Real> u) const {
    const Real magnitude = exp2(Real(24) * u.first - Real(12));
    return u.second < Real(0.5) ? -magnitude : magnitude;
  }
};

/// Replaces one element of every row, in a column of this parity, by 2^15 or -2^15.
// An outlier of x never meets one of W: a product of 2^30 here and there would be all that an L2 error sees.
static __global__ void place_outliers_kernel(float* data, std::int64_t rows, std::int64_t columns, int parity,
                                             std::uint64_t seed) {
  const std::int64_t row = std::int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  const auto u = UniformPair<double>::of(seed, static_cast<std::uint64_t>(row));
  const std::int64_t pair = static_cast<std::int64_t>(u.first * static_cast<double>((columns + 1) / 2));
  data[row * columns + min(2 * pair + parity, columns - 1)] = u.second < 0.5 ? -0x1p15f : 0x1p15f;
}

/// x and W of one data set as floats. Feature 0 has a weight row of zeros: its logit is 0 in any arithmetic,
/// so a logarithm of a probability less that of feature 0 is a logit.
struct AccuracyData {
  DeviceBuffer<float> x, weight;

  AccuracyData(DataSet data, const GemmShape& shape, cudaStream_t stream)
      : x(shape.batch * shape.in_features), weight(shape.out_features * shape.in_features) {
    const double bound = 1 / std::sqrt(static_cast<double>(shape.in_features));
    switch (data) {
      case DataSet::normal:
        fill(Normal{}, Normal{}, stream);
        break;
      case DataSet::uniform:
        fill(Uniform{}, Uniform{}, stream);
        break;
      case DataSet::log_uniform:
        fill(LogUniform{}, LogUniform{}, stream);
        break;
      case DataSet::outlier:
        fill(Normal{}, Normal{}, stream);
        place_outliers(x, shape.batch, 0, 3, stream);
        place_outliers(weight, shape.out_features, 1, 4, stream);
        break;
      case DataSet::reference:
        fill(Uniform{}, Uniform{-bound, bound}, stream);
        break;
    }
    succeed(cudaMemsetAsync(weight.data(), 0, static_cast<std::size_t>(shape.in_features) * sizeof(float),
                            stream));
  }

 private:
  template <class Dx, class Dw>
  void fill(Dx of_x, Dw of_weight, cudaStream_t stream) {
    random_fill(x, of_x, 1, stream);
    random_fill(weight, of_weight, 2, stream);
  }

  static void place_outliers(const DeviceBuffer<float>& matrix, std::int64_t rows, int parity,
                             std::uint64_t seed, cudaStream_t stream) {
    launch(&place_outliers_kernel, (rows + 255) / 256, 256, stream, matrix.data(), rows, matrix.size() / rows,
           parity, seed);
  }
};

template <class T>
__global__ void round_kernel(const float* in, std::int64_t size, T* out) {
  const std::int64_t step = std::int64_t(gridDim.x) * blockDim.x;
  for (std::int64_t i = std::int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < size; i += step) {
    out[i] = masthead::narrow<T>(in[i]);
  }
}

/// The elements rounded to nearest. Stream ordered.
template <class T>
DeviceBuffer<T> rounded(const DeviceBuffer<float>& matrix, cudaStream_t stream) {
  DeviceBuffer<T> out(matrix.size());
  launch(&round_kernel<T>, 2048, 256, stream, matrix.data(), matrix.size(), out.data());
  return out;
}

}  // namespace benchmark

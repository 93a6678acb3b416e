/// scale_softmax and its logarithm on logits with a padded vocabulary, handed in as mdspan.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>

#include <cuda/std/array>
#include <cuda/std/mdspan>

#include "masthead/scale_softmax.cuh"

using Extents = cuda::std::dextents<std::int64_t, 2>;
template <class T>
using Rows = cuda::std::mdspan<T, Extents, cuda::std::layout_stride>;

/// Random values in memory that the host and the device share; freed with the process.
template <class T>
T* make(std::int64_t size, float low, float high) {
  static std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(low, high);
  T* data = nullptr;
  masthead::require_success(cudaMallocManaged(&data, size * sizeof(T)), "cudaMallocManaged");
  std::generate_n(data, size, [&] { return static_cast<T>(uniform(random)); });
  return data;
}

int main() {
  if (int devices = 0; cudaGetDeviceCount(&devices) != cudaSuccess) {
    std::printf("scale_softmax: skipped, %s\n", cudaGetErrorString(cudaGetLastError()));
    return 77;
  }

  constexpr std::int64_t rows = 64, columns = 50257, padded = 50304;
  // Logits are within 10, so their differences, below 32 in units of log 2, are rounded by 2^-20 at most; of
  // the 50257 exponentials, each right to 2^-22, no thread adds more than 64.
  constexpr double bound = 1e-5;

  const cuda::std::layout_stride::mapping<Extents> padded_rows(Extents(rows, columns),
                                                               cuda::std::array<std::int64_t, 2>{padded, 1});
  const Rows<const float> x(make<float>(rows * padded, -4, 4), padded_rows);
  const Rows<float> p(make<float>(rows * padded, -1, 0), padded_rows);
  const Rows<float> log_p(make<float>(rows * padded, 1, 2), padded_rows);
  const float* scale = make<float>(1, -2.5f, -2);  // or one for each column

  cudaStream_t stream = nullptr;
  masthead::require_success(cudaStreamCreate(&stream), "cudaStreamCreate");
  const masthead::Matrix in(x);
  masthead::scale_softmax(in, {scale, 1}, masthead::Matrix(p), stream);
  masthead::scale_softmax(in, {scale, 1}, masthead::Matrix(log_p), masthead::Output::log_softmax, stream);
  masthead::require_success(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  masthead::require_success(cudaStreamDestroy(stream), "cudaStreamDestroy");

  double worst = 0;
  for (std::int64_t r = 0; r < rows; ++r) {
    double sum = 0;
    for (std::int64_t c = 0; c < columns; ++c) sum += std::exp(double{*scale} * x(r, c));
    for (std::int64_t c = 0; c < columns; ++c) {
      const double expected = double{*scale} * x(r, c) - std::log(sum);
      for (const double result : {std::log(double{p(r, c)}), double{log_p(r, c)}}) {
        const double error = std::abs(result - expected);
        worst = error <= worst ? worst : error;  // keeps a NaN
      }
    }
  }
  std::printf("scale_softmax %ldx%ld: max|dlogp| %.2e, bound %.1e\n", rows, columns, worst, bound);
  return worst <= bound ? 0 : 1;
}

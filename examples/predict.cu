/// The use that README.md shows, in eval mode and checked against float64.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

// README begins.
#include <masthead/head.cuh>

/// Probabilities y (batch, out) of x (batch, in). All pointers are device memory, row-major; weight is (out,
/// in) as nn.Linear keeps it, scale has one element and the other vectors have out.
void predict(const float* x, const float* weight, const float* bias, const float* gamma, const float* beta,
             const float* mean, const float* var, const float* scale, float* y, std::int64_t batch,
             std::int64_t in, std::int64_t out, cudaStream_t stream) {
  const masthead::Parameters<float> parameters{.weight = {weight, out, in},
                                               .bias = {bias, out},
                                               .gamma = {gamma, out},
                                               .beta = {beta, out},
                                               .running_mean = {mean, out},
                                               .running_var = {var, out},
                                               .scale = {scale, 1}};
  const masthead::Head<masthead::Precision::fp32> head(parameters, stream);  // packs: make it once
  head.forward({x, batch, in}, {y, batch, out}, stream);                     // queued; throws masthead::Error
}
// README ends.

float* make(std::int64_t size, float low, float high) {
  static std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(low, high);
  float* data = nullptr;  // memory that the host and the device share; freed with the process
  masthead::require_success(cudaMallocManaged(&data, size * sizeof(float)), "cudaMallocManaged");
  std::generate_n(data, size, [&] { return uniform(random); });
  return data;
}

int main() {
  if (int devices = 0; cudaGetDeviceCount(&devices) != cudaSuccess) {
    std::printf("predict: skipped, %s\n", cudaGetErrorString(cudaGetLastError()));
    return 77;
  }
  constexpr std::int64_t batch = 150, in = 300, out = 200;
  constexpr double bound = 1e-4;  // sums of 300 products, below 8, each rounded by 2^-24; slope below 6
  const float *x = make(batch * in, -1, 1), *weight = make(out * in, -0.1f, 0.1f), *bias = make(out, -1, 1);
  const float *gamma = make(out, -2, 2), *beta = make(out, -1, 1), *mean = make(out, -1, 1);
  const float *var = make(out, 0.5f, 2), *scale = make(1, 1.5f, 2);
  float* y = make(batch * out, -1, 0);
  const cudaStream_t stream = cudaStreamPerThread;
  predict(x, weight, bias, gamma, beta, mean, var, scale, y, batch, in, out, stream);
  masthead::require_success(cudaStreamSynchronize(stream), "cudaStreamSynchronize");

  double worst = 0;
  std::vector<double> logits(out);
  for (std::int64_t r = 0; r < batch; ++r) {
    double sum = 0;
    for (std::int64_t n = 0; n < out; ++n) {
      double h = bias[n];
      for (std::int64_t k = 0; k < in; ++k) h += double{x[r * in + k]} * weight[n * in + k];
      logits[n] = *scale * ((h - mean[n]) / std::sqrt(var[n] + 1e-5) * gamma[n] + beta[n]);
      sum += std::exp(logits[n]);
    }
    for (std::int64_t n = 0; n < out; ++n) {
      const double error = std::abs(std::log(double{y[r * out + n]}) - (logits[n] - std::log(sum)));
      worst = error <= worst ? worst : error;  // keeps a NaN
    }
  }
  std::printf("predict: max|dlogp| %.2e, bound %.1e\n", worst, bound);
  return worst <= bound ? 0 : 1;
}

/// The head in bfloat16 with a policy of one's own, on some of the columns of a wider matrix of features.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

#include "masthead/linear_batch_norm_softmax.cuh"

namespace mh = masthead;
using BFloat = __nv_bfloat16;
using MyPolicy = mh::Policy<mh::Dtype::bf16, mh::Tile{.m = 64, .n = 64, .k = 32}, 128>;

/// Random values in memory that the host and the device share; freed with the process.
template <class T>
T* make(std::int64_t size, float low, float high) {
  static std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(low, high);
  T* data = nullptr;
  mh::require_success(cudaMallocManaged(&data, size * sizeof(T)), "cudaMallocManaged");
  std::generate_n(data, size, [&] { return static_cast<T>(uniform(random)); });
  return data;
}

int main() {
  if (int devices = 0; cudaGetDeviceCount(&devices) != cudaSuccess) {
    std::printf("custom_policy: skipped, %s\n", cudaGetErrorString(cudaGetLastError()));
    return 77;
  }
  constexpr std::int64_t batch = 150, in = 320, out = 200, wide = 512, first = 64;
  constexpr double bound = 0x1p-8;  // y is rounded to bfloat16, by 2^-9; what float sums add is far less

  const mh::Matrix<const BFloat> x(make<BFloat>(batch * wide, -1, 1) + first, batch, in, wide);
  const mh::Matrix<const BFloat> weight(make<BFloat>(out * in, -0.1f, 0.1f), out, in);
  const mh::Matrix<BFloat> y(make<BFloat>(batch * out, -1, 0), batch, out);
  const float *bias = make<float>(out, -1, 1), *gamma = make<float>(out, -2, 2);
  const float *mean = make<float>(out, -1, 1), *var = make<float>(out, 0.5f, 2);
  const float* scale = make<float>(out, -2, 2);  // one each; or one for all, with size 1
  const mh::HeadArguments<BFloat, BFloat> arguments{.x = x,
                                                    .parameters = {.weight = weight,
                                                                   .bias = {bias, out},
                                                                   .gamma = {gamma, out},  // no beta
                                                                   .running_mean = {mean, out},
                                                                   .running_var = {var, out},
                                                                   .scale = {scale, out}},
                                                    .y = y};

  const std::int64_t bytes = mh::workspace_bytes<MyPolicy>(arguments);
  const mh::Workspace workspace{make<unsigned char>(bytes, 0, 255), bytes};
  cudaStream_t stream = nullptr;
  mh::require_success(cudaStreamCreate(&stream), "cudaStreamCreate");
  mh::linear_batch_norm_softmax<MyPolicy>(arguments, workspace, stream);
  mh::require_success(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  mh::require_success(cudaStreamDestroy(stream), "cudaStreamDestroy");

  double worst = 0;
  std::vector<double> logits(out);
  for (std::int64_t r = 0; r < batch; ++r) {
    double sum = 0;
    for (std::int64_t n = 0; n < out; ++n) {
      double h = bias[n];
      for (std::int64_t k = 0; k < in; ++k) {
        h += double{mh::widen(x.data[r * wide + k])} * mh::widen(weight.data[n * in + k]);
      }
      logits[n] = scale[n] * ((h - mean[n]) / std::sqrt(var[n] + 1e-5) * gamma[n]);
      sum += std::exp(logits[n]);
    }
    for (std::int64_t n = 0; n < out; ++n) {
      const double log_p = std::log(double{mh::widen(y.data[r * out + n])});
      const double error = std::abs(log_p - (logits[n] - std::log(sum)));
      worst = error <= worst ? worst : error;  // keeps a NaN
    }
  }
  std::printf("%s: max|dlogp| %.2e, bound %.1e\n", to_string(MyPolicy::spec).c_str(), worst, bound);
  return worst <= bound ? 0 : 1;
}

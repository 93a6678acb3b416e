/// A kernel of one's own from the device functions: how sure Linear -> BatchNorm1d -> softmax is of each row,
/// the largest of its probabilities, for any number of classes and with no logits in memory.

#include <cmath>
#include <cstdint>
#include <cstdio>

#include "masthead/gemm/block_gemm_simt.cuh"
#include "masthead/launch/driver.cuh"
#include "masthead/numeric/feature.cuh"
#include "masthead/policy/policy.hpp"
#include "masthead/softmax/row_softmax.cuh"

namespace mh = masthead;
constexpr int rows = 32, columns = 64, warps = 4;  // of a tile; of a block
using Gemm = mh::BlockGemmSimt<mh::Policy<mh::Dtype::f32, mh::Tile{rows, columns, 16}, 32 * warps>>;
using Softmax = mh::RowSoftmax<float, mh::SoftmaxPolicy<32, 8, warps>>;
using Reduce = mh::RowReduce<float, 32>;

/// Each block takes `rows` rows of x and walks over all classes, one tile at a time.
__global__ void __launch_bounds__(32 * warps)
    certainty(mh::Matrix<const float> x, mh::Parameters<float> head, float* result) {
  __shared__ Gemm::TempStorage storage;
  __shared__ Reduce::TempStorage reduce[rows];
  __shared__ float2 affine[columns];       // (multiplier, addend)
  __shared__ float logits[rows][columns];  // in log2 units
  const std::int64_t first_row = std::int64_t{blockIdx.x} * rows, classes = head.weight.rows;
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  mh::SoftmaxState<float> states[rows / warps];  // of a lane's columns of rows warp, warp + warps, ...
  for (std::int64_t first = 0; first < classes; first += columns) {
    if (thread < columns && first + thread < classes) {
      const mh::Affine a = mh::fold(mh::load_feature(head, first + thread), head.epsilon, mh::log2e);
      affine[thread] = make_float2(static_cast<float>(a.multiplier), static_cast<float>(a.addend));
    }
    Gemm::Accumulators sums = {};
    Gemm{storage}(x, head.weight, first_row, first, sums);  // synchronizes, for the affine too
    Gemm::for_each(sums, [&](int r, int c, float sum) { logits[r][c] = fma(sum, affine[c].x, affine[c].y); });
    __syncthreads();
    for (int i = 0; i < rows / warps; ++i) {
      float z[] = {logits[warp + i * warps][lane], logits[warp + i * warps][lane + 32]};
      Softmax::accumulate<false>(states[i], z, 1.0f, [&](int j) { return first + lane + 32 * j < classes; });
    }
  }
  for (int i = 0; i < rows / warps; ++i) {
    const std::int64_t row = first_row + warp + i * warps;
    const mh::SoftmaxState<float> merged = Reduce{reduce[warp + i * warps]}(states[i]);
    if (lane == 0 && row < x.rows) result[row] = 1 / merged.sum;  // the sum is relative to the maximum
  }
}

int main() {
  if (int devices = 0; cudaGetDeviceCount(&devices) != cudaSuccess) {
    std::printf("own_kernel: skipped, %s\n", cudaGetErrorString(cudaGetLastError()));
    return 77;
  }
  constexpr std::int64_t batch = 77, in = 200, classes = 1000, size = (batch + classes) * in + 2 * classes;
  constexpr double bound = 1e-3;  // 200 additions of sums below 40, each rounded by 2^-24, come to 5e-4
  float* all = nullptr;           // host's and device's, freed with the process; results behind the inputs
  mh::require_success(cudaMallocManaged(&all, (size + batch) * sizeof(float)), "cudaMallocManaged");
  for (std::int64_t i = 0; i < size; ++i) all[i] = static_cast<float>(0.7 * std::sin(i * i % 7919));
  const float *x = all, *w = x + batch * in, *bias = w + classes * in, *gamma = bias + classes;
  const mh::Parameters<float> head{{w, classes, in}, {bias, classes}, {gamma, classes}};
  certainty<<<(batch - 1) / rows + 1, 32 * warps, 0, cudaStreamPerThread>>>({x, batch, in}, head, all + size);
  mh::require_success(cudaGetLastError(), "certainty");
  mh::require_success(cudaStreamSynchronize(cudaStreamPerThread), "cudaStreamSynchronize");
  double worst = 0;
  for (std::int64_t r = 0; r < batch; ++r) {
    double max = -HUGE_VAL, sum = 0;
    for (std::int64_t n = 0; n < classes; ++n) {
      double h = bias[n];
      for (std::int64_t k = 0; k < in; ++k) h += double{x[r * in + k]} * w[n * in + k];
      const double z = h / std::sqrt(1 + 1e-5) * gamma[n];
      max = std::fmax(max, z), sum += std::exp(z);
    }
    const double error = std::abs(std::log(double{all[size + r]}) - (max - std::log(sum)));
    worst = error <= worst ? worst : error;  // keeps a NaN
  }
  std::printf("own_kernel: %ld rows, max|dlogp| %.2e, bound %.1e\n", batch, worst, bound);
  return worst <= bound ? 0 : 1;
}

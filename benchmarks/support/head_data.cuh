#pragma once
/// A head's tensors on the device: rotating sets of x, W and y, and the vectors they share.

#include <cmath>
#include <cstdint>
#include <vector>

#include "cublaslt_gemm.cuh"
#include "masthead/core/dtype.cuh"
#include "masthead/core/parameters.hpp"
#include "support/cuda.cuh"
#include "support/gemm_error.cuh"
#include "support/head_reference.cuh"
#include "support/random_fill.cuh"

namespace benchmark {

template <class T>
class HeadData {
 public:
  using Vector = masthead::Accumulator<T>;  // of BatchNorm, which stays float beside 16-bit weights
  static constexpr double epsilon = 1e-5;

  struct Set {
    DeviceBuffer<T> x, weight, y;
  };

  /// Logits of a few units, gamma of both signs, nothing at its neutral value. Stream ordered.
  HeadData(const GemmShape& shape, int sets, cudaStream_t stream)
      : shape(shape),
        bias(shape.out_features),
        stream_(stream),
        gamma_(shape.out_features),
        beta_(shape.out_features),
        mean_(shape.out_features),
        variance_(shape.out_features),
        updated_mean_(shape.out_features),
        updated_variance_(shape.out_features),
        scale_(1) {
    const auto [batch, in_features, out_features] = shape;
    random_fill(bias, Normal{0, 0.5}, 1, stream);
    random_fill(gamma_, Normal{0.5, 1}, 2, stream);
    random_fill(beta_, Normal{0, 0.5}, 3, stream);
    random_fill(mean_, Normal{0, 0.3}, 4, stream);
    random_fill(variance_, Uniform{0.5, 1.5}, 5, stream);
    random_fill(updated_mean_, Normal{}, 6, stream);
    random_fill(updated_variance_, Uniform{0.5, 1.5}, 7, stream);
    random_fill(scale_, Uniform{1.2, 1.3}, 8, stream);
    for (int i = 0; i < sets; ++i) {
      const Set& set = this->sets.emplace_back(Set{DeviceBuffer<T>(batch * in_features),
                                                   DeviceBuffer<T>(out_features * in_features),
                                                   DeviceBuffer<T>(batch * out_features)});
      const auto seed = static_cast<std::uint64_t>(100 + 2 * i);
      random_fill(set.x, Normal{}, seed, stream);
      random_fill(set.weight, Normal{0, 1 / std::sqrt(static_cast<double>(in_features))}, seed + 1, stream);
      poison(set.y, stream);
    }
  }

  masthead::Parameters<T> parameters(const Set& set) const {
    const std::int64_t n = shape.out_features;
    return {.weight = {set.weight.data(), n, shape.in_features},
            .bias = {bias.data(), n},
            .gamma = {gamma_.data(), n},
            .beta = {beta_.data(), n},
            .running_mean = {mean_.data(), n},
            .running_var = {variance_.data(), n},
            .scale = {scale_.data(), 1},
            .epsilon = epsilon};
  }

  /// What training mode updates: of no other use.
  masthead::RunningStatistics running() const {
    return {.mean = {updated_mean_.data(), shape.out_features},
            .var = {updated_variance_.data(), shape.out_features}};
  }

  /// Synchronizes the stream.
  HeadVectors host_vectors() const {
    return {host(bias), host(gamma_), host(beta_), host(mean_), host(variance_), host(scale_)[0], epsilon};
  }

  const GemmShape shape;
  std::vector<Set> sets;
  DeviceBuffer<T> bias;  ///< of the output's dtype, as cuBLASLt's epilogue wants it

 private:
  template <class U>
  std::vector<double> host(const DeviceBuffer<U>& buffer) const {
    return to_host(buffer.data(), buffer.size(), stream_);
  }

  cudaStream_t stream_;
  DeviceBuffer<Vector> gamma_, beta_, mean_, variance_, updated_mean_, updated_variance_, scale_;
};

}  // namespace benchmark

#pragma once
/// The bare GEMM with bias on a head's data: as it is, or quantized to e4m3.

#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "cublaslt_gemm.cuh"
#include "support/fp8.cuh"
#include "support/gemm_error.cuh"
#include "support/head_data.cuh"
#include "support/report.hpp"

namespace benchmark {

/// The e4m3 copies of a head's data: x and W of every set, with one scale for all x and one for all W.
struct QuantizedData {
  QuantizedMatrices x, weight;

  template <class T>
  static QuantizedData of(const HeadData<T>& data, cudaStream_t stream) {
    std::vector<const DeviceBuffer<T>*> x, weight;
    for (const auto& set : data.sets) {
      x.push_back(&set.x);
      weight.push_back(&set.weight);
    }
    return {QuantizedMatrices(x, stream), QuantizedMatrices(weight, stream)};
  }
};

/// The fastest algorithm for one precision's product, on all of the data's sets. Keeps a reference to the
/// data and to the quantized copies, which may be null unless the precision is fp8.
template <class T>
class GemmBaseline {
 public:
  GemmBaseline(std::string_view precision, const HeadData<T>& data, const QuantizedData* quantized,
               cudaStream_t stream)
      : types_(GemmTypes::of(precision)),
        data_(data),
        quantized_(quantized),
        gemm_(data.shape, types_, data.bias.data(),
              quantized ? GemmScales{quantized->x.scale(), quantized->weight.scale()} : GemmScales{}) {
    for (std::size_t i = 0; i < data.sets.size(); ++i) {
      const auto& set = data.sets[i];
      if (quantized != nullptr) {
        operands_.push_back({quantized->x[i], quantized->weight[i], set.y.data()});
      } else {
        operands_.push_back({set.x.data(), set.weight.data(), set.y.data()});
      }
    }
    gemm_.choose_fastest(operands_, stream);
  }

  void run(int set, cudaStream_t stream) const {
    gemm_.run(operands_[static_cast<std::size_t>(set)], stream);
  }

  /// Runs once. Synchronizes the stream.
  Check check(const Case& of, const std::string& system, cudaStream_t stream) const {
    const auto& set = data_.sets[0];
    poison(set.y, stream);
    run(0, stream);
    const T* bias = gemm_.adds_bias() ? data_.bias.data() : nullptr;
    const double error =
        quantized_ == nullptr
            ? sampled_gemm_error(data_.shape, set.x.data(), set.weight.data(), bias, set.y.data(), stream)
            : sampled_gemm_error(data_.shape, quantized_->x[0], quantized_->weight[0], bias, set.y.data(),
                                 stream,
                                 quantized_->x.host_scale(stream) * quantized_->weight.host_scale(stream));
    return {of, system, "max error / sum|x w|", error, error <= gemm_tolerance(types_), gemm_.description()};
  }

 private:
  GemmTypes types_;
  const HeadData<T>& data_;
  const QuantizedData* quantized_;
  CublasLtGemm gemm_;
  std::vector<GemmOperands> operands_;
};

}  // namespace benchmark

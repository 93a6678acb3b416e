#pragma once
/// The baseline: y = x W^T + bias by the fastest algorithm cuBLASLt has for it.

#include <cublasLt.h>

#include <algorithm>
#include <cstdint>
#include <source_location>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "masthead/dtype.cuh"
#include "support/cuda.cuh"
#include "support/timing.cuh"

namespace benchmark {

inline void succeed(cublasStatus_t status, std::source_location where = std::source_location::current()) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw std::runtime_error(std::string(where.file_name()) + ":" + std::to_string(where.line()) + ": " +
                           cublasLtGetStatusString(status));
}

/// x is (batch, in_features), W is (out_features, in_features), y is (batch, out_features); all row-major
/// without gaps.
struct GemmShape {
  std::int64_t batch, in_features, out_features;
};

struct GemmTypes {
  masthead::Dtype operand;
  masthead::Dtype output;  ///< of y and of the bias
  cublasComputeType_t compute;

  /// Of a precision by its name. fp32 is true fp32, without the tensor cores; 16-bit operands are summed in
  /// fp32. `output` is the operands' dtype unless told.
  static GemmTypes of(std::string_view precision) {
    using masthead::Dtype;
    if (precision == "fp64") return {Dtype::f64, Dtype::f64, CUBLAS_COMPUTE_64F};
    if (precision == "fp32" || precision == "fp32_ieee") return {Dtype::f32, Dtype::f32, CUBLAS_COMPUTE_32F};
    if (precision == "tf32") return {Dtype::f32, Dtype::f32, CUBLAS_COMPUTE_32F_FAST_TF32};
    if (precision == "fp16") return {Dtype::f16, Dtype::f16, CUBLAS_COMPUTE_32F};
    if (precision == "bf16") return {Dtype::bf16, Dtype::bf16, CUBLAS_COMPUTE_32F};
    throw std::invalid_argument("precision '" + std::string(precision) + "' has no cuBLASLt baseline");
  }
};

/// The operands of one run, on the device.
struct GemmOperands {
  const void* x;
  const void* weight;
  void* y;
};

/// One prepared product. Not thread-safe: its workspace serves one run at a time.
class CublasLtGemm {
 public:
  static constexpr int requested_algorithms = 64;
  static constexpr std::int64_t workspace_bytes = std::int64_t(128) << 20;

  /// `bias` (out_features, of the output dtype) is added by the epilogue where cuBLASLt can for these types,
  /// which `adds_bias` tells; null: none.
  CublasLtGemm(const GemmShape& shape, const GemmTypes& types, const void* bias)
      : workspace_(workspace_bytes) {
    succeed(cublasLtCreate(&handle_));
    const bool f64 = types.operand == masthead::Dtype::f64;
    double_scalars_ = f64;
    succeed(cublasLtMatmulDescCreate(&operation_, types.compute, f64 ? CUDA_R_64F : CUDA_R_32F));
    // cuBLASLt is column-major: row-major W (N, K) is its (K, N), x (M, K) its (K, M), y (M, N) its (N, M),
    // so y = W^T x there.
    set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
    const auto [m, k, n] = shape;
    succeed(cublasLtMatrixLayoutCreate(&weight_, cuda_type(types.operand), unsigned_(k), unsigned_(n), k));
    succeed(cublasLtMatrixLayoutCreate(&x_, cuda_type(types.operand), unsigned_(k), unsigned_(m), k));
    succeed(cublasLtMatrixLayoutCreate(&y_, cuda_type(types.output), unsigned_(n), unsigned_(m), n));

    if (bias != nullptr) {
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
      find_algorithms();
      adds_bias_ = !algorithms_.empty();
    }
    if (algorithms_.empty()) {
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_DEFAULT);
      find_algorithms();
    }
    if (algorithms_.empty()) throw std::runtime_error("cuBLASLt has no algorithm for this product");
  }
  CublasLtGemm(const CublasLtGemm&) = delete;
  CublasLtGemm& operator=(const CublasLtGemm&) = delete;
  ~CublasLtGemm() {
    (void)cublasLtMatrixLayoutDestroy(y_);
    (void)cublasLtMatrixLayoutDestroy(x_);
    (void)cublasLtMatrixLayoutDestroy(weight_);
    (void)cublasLtMatmulDescDestroy(operation_);
    (void)cublasLtDestroy(handle_);
  }

  /// Enqueues one run with the chosen algorithm, at first the heuristic's favourite. Does not synchronise.
  void run(const GemmOperands& operands, cudaStream_t stream) const {
    succeed(run(algorithms_[chosen_], operands, stream));
  }

  /// Times every algorithm of the heuristic on these buffer sets, then the best few once more in turn, and
  /// keeps the fastest. An algorithm that fails to run is left out.
  void choose_fastest(const std::vector<GemmOperands>& sets, cudaStream_t stream) {
    std::vector<std::pair<double, std::size_t>> ranking;
    for (std::size_t i = 0; i < algorithms_.size(); ++i) {
      bool runs = true;
      for (int warm_up = 0; warm_up < 2 && runs; ++warm_up) {
        runs = run(algorithms_[i], sets[0], stream) == CUBLAS_STATUS_SUCCESS;
      }
      if (runs)
        ranking.emplace_back(time_block(system(i, sets), 8, 0, static_cast<int>(sets.size()), stream), i);
    }
    if (ranking.empty()) throw std::runtime_error("no algorithm of cuBLASLt's heuristic runs");
    std::sort(ranking.begin(), ranking.end());
    ranking.resize(std::min<std::size_t>(ranking.size(), 4));

    std::vector<std::vector<double>> samples(ranking.size());
    for (int round = 0; round < 5; ++round) {
      for (std::size_t i = 0; i < ranking.size(); ++i) {
        samples[i].push_back(
            time_block(system(ranking[i].second, sets), 20, round, static_cast<int>(sets.size()), stream));
      }
    }
    for (std::size_t i = 0; i < ranking.size(); ++i) ranking[i].first = Statistics::of(samples[i]).median;
    chosen_ = std::min_element(ranking.begin(), ranking.end())->second;
  }

  bool adds_bias() const { return adds_bias_; }

  /// E.g. "algorithm 66, tile 25, stages 24: number 3 of 21 of the heuristic".
  std::string description() const {
    const Algorithm& algorithm = algorithms_[chosen_];
    return "algorithm " + attribute(algorithm, CUBLASLT_ALGO_CONFIG_ID) + ", tile " +
           attribute(algorithm, CUBLASLT_ALGO_CONFIG_TILE_ID) + ", stages " +
           attribute(algorithm, CUBLASLT_ALGO_CONFIG_STAGES_ID) + ": number " + std::to_string(chosen_ + 1) +
           " of " + std::to_string(algorithms_.size()) + " of the heuristic" +
           (adds_bias_ ? "" : ", without bias");
  }

 private:
  // Named, because nvcc 13.0 dies of an internal error on a std::vector of the C type, a typedef of a struct
  // without a name.
  struct Algorithm {
    cublasLtMatmulAlgo_t value;
  };

  static cudaDataType_t cuda_type(masthead::Dtype dtype) {
    constexpr cudaDataType_t types[] = {CUDA_R_64F, CUDA_R_32F, CUDA_R_16F, CUDA_R_16BF};
    return types[static_cast<int>(dtype)];
  }
  static std::uint64_t unsigned_(std::int64_t size) { return static_cast<std::uint64_t>(size); }

  static std::string attribute(const Algorithm& algorithm, cublasLtMatmulAlgoConfigAttributes_t which) {
    int value = 0;
    succeed(cublasLtMatmulAlgoConfigGetAttribute(&algorithm.value, which, &value, sizeof(value), nullptr));
    return std::to_string(value);
  }

  template <class Value>
  void set(cublasLtMatmulDescAttributes_t which, Value value) {
    succeed(cublasLtMatmulDescSetAttribute(operation_, which, &value, sizeof(value)));
  }

  void find_algorithms() {
    cublasLtMatmulPreference_t preference = nullptr;
    const auto bytes = static_cast<std::size_t>(workspace_bytes);
    succeed(cublasLtMatmulPreferenceCreate(&preference));
    succeed(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes,
                                                 sizeof(bytes)));
    cublasLtMatmulHeuristicResult_t results[requested_algorithms];
    int found = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
        handle_, operation_, weight_, x_, y_, y_, preference, requested_algorithms, results, &found);
    succeed(cublasLtMatmulPreferenceDestroy(preference));
    if (status == CUBLAS_STATUS_NOT_SUPPORTED) return;
    succeed(status);
    for (int i = 0; i < found; ++i) {
      if (results[i].state == CUBLAS_STATUS_SUCCESS) algorithms_.push_back({results[i].algo});
    }
  }

  System system(std::size_t algorithm, const std::vector<GemmOperands>& sets) const {
    return {"", [this, algorithm, &sets](int set, cudaStream_t stream) {
              succeed(run(algorithms_[algorithm], sets[static_cast<std::size_t>(set)], stream));
            }};
  }

  cublasStatus_t run(const Algorithm& algorithm, const GemmOperands& operands, cudaStream_t stream) const {
    const double ones[] = {1, 0};
    const float ones_f32[] = {1, 0};
    const void* alpha = double_scalars_ ? static_cast<const void*>(&ones[0]) : &ones_f32[0];
    const void* beta = double_scalars_ ? static_cast<const void*>(&ones[1]) : &ones_f32[1];
    return cublasLtMatmul(handle_, operation_, alpha, operands.weight, weight_, operands.x, x_, beta,
                          operands.y, y_, operands.y, y_, &algorithm.value, workspace_.data(),
                          static_cast<std::size_t>(workspace_bytes), stream);
  }

  DeviceBuffer<char> workspace_;
  cublasLtHandle_t handle_ = nullptr;
  cublasLtMatmulDesc_t operation_ = nullptr;
  cublasLtMatrixLayout_t weight_ = nullptr, x_ = nullptr, y_ = nullptr;
  std::vector<Algorithm> algorithms_;
  std::size_t chosen_ = 0;
  bool double_scalars_ = false;
  bool adds_bias_ = false;
};

}  // namespace benchmark

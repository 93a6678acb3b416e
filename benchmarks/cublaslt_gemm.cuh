#pragma once
/// The baseline: y = x W^T + bias by the fastest algorithm cuBLASLt has for it.

#include <cublasLt.h>
#include <cuda_fp8.h>

#include <algorithm>
#include <cstdint>
#include <source_location>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "masthead/core/dtype.cuh"
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

/// cuBLASLt's name of an element type.
template <class T>
constexpr cudaDataType_t cuda_type() {
  if constexpr (std::is_same_v<T, __nv_fp8_e4m3>) {
    return CUDA_R_8F_E4M3;
  } else {
    constexpr cudaDataType_t types[] = {CUDA_R_64F, CUDA_R_32F, CUDA_R_16F, CUDA_R_16BF};
    return types[static_cast<int>(masthead::dtype_of<T>)];
  }
}

struct GemmTypes {
  cudaDataType_t operand;
  cudaDataType_t output;  ///< of y and of the bias
  cublasComputeType_t compute;
  bool fast_accumulation = false;  ///< of fp8: sums stay in the tensor core's narrower accumulator

  /// Of a precision by its name. fp32 is true fp32, without the tensor cores; 16-bit and fp8 operands are
  /// summed in fp32, fp8 promoted or, as `fp8_fast`, not. `output` is the operands' type unless told;
  /// fp8's is bf16.
  static GemmTypes of(std::string_view precision) {
    constexpr auto fp32 = CUBLAS_COMPUTE_32F;
    if (precision == "fp64") return {CUDA_R_64F, CUDA_R_64F, CUBLAS_COMPUTE_64F};
    if (precision == "fp32" || precision == "fp32_ieee") return {CUDA_R_32F, CUDA_R_32F, fp32};
    if (precision == "tf32") return {CUDA_R_32F, CUDA_R_32F, CUBLAS_COMPUTE_32F_FAST_TF32};
    if (precision == "fp16") return {CUDA_R_16F, CUDA_R_16F, fp32};
    if (precision == "bf16") return {CUDA_R_16BF, CUDA_R_16BF, fp32};
    if (precision == "fp8") return {CUDA_R_8F_E4M3, CUDA_R_16BF, fp32};
    if (precision == "fp8_fast") return {CUDA_R_8F_E4M3, CUDA_R_16BF, fp32, true};
    throw std::invalid_argument("precision '" + std::string(precision) + "' has no cuBLASLt baseline");
  }

  /// The same with another type of y.
  GemmTypes with_output(cudaDataType_t type) const { return {operand, type, compute, fast_accumulation}; }
};

/// What fp8 operands are multiplied by: one float of device memory each, null for other types.
struct GemmScales {
  const float* x = nullptr;
  const float* weight = nullptr;
};

/// The operands of one run, on the device.
struct GemmOperands {
  const void* x;
  const void* weight;
  void* y;
};

/// One product that is set up to run. Not thread-safe: its workspace serves one run at a time.
class CublasLtGemm {
 public:
  static constexpr int requested_algorithms = 64;
  static constexpr std::int64_t workspace_bytes = std::int64_t(128) << 20;

  /// `bias` (out_features, of the output dtype) is added by the epilogue where cuBLASLt can for these types,
  /// which `adds_bias` tells; null: none. `scales` are read at every run.
  CublasLtGemm(const GemmShape& shape, const GemmTypes& types, const void* bias,
               const GemmScales& scales = {})
      : workspace_(workspace_bytes) {
    succeed(cublasLtCreate(&handle_));
    const bool f64 = types.operand == CUDA_R_64F;
    double_scalars_ = f64;
    succeed(cublasLtMatmulDescCreate(&operation_, types.compute, f64 ? CUDA_R_64F : CUDA_R_32F));
    // cuBLASLt is column-major: row-major W (N, K) is its (K, N), x (M, K) its (K, M), y (M, N) its (N, M),
    // so y = W^T x there.
    set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
    if (scales.weight != nullptr) set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, scales.weight);
    if (scales.x != nullptr) set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, scales.x);
    if (types.fast_accumulation) set(CUBLASLT_MATMUL_DESC_FAST_ACCUM, std::int8_t(1));
    const auto [m, k, n] = shape;
    succeed(cublasLtMatrixLayoutCreate(&weight_, types.operand, unsigned_(k), unsigned_(n), k));
    succeed(cublasLtMatrixLayoutCreate(&x_, types.operand, unsigned_(k), unsigned_(m), k));
    succeed(cublasLtMatrixLayoutCreate(&y_, types.output, unsigned_(n), unsigned_(m), n));

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

  /// Enqueues one run with the chosen algorithm, at first the heuristic's favorite. Does not synchronize.
  void run(const GemmOperands& operands, cudaStream_t stream) const {
    succeed(run(algorithms_[chosen_], operands, stream));
  }

  /// Times every algorithm of the heuristic on these buffer sets, 2 ms or 8 calls each, then the best four
  /// once more in turn, 5 blocks of 4 ms or 20 calls, and keeps the fastest. An algorithm that fails to run
  /// is left out.
  void choose_fastest(const std::vector<GemmOperands>& sets, cudaStream_t stream) {
    const auto count = static_cast<int>(sets.size());
    const auto calls_in = [](double us, double each, int most) {
      return std::clamp(static_cast<int>(us / each), 1, most);
    };
    std::vector<std::pair<double, std::size_t>> ranking;
    for (std::size_t i = 0; i < algorithms_.size(); ++i) {
      if (run(algorithms_[i], sets[0], stream) != CUBLAS_STATUS_SUCCESS) continue;
      const double once = time_block(system(i, sets), 1, 0, count, stream);
      ranking.emplace_back(time_block(system(i, sets), calls_in(2e3, once, 8), 1, count, stream), i);
    }
    if (ranking.empty()) throw std::runtime_error("no algorithm of cuBLASLt's heuristic runs");
    std::sort(ranking.begin(), ranking.end());
    ranking.resize(std::min<std::size_t>(ranking.size(), 4));

    std::vector<std::vector<double>> samples(ranking.size());
    const int calls = calls_in(4e3, ranking[0].first, 20);
    for (int round = 0; round < 5; ++round) {
      for (std::size_t i = 0; i < ranking.size(); ++i) {
        samples[i].push_back(time_block(system(ranking[i].second, sets), calls, round, count, stream));
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

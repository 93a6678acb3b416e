#pragma once
/// Fixed lists of cases, and what the head's time over the bare GEMM's is asked to be in each.

#include <array>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "masthead/core/parameters.hpp"
#include "support/report.hpp"

namespace benchmark {

struct SuiteCase {
  std::string_view problem, precision;
  masthead::Mode mode;
  Bar bar;  ///< of the sustained figure, back to back
};

inline constexpr masthead::Mode eval = masthead::Mode::eval, training = masthead::Mode::training;

/// The tensor cores' own types on sm_90: the head should cost what the bare GEMM costs.
inline constexpr std::array<SuiteCase, 12> hopper_suite{{
    {"1024x8192x8192", "bf16", eval, {1.05, 0.98}},
    {"1024x8192x8192", "bf16", training, {1.12, 1.03}},
    {"1024x8192x8192", "fp16", eval, {1.05, 0.98}},
    {"1024x8192x8192", "fp16", training, {1.12, 1.03}},
    {"1024x8192x8192", "tf32", eval, {1.07, 0.98}},
    {"1024x8192x8192", "tf32", training, {1.12, 1.03}},
    {"4096x8192x8192", "bf16", eval, {1.08, 1.02}},
    {"16384x8192x8192", "bf16", eval, {1.08, 1.02}},
    {"1024x4096x128256", "bf16", eval, {1.18, 1.10}},
    {"1000x8184x8200", "bf16", eval, {1.10, 1.03}},
    {"128x1024x512", "bf16", eval, {1.30, 1.00}},
    {"128x1024x512", "tf32", eval, {1.30, 1.00}},
}};

/// Precisions made of another type's products: fp32 beside SGEMM, fp16_scaled beside tf32, fp8 beside fp8
/// with one scale per tensor.
inline constexpr std::array<SuiteCase, 8> precisions_suite{{
    {"1024x8192x8192", "fp32", eval, {0.225, 0.19}},
    {"1024x8192x8192", "fp32", training, {0.235, 0.20}},
    {"1024x8192x8192", "fp16_scaled", eval, {1.07, 0.98}},
    {"1024x8192x8192", "fp16_scaled", training, {1.12, 1.03}},
    {"1024x8192x8192", "fp8", eval, {1.20, 1.05}},
    {"1024x4096x128256", "fp32", eval, {0.25, 0.20}},
    {"1024x4096x128256", "fp16_scaled", eval, {1.18, 1.10}},
    {"1024x4096x128256", "fp8", eval, {1.25, 1.10}},
}};

inline std::span<const SuiteCase> suite_of(std::string_view name) {
  if (name == "hopper") return hopper_suite;
  if (name == "precisions") return precisions_suite;
  throw std::invalid_argument("no suite '" + std::string(name) + "'");
}

}  // namespace benchmark

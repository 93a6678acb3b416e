#pragma once
/// The precisions the programs run a head in.

#include <string>

#include "masthead/core/precision.hpp"

namespace benchmark {

template <masthead::Precision...>
struct Precisions {};

/// All the library has. `head` times a precision that is not here by its baseline alone.
using HeadPrecisions =
    Precisions<masthead::Precision::fp64, masthead::Precision::fp32_ieee, masthead::Precision::fp32,
               masthead::Precision::tf32, masthead::Precision::fp16_scaled, masthead::Precision::bf16,
               masthead::Precision::fp16, masthead::Precision::fp8>;

/// The precision of cuBLASLt's that has as many significant bits.
inline std::string baseline_precision(const std::string& precision) {
  return precision == "fp32_ieee" ? "fp32" : precision == "fp16_scaled" ? "tf32" : precision;
}

}  // namespace benchmark

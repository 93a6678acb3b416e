#pragma once
/// What a head is run on: its parameters and its input, from files or generated.

#include <cstdint>
#include <filesystem>
#include <vector>

#include "masthead/core/precision.hpp"
#include "masthead/numeric/rounding.hpp"

namespace model_head {

struct Shape {
  std::int64_t batch = 0, in_features = 0, out_features = 0;
};

/// Whether a GPU with the tensor cores for it rounds float operands to 11 significant bits.
constexpr bool rounds_floats(masthead::Precision precision) {
  return precision == masthead::Precision::tf32 || precision == masthead::Precision::fp16_scaled;
}

/// One head and one batch for it, as float32 in host memory; matrices are row-major.
struct Problem {
  Shape shape;
  std::vector<float> x;                                             // (batch, in_features)
  std::vector<float> weight;                                        // (out_features, in_features)
  std::vector<float> bias, gamma, beta, running_mean, running_var;  // (out_features)
  std::vector<float> scale;                                         // (1) or (out_features)
  double epsilon = 1e-5;
};

/// The trained head of train.py, the digits, and what PyTorch computed for them in float64.
struct Digits {
  Problem problem;
  std::vector<std::uint8_t> labels;   // (batch)
  std::vector<double> probabilities;  // (batch, out_features), eval mode
  std::int64_t train_rows = 0;        // the head was trained on so many of the first rows
};

/// Reads digits.safetensors, head.safetensors and expected.safetensors of `folder`. Throws std::runtime_error
/// with the file's name where one is absent, damaged or does not fit the others.
Digits read_digits(const std::filesystem::path& folder);

/// A reproducible problem with everything random that a test must not let pass by luck: x ~ U[0, 1); weight
/// and bias ~ U(-1, 1) / sqrt(in_features), as nn.Linear; gamma ~ U(-2, 2), so some are negative; beta and
/// running_mean ~ U(-0.5, 0.5); running_var ~ U(0.02, 0.06), about what such a linear layer's outputs have;
/// one scale of 0.5 to 1.5. x and the weight are rounded to the operands' dtype of `precision`, so that they
/// reach the head exactly.
Problem generate(Shape shape, masthead::Precision precision, std::uint64_t seed);

/// The values as elements of another type, rounded to nearest even.
template <class T>
std::vector<T> to_elements(const std::vector<float>& values) {
  std::vector<T> elements(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) elements[i] = masthead::round_to<T>(values[i]);
  return elements;
}

}  // namespace model_head

#pragma once
/// Operands as an fp8 head sees them.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "masthead/numeric/split.hpp"
#include "reference.hpp"

namespace test {

/// A matrix in e4m3 with a power of two a row.
struct QuantizedRows {
  std::vector<masthead::E4M3> codes;
  std::vector<double> scale;   // (rows)
  std::vector<double> values;  // what codes and scale stand for
};

inline QuantizedRows quantized_rows(const std::vector<double>& values, std::int64_t columns) {
  QuantizedRows q;
  for (std::size_t row = 0; row < values.size(); row += at(columns)) {
    std::uint32_t largest = 0;
    for (std::size_t i = row; i < row + at(columns); ++i) {
      largest = std::max(largest, masthead::detail::finite_magnitude(static_cast<float>(values[i])));
    }
    const int exponent = masthead::detail::row_exponent(masthead::MathMode::e4m3, largest);
    q.scale.push_back(std::ldexp(1.0, exponent));
    for (std::size_t i = row; i < row + at(columns); ++i) {
      q.codes.push_back(
          masthead::round_to<masthead::E4M3>(static_cast<float>(std::ldexp(values[i], -exponent))));
      q.values.push_back(std::ldexp(masthead::widen(q.codes.back()), exponent));
    }
  }
  return q;
}

}  // namespace test

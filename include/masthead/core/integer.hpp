#pragma once
/// Sizes: quotients rounded up, and products that may not fit.

#include <cstdint>
#include <optional>

#include "masthead/core/config.hpp"

namespace masthead::inline v0::detail {

/// a / b rounded up, for a >= 0 and b > 0.
MASTHEAD_HOST_DEVICE constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

/// a * b * c, or nothing when it does not fit (all factors are sizes, so not negative).
constexpr std::optional<std::int64_t> checked_product(std::int64_t a, std::int64_t b, std::int64_t c = 1) {
  std::int64_t ab = 0, abc = 0;
  if (__builtin_mul_overflow(a, b, &ab) || __builtin_mul_overflow(ab, c, &abc)) return std::nullopt;
  return abc;
}

}  // namespace masthead::inline v0::detail

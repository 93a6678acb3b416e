#pragma once
/// How a batch is split for column statistics.

#include <cstdint>

#include "masthead/core/integer.hpp"

namespace masthead::inline v0::detail {

/// The number of splits of a batch: about 128 rows each, at most 512 of them.
constexpr int column_statistics_splits(std::int64_t batch) {
  const std::int64_t splits = ceil_div(batch, 128);
  return static_cast<int>(splits < 512 ? splits : 512);
}

}  // namespace masthead::inline v0::detail

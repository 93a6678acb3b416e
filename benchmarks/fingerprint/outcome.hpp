#pragma once
/// What came of a case.

#include <cstdint>
#include <optional>
#include <string>

namespace benchmark {

struct Outcome {
  std::optional<std::uint64_t> hash;  ///< none: the case was skipped or failed before there was one
  std::string skipped;                ///< why this GPU cannot take it
  std::string failure;                ///< what is wrong; the case may have a hash nevertheless
};

}  // namespace benchmark

#pragma once
/// Sizes on the command line, e.g. "1024x8192x8192".

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace benchmark {

/// Exactly `count` positive integers joined by 'x'. Throws std::invalid_argument for anything else.
inline std::vector<std::int64_t> parse_sizes(const std::string& text, std::size_t count) {
  std::vector<std::int64_t> sizes;
  std::size_t at = 0;
  while (at <= text.size()) {
    const std::size_t end = std::min(text.find('x', at), text.size());
    const std::string field = text.substr(at, end - at);
    const bool digits =
        !field.empty() && field.size() < 19 && field.find_first_not_of("0123456789") == std::string::npos;
    sizes.push_back(digits ? std::stoll(field) : 0);
    at = end + 1;
  }
  bool valid = sizes.size() == count;
  for (const std::int64_t size : sizes) valid = valid && size > 0;
  if (!valid) {
    throw std::invalid_argument("problem '" + text + "': must be " + std::to_string(count) +
                                " positive numbers joined by 'x'");
  }
  return sizes;
}

}  // namespace benchmark

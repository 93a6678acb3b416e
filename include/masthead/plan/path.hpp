#pragma once
/// The ways a forward pass goes.

#include <cstdint>
#include <ostream>
#include <string_view>

#include "masthead/core/config.hpp"

namespace masthead::inline v0 {

/// Which way a forward pass goes from x to y. Engines share paths; an engine's GEMM kernel has the tile end
/// that a path asks for.
enum class Path : std::uint8_t {
  logits,             ///< float logits in memory, then softmax
  training,           ///< float sums in memory and the moments of their columns, then softmax
  two_pass,           ///< quantized logits in y and softmax partials, then normalized in place
  overlapped,         ///< two-pass, with rows that are complete normalized under the mainloop of later tiles
  resident,           ///< one kernel: all tiles wait on chip for the row statistics, y is stored once
  resident_training,  ///< one kernel: all sums wait on chip for the moments of the batch, then for row
                      ///< statistics
  two_pass_training,  ///< sums in memory, then the bits of resident_training, for parts of a device
  one_cluster,        ///< one kernel: the row statistics cross one cluster, y is stored once
  row_blocks,         ///< float logits in memory, then a block per row with the bits of the two-pass path
};

namespace detail {
inline constexpr int path_count = 9;
}

constexpr std::string_view name(Path path) {
  constexpr std::string_view names[detail::path_count] = {
      "logits",    "training",          "two_pass",          "overlapped",
      "resident",  "resident_training", "two_pass_training", "one_cluster",
      "row_blocks"};
  return names[static_cast<int>(path)];
}
inline std::ostream& operator<<(std::ostream& out, Path path) { return out << name(path); }

}  // namespace masthead::inline v0

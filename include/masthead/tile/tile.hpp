#pragma once
/// The unit of work of a thread block.

#include "masthead/config.hpp"

namespace masthead::inline v0 {

/// The outputs (m rows of x by n features) a thread block computes, and the slice of in_features (k) of a
/// stage.
struct Tile {
  int m, n, k;
  friend constexpr bool operator==(const Tile&, const Tile&) = default;
};

}  // namespace masthead::inline v0

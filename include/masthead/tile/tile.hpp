#pragma once
/// Tiles: what a thread block computes.

#include "masthead/core/config.hpp"

namespace masthead::inline v0::detail {

/// A position inside a tile.
struct Coordinate {
  int row;
  int column;
};

}  // namespace masthead::inline v0::detail

namespace masthead::inline v0 {

/// The tile of a thread block: the outputs it computes (m rows of x by n features), and the slice of
/// in_features (k) of a stage.
struct Tile {
  int m, n, k;
  friend constexpr bool operator==(const Tile&, const Tile&) = default;
};

}  // namespace masthead::inline v0

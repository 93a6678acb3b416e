#pragma once
/// The order in which a grid walks the tiles of an output matrix.

#include <cstdint>

#include "masthead/config.hpp"

namespace masthead::inline v0 {

/// A tile's place in the grid of tiles.
struct TileIndex {
  std::int64_t m;
  std::int64_t n;
};

/// Walks `group_m` tiles down a column before moving to the next column, so that tiles that run at the same
/// time share their rows of W (each then read once from memory) and at most `group_m` row blocks of x (kept
/// in L2). Affects speed only, never bits.
struct Raster {
  std::int64_t tiles_m, tiles_n;
  int group_m = 8;

  MASTHEAD_HOST_DEVICE constexpr std::int64_t size() const { return tiles_m * tiles_n; }

  MASTHEAD_HOST_DEVICE constexpr TileIndex operator[](std::int64_t index) const {
    const std::int64_t group_size = group_m * tiles_n;
    const std::int64_t first_m = index / group_size * group_m;
    const std::int64_t rows = tiles_m - first_m < group_m ? tiles_m - first_m : group_m;
    const std::int64_t within = index % group_size;
    return {first_m + within % rows, within / rows};
  }
};

MASTHEAD_HOST_DEVICE constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

}  // namespace masthead::inline v0

#pragma once
/// The order in which a grid walks the tiles of an output matrix.

#include <cstdint>

#include "masthead/core/config.hpp"

namespace masthead::inline v0::detail {

/// A tile's place in the grid of tiles.
struct TileIndex {
  std::int64_t m;
  std::int64_t n;
};

/// A raster that walks `m_blocks` tiles down a column before moving to the next column, so that tiles that
/// run at the same time share their rows of W (each then read once from memory) and at most `m_blocks`
/// m-blocks of x (which stay in L2). Affects speed only, never bits.
struct Raster {
  std::int64_t tiles_m, tiles_n;
  int m_blocks = 8;

  MASTHEAD_HOST_DEVICE constexpr std::int64_t size() const { return tiles_m * tiles_n; }

  MASTHEAD_HOST_DEVICE constexpr TileIndex operator[](std::int64_t index) const {
    const std::int64_t band_size = m_blocks * tiles_n;
    const std::int64_t first_m = index / band_size * m_blocks;
    const std::int64_t rows = tiles_m - first_m < m_blocks ? tiles_m - first_m : m_blocks;
    const std::int64_t within = index % band_size;
    return {first_m + within % rows, within / rows};
  }
};

}  // namespace masthead::inline v0::detail

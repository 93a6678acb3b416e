#include <doctest/doctest.h>

#include <set>
#include <utility>
#include <vector>

#include "masthead/core/integer.hpp"
#include "masthead/policy/simt.hpp"
#include "masthead/tile/raster.hpp"
#include "masthead/tile/simt_fragment.hpp"

using namespace masthead;
using namespace masthead::detail;

TEST_SUITE("host simt layout") {
  /// Splits worth testing: every shipped policy's and some odd ones.
  std::vector<std::pair<Tile, int>> tiles() {
    return {{{128, 128, 16}, 256}, {{64, 128, 8}, 256}, {{32, 64, 16}, 128}, {{4, 8, 8}, 32},
            {{64, 64, 32}, 128},   {{12, 40, 8}, 32},   {{128, 32, 16}, 64}, {{256, 128, 8}, 512}};
  }

  TEST_CASE("SimtFragment covers every output of a tile exactly once") {
    for (const auto& [tile, threads] : tiles()) {
      CAPTURE(tile.m);
      CAPTURE(tile.n);
      const SimtFragment fragment = SimtFragment::of(tile.m, tile.n, threads / 32);
      REQUIRE(fragment.warps_m * fragment.warps_n == threads / 32);
      std::vector<int> covered(static_cast<std::size_t>(tile.m * tile.n), 0);
      bool inside = true;
      for (int thread = 0; thread < threads; ++thread) {
        for (int i = 0; i < fragment.thread_m; ++i) {
          for (int j = 0; j < fragment.thread_n; ++j) {
            const Coordinate c = fragment.at(thread, i, j);
            inside = inside && c.row >= 0 && c.row < tile.m && c.column >= 0 && c.column < tile.n;
            if (inside) ++covered[static_cast<std::size_t>(c.row * tile.n + c.column)];
          }
        }
      }
      CHECK(inside);
      CHECK(covered == std::vector<int>(covered.size(), 1));
    }
  }

  TEST_CASE("SimtFragment::of is empty when the tile does not split over the warps") {
    CHECK(SimtFragment::of(6, 8, 1) == SimtFragment{});
    CHECK(SimtFragment::of(4, 12, 1) == SimtFragment{});
    CHECK(SimtFragment::of(4, 8, 2) == SimtFragment{});
    CHECK(SimtFragment::of(8, 8, 2) == SimtFragment{2, 1, 1, 1});
  }

  TEST_CASE("SimtFragment::of takes the squarest thread tile") {
    CHECK(SimtFragment::of(128, 128, 8) == SimtFragment{4, 2, 8, 8});
    const SimtFragment small = SimtFragment::of(32, 64, 4);
    CHECK(small.thread_m * small.thread_n == 16);
    CHECK(small.thread_m + small.thread_n == 8);
  }

  /// How many passes shared memory needs for one read of `bytes` by each lane at `address(lane)`: 16-byte
  /// reads are served a quarter-warp at a time, 8-byte reads a half-warp, and in a pass each of the 32 banks
  /// of 4 bytes gives one word, to any number of lanes.
  template <class Address>
  int most_words_a_bank(int bytes, const Address& address) {
    const int lanes_together = 128 / bytes;
    int most = 0;
    for (int first = 0; first < 32; first += lanes_together) {
      std::set<int> words;
      for (int lane = first; lane < first + lanes_together; ++lane) {
        for (int word = 0; word < bytes / 4; ++word) words.insert(address(lane) / 4 + word);
      }
      int words_of_bank[32] = {};
      for (const int word : words) most = std::max(most, ++words_of_bank[word % 32]);
    }
    return most;
  }

  TEST_CASE("operand reads are free of bank conflicts in padded rows") {
    for (const int row_bytes : {32, 64, 96, 128, 256}) {
      CAPTURE(row_bytes);
      const int pitch = simt_row_pitch_bytes(row_bytes);
      const SimtFragment fragment = SimtFragment::of(128, 128, 8);
      for (const int bytes : {16, 8}) {
        for (int k = 0; k < row_bytes; k += bytes) {
          for (const int warp : {0, 5}) {
            const auto row = [&](int lane) { return fragment.at(warp * 32 + lane, 1, 2).row * pitch + k; };
            const auto column = [&](int lane) {
              return fragment.at(warp * 32 + lane, 1, 2).column * pitch + k;
            };
            CHECK(most_words_a_bank(bytes, row) == 1);
            CHECK(most_words_a_bank(bytes, column) == 1);
          }
        }
      }
    }
  }

  TEST_CASE("the bank-conflict count sees the conflicts of unpadded rows") {
    const SimtFragment fragment = SimtFragment::of(128, 128, 8);
    CHECK(most_words_a_bank(16, [&](int lane) { return fragment.at(lane, 0, 0).column * 128; }) > 1);
    CHECK(most_words_a_bank(16, [&](int lane) { return fragment.at(lane, 0, 0).column * 64; }) > 1);
  }

  TEST_CASE("Raster visits every tile once, ragged last m-blocks included") {
    for (const std::int64_t tiles_m : {1, 2, 7, 8, 9, 16, 19}) {
      for (const std::int64_t tiles_n : {1, 2, 5, 32}) {
        for (const int m_blocks : {1, 3, 8}) {
          CAPTURE(tiles_m);
          CAPTURE(tiles_n);
          CAPTURE(m_blocks);
          const Raster raster{tiles_m, tiles_n, m_blocks};
          REQUIRE(raster.size() == tiles_m * tiles_n);
          std::set<std::pair<std::int64_t, std::int64_t>> seen;
          for (std::int64_t i = 0; i < raster.size(); ++i) {
            const TileIndex tile = raster[i];
            CHECK((tile.m >= 0 && tile.m < tiles_m && tile.n >= 0 && tile.n < tiles_n));
            seen.insert({tile.m, tile.n});
          }
          CHECK(static_cast<std::int64_t>(seen.size()) == raster.size());
        }
      }
    }
  }

  TEST_CASE("Raster walks a band of m-blocks before the next column") {
    constexpr Raster raster{5, 3, 2};
    static_assert(raster[0].m == 0 && raster[1].m == 1 && raster[1].n == 0 && raster[2].n == 1);
    static_assert(raster[6].m == 2 && raster[12].m == 4 && raster[13].m == 4 && raster[13].n == 1);
    CHECK(raster[14].n == 2);
  }

  TEST_CASE("Raster does not overflow 32 bits") {
    const Raster raster{std::int64_t{1} << 33, 3, 8};
    CHECK(raster.size() == std::int64_t{3} << 33);
    const TileIndex last = raster[raster.size() - 1];
    CHECK(last.m == (std::int64_t{1} << 33) - 1);
    CHECK(last.n == 2);
  }

  TEST_CASE("ceil_div") {
    static_assert(ceil_div(0, 4) == 0 && ceil_div(1, 4) == 1 && ceil_div(4, 4) == 1 && ceil_div(5, 4) == 2);
    CHECK(ceil_div((std::int64_t{1} << 40) + 1, 2) == (std::int64_t{1} << 39) + 1);
  }
}

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include "masthead/numeric/logit_code.hpp"
#include "masthead/tile/cluster_schedule.hpp"
#include "masthead/tile/sm90_layout.hpp"

using namespace masthead;

TEST_SUITE("host sm90 layout") {
  TEST_CASE("a panel gives every value a place of its own, free of bank conflicts for stmatrix") {
    for (const int columns : {128, 256}) {
      CAPTURE(columns);
      std::set<int> places;
      for (int row = 0; row < WgmmaFragment::warp_rows; ++row) {
        for (int column = 0; column < columns; ++column) places.insert(WarpPanel::offset(row, column));
      }
      CHECK(static_cast<int>(places.size()) == WgmmaFragment::warp_rows * columns);
      CHECK(*places.begin() == 0);
      CHECK(*places.rbegin() == WarpPanel::bytes(columns) - 2);
      for (int j = 0; j < columns / 8; j += 2) {
        for (int matrix = 0; matrix < 4; ++matrix) {
          std::set<int> units;
          for (int row = 0; row < 8; ++row) {
            units.insert(WarpPanel::stmatrix_offset(8 * matrix + row, j) / 16 % 8);
          }
          CHECK(units.size() == 8);
        }
      }
    }
  }

  TEST_CASE("stmatrix puts each accumulator where the panel wants it, at one xor from the lane's base") {
    for (int j = 0; j < 256 / 8; j += 2) {
      for (int i = 0; i < 4; ++i) {
        for (int lane = 0; lane < 32; ++lane) {
          // Row lane / 4 of matrix i, its columns 2 (lane % 4) and the next.
          const Coordinate at = WgmmaFragment::at(lane, j + i / 2, i % 2, 0);
          const int supplier = 8 * i + lane / 4;
          const int address = WarpPanel::stmatrix_offset(supplier, j);
          REQUIRE(address + 4 * (lane % 4) == WarpPanel::offset(at.row, at.column));
          REQUIRE(address ==
                  (WarpPanel::stmatrix_offset(supplier, 0) ^ (16 * (j % 8))) + j / 8 * WarpPanel::box_bytes);
        }
      }
    }
  }

  TEST_CASE("schedules give every tile to one cluster, a resident cluster's tiles in one row group") {
    struct Case {
      std::int64_t batch, out_features;
      int clusters;
      bool fits;
    };
    for (const Case& c :
         {Case{1024, 8192, 66, true}, Case{1024, 8192, 57, false}, Case{1000, 8200, 66, false},
          Case{129, 257, 66, true}, Case{1, 10, 66, true}, Case{16384, 8192, 39, false},
          Case{1024, 128256, 66, false}, Case{4096, 512, 66, true}}) {
      const ClusterGrid grid = ClusterGrid::of(c.batch, c.out_features, 128, 256, 2);
      CAPTURE(c.batch);
      CAPTURE(c.out_features);
      CAPTURE(c.clusters);
      std::set<std::pair<int, int>> seen;
      int total = 0;
      const auto take = [&](const ClusterTile& tile) {
        REQUIRE(tile.m < grid.groups_m);
        REQUIRE(tile.n < grid.tiles_n);
        seen.insert({tile.m, tile.n});
        ++total;
      };
      ClusterTile tile{};
      const PersistentSchedule persistent{grid, c.clusters};
      for (int cluster = 0; cluster < c.clusters; ++cluster) {
        for (int turn = 0; persistent.get(cluster, turn, tile); ++turn) take(tile);
      }
      CHECK(total == grid.size());
      CHECK(static_cast<int>(seen.size()) == grid.size());

      const ResidentSchedule resident = ResidentSchedule::of(grid, c.clusters, 2);
      CHECK((resident.columns != 0) == c.fits);
      if (!c.fits) continue;
      CHECK(resident.clusters() <= c.clusters);
      seen.clear(), total = 0;
      for (int cluster = 0; cluster < resident.clusters(); ++cluster) {
        int turn = 0, row_group = -1;
        for (; resident.get(cluster, turn, tile); ++turn) {
          take(tile);
          CHECK((turn == 0 || tile.m == row_group));
          row_group = tile.m;
        }
        CHECK(turn >= 1);
        CHECK(turn <= 2);
      }
      CHECK(total == grid.size());
      CHECK(static_cast<int>(seen.size()) == grid.size());
    }
  }

  template <Dtype out>
  float decoded(float distance) {
    const float coded = LogitCode<out>::encode(distance);
    return -LogitCode<out>::log2_of(logit_code_from_bits(logit_code_bits(coded)), 0.0f);
  }

  TEST_CASE("codes keep a distance to half a quantum, saturate, and vanish beyond the output's range") {
    for (int i = 0; i < 200000; ++i) {
      const float unit = static_cast<float>(i) / 200000.0f;
      REQUIRE(std::fabs(decoded<Dtype::bf16>(127 * unit) - 127 * unit) <= 0x1p-10f * 1.01f);
      REQUIRE(std::fabs(decoded<Dtype::f16>(15 * unit) - 15 * unit) <= 0x1p-13f * 1.01f);
      REQUIRE(std::fabs(decoded<Dtype::f16>(15 + 16 * unit) - (15 + 16 * unit)) <= 0x1p-8f);
    }
    for (const float far : {129.0f, 1e6f, 1e30f, std::numeric_limits<float>::infinity()}) {
      CAPTURE(far);
      CHECK(decoded<Dtype::bf16>(far) >= 127.9f);
      CHECK(decoded<Dtype::f16>(far) >= 30.9f);
      const std::uint32_t bits = logit_code_bits(LogitCode<Dtype::bf16>::encode(far));
      CHECK(bits % 65536 == 65535);
      CHECK(exp2_flushed(LogitCode<Dtype::bf16>::log2_of(logit_code_from_bits(bits % 65536), 1.0f)) == 0.0f);
    }
  }
}

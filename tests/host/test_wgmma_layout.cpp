#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "masthead/numeric/quantized_logit.hpp"
#include "masthead/policy/wgmma.hpp"
#include "masthead/tile/cluster_schedule.hpp"
#include "masthead/tile/overlap_sections.hpp"
#include "masthead/tile/swap_ab_fragment.hpp"
#include "masthead/tile/wgmma_fragment.hpp"

using namespace masthead;
using namespace masthead::detail;

TEST_SUITE("host wgmma layout") {
  TEST_CASE("a staging tile gives every value a place of its own, free of bank conflicts for stmatrix") {
    for (const int columns : {128, 256}) {
      CAPTURE(columns);
      std::set<int> places;
      for (int row = 0; row < WgmmaFragment::warp_rows; ++row) {
        for (int column = 0; column < columns; ++column) places.insert(StagingTile::offset(row, column));
      }
      CHECK(static_cast<int>(places.size()) == WgmmaFragment::warp_rows * columns);
      CHECK(*places.begin() == 0);
      CHECK(*places.rbegin() == StagingTile::bytes(columns) - 2);
      for (int j = 0; j < columns / 8; j += 2) {
        for (int matrix = 0; matrix < 4; ++matrix) {
          std::set<int> units;
          for (int row = 0; row < 8; ++row) {
            units.insert(StagingTile::stmatrix_offset(8 * matrix + row, j) / 16 % 8);
          }
          CHECK(units.size() == 8);
        }
      }
    }
  }

  TEST_CASE(
      "three stages have room for half of the sums of a tile beside another's quantized logits, two have "
      "not") {
    constexpr Sm90Layout three{Dtype::bf16, {.m = 128, .n = 256, .k = 64}, 3, 2};
    constexpr Sm90Layout two{Dtype::bf16, {.m = 128, .n = 256, .k = 64}, 2, 2};
    CHECK(three.stashes_sums());
    CHECK_FALSE(two.stashes_sums());
  }

  TEST_CASE(
      "stmatrix puts each accumulator where the staging tile wants it, at one xor from the lane's base") {
    for (int j = 0; j < 256 / 8; j += 2) {
      for (int i = 0; i < 4; ++i) {
        for (int lane = 0; lane < 32; ++lane) {
          // Row lane / 4 of matrix i, its columns 2 (lane % 4) and the next.
          const Coordinate at = WgmmaFragment::at(lane, j + i / 2, i % 2, 0);
          const int supplier = 8 * i + lane / 4;
          const int address = StagingTile::stmatrix_offset(supplier, j);
          REQUIRE(address + 4 * (lane % 4) == StagingTile::offset(at.row, at.column));
          REQUIRE(address == (StagingTile::stmatrix_offset(supplier, 0) ^ (16 * (j % 8))) +
                                 j / 8 * StagingTile::box_bytes);
        }
      }
    }
  }

  TEST_CASE(
      "a staging tile of floats has a place for each element, and each pair of accumulators in one of 8 "
      "bytes") {
    for (const int columns : {128, 256}) {
      CAPTURE(columns);
      std::set<int> places;
      for (int lane = 0; lane < 32; ++lane) {
        for (int j = 0; j < columns / 8; ++j) {
          for (int half = 0; half < 2; ++half) {
            const Coordinate at = WgmmaFragment::at(lane, j, half, 0);
            const int offset = StagingTileF32::pair_offset(lane, j, half);
            REQUIRE(offset == StagingTileF32::offset(at.row, at.column));
            REQUIRE(offset + 4 == StagingTileF32::offset(at.row, at.column + 1));
            REQUIRE(offset % 8 == 0);
            places.insert(offset);
          }
        }
      }
      CHECK(static_cast<int>(places.size()) == WgmmaFragment::warp_rows * columns / 2);
      CHECK(*places.begin() == 0);
      CHECK(*places.rbegin() == StagingTileF32::bytes(columns) - 8);
    }
  }

  TEST_CASE("a swap-AB warp holds every output of its 16 features once, and reduces every row") {
    for (const int rows : {16, 32, 64, 128}) {
      CAPTURE(rows);
      const int held = rows / 4, owned = held < 8 ? 1 : held / 8;
      std::set<std::pair<int, int>> places;
      std::set<int> numbers, reduced;
      for (int lane = 0; lane < 32; ++lane) {
        for (int i = 0; i < held; ++i) {
          for (int half = 0; half < 2; ++half) {
            const Coordinate at = SwapAbFragment::at(lane, i, half);
            places.insert({at.row, at.column});
            numbers.insert(SwapAbFragment::slot(i, half));
          }
        }
        for (int i = 0; i < owned; ++i) {
          reduced.insert(SwapAbFragment::at(lane, SwapAbFragment::owned(lane, held) + i, 0).row);
        }
      }
      CHECK(static_cast<int>(places.size()) == rows * SwapAbFragment::warp_features);
      CHECK(static_cast<int>(numbers.size()) == rows / 2);
      CHECK(*numbers.rbegin() == rows / 2 - 1);
      CHECK(static_cast<int>(reduced.size()) == rows);
    }
  }

  /// The sum of 64 columns as the wgmma engine takes it (epilogue/fragment_softmax.cuh): pairs, blocks of 8
  /// columns as a tree, the quad.
  float sum_by_fragment(const std::vector<float>& v) {
    float lane_sum[4];
    for (int lane = 0; lane < 4; ++lane) {
      float blocks[8];
      for (int j = 0; j < 8; ++j) {
        const auto value = [&](int pair) {
          return v[static_cast<std::size_t>(WgmmaFragment::at(lane, j, 0, pair).column)];
        };
        blocks[j] = value(0) + value(1);
      }
      for (int distance = 1; distance < 8; distance *= 2) {
        for (int j = 0; j < 8; j += 2 * distance) blocks[j] += blocks[j + distance];
      }
      lane_sum[lane] = blocks[0];
    }
    return (lane_sum[0] + lane_sum[1]) + (lane_sum[2] + lane_sum[3]);
  }

  /// The sum of 64 columns as the swap-AB engine takes it (epilogue/swap_ab_quantized.cuh): lanes xor 4,
  /// halves, warps, then the other lane bits.
  float sum_by_swap_ab_fragment(const std::vector<float>& v) {
    float parts[4][4];  // warp, bits 1 and 2 of the column
    for (int warp = 0; warp < 4; ++warp) {
      for (int bits = 0; bits < 4; ++bits) {
        float halves[2];
        for (int half = 0; half < 2; ++half) {
          const auto value = [&](int lane) {
            return v[static_cast<std::size_t>(16 * warp + SwapAbFragment::at(lane, 0, half).column)];
          };
          halves[half] = value(8 * bits) + value(8 * bits ^ 4);
        }
        parts[warp][bits] = halves[0] + halves[1];
      }
    }
    float over_warps[4];
    for (int bits = 0; bits < 4; ++bits) {
      over_warps[bits] = (parts[0][bits] + parts[1][bits]) + (parts[2][bits] + parts[3][bits]);
    }
    return (over_warps[0] + over_warps[1]) + (over_warps[2] + over_warps[3]);
  }

  TEST_CASE("both wgmma engines sum 64 columns in the same order") {
    std::mt19937 random(7);
    std::uniform_real_distribution<float> exponent(-30, 0);
    int other_orders = 0;
    for (int trial = 0; trial < 2000; ++trial) {
      std::vector<float> v(64);
      for (float& value : v) value = std::exp2(exponent(random));
      const float sum = sum_by_fragment(v);
      REQUIRE(sum_by_swap_ab_fragment(v) == sum);
      float ascending = 0;
      for (const float value : v) ascending += value;
      other_orders += ascending != sum;
    }
    CHECK(other_orders > 100);
  }

  TEST_CASE("schedules give every tile to one cluster, a resident cluster's tiles in one m-block") {
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
        REQUIRE(tile.m < grid.m_blocks);
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
        int turn = 0, m_block = -1;
        for (; resident.get(cluster, turn, tile); ++turn) {
          take(tile);
          CHECK((turn == 0 || tile.m == m_block));
          m_block = tile.m;
        }
        CHECK(turn >= 1);
        CHECK(turn <= 2);
      }
      CHECK(total == grid.size());
      CHECK(static_cast<int>(seen.size()) == grid.size());
    }
  }

  TEST_CASE(
      "overlap sections are complete before the last tiles, and the rest of the rows is what they say") {
    struct Case {
      std::int64_t batch, out_features;
      int clusters, raster_m_blocks, turns;
    };
    for (const Case& c :
         {Case{4096, 8192, 66, 8, 1}, Case{16384, 8192, 66, 8, 1}, Case{1024, 128256, 66, 8, 7},
          Case{1024, 128256, 66, 8, 100}, Case{1000, 8200, 66, 8, 1}, Case{129, 257, 66, 8, 1},
          Case{100000, 1024, 57, 4, 2}, Case{2305, 5000, 7, 8, 1}, Case{600, 2000, 3, 1, 1}}) {
      CAPTURE(c.batch);
      CAPTURE(c.out_features);
      CAPTURE(c.raster_m_blocks);
      PersistentSchedule schedule{ClusterGrid::of(c.batch, c.out_features, 128, 256, 2), c.clusters,
                                  c.raster_m_blocks};
      schedule.split_last_band(c.turns);
      CHECK(schedule.split_columns <= schedule.grid.tiles_n);
      const OverlapSections overlap = OverlapSections::of(schedule, 128, 2);
      REQUIRE(overlap.count() <= OverlapSections::most);
      REQUIRE(overlap.rows() < c.batch);
      if (overlap.count() == 0) continue;
      CHECK(overlap.first_row(0) == 0);
      CHECK(overlap.first_row(overlap.count() - 1) + overlap.rows_in(overlap.count() - 1) == overlap.rows());
      // In the order of the raster: whose tile comes last, and how many there are.
      std::vector<int> last(static_cast<std::size_t>(overlap.count()), -1);
      std::vector<unsigned> blocks(static_cast<std::size_t>(overlap.count()), 0);
      std::set<std::pair<int, int>> seen;
      for (int index = 0; index < schedule.grid.size(); ++index) {
        ClusterTile tile{};
        REQUIRE(schedule.get(index % c.clusters, index / c.clusters, tile));
        REQUIRE(schedule.has(index % c.clusters, index / c.clusters));
        seen.insert({tile.m, tile.n});
        const int section = overlap.of(tile.m);
        CHECK((section < overlap.count()) == (tile.m * 256 < overlap.rows()));
        if (section >= overlap.count()) continue;
        last[static_cast<std::size_t>(section)] = index;
        blocks[static_cast<std::size_t>(section)] += 2;
      }
      CHECK(static_cast<int>(seen.size()) == schedule.grid.size());
      CHECK_FALSE(schedule.has(c.clusters - 1, static_cast<int>(ceil_div(schedule.grid.size(), c.clusters))));
      for (int s = 0; s < overlap.count(); ++s) {
        CHECK(blocks[static_cast<std::size_t>(s)] == overlap.blocks_in(s));
        CHECK(last[static_cast<std::size_t>(s)] < schedule.grid.size() - 1);
        if (s > 0) CHECK(last[static_cast<std::size_t>(s - 1)] < last[static_cast<std::size_t>(s)]);
      }
      // What is left when the last section is complete covers the turns asked for, unless all columns are
      // split.
      if (schedule.split_columns > 0 && schedule.split_columns < schedule.grid.tiles_n) {
        CHECK(schedule.grid.size() - 1 - last.back() >= (c.turns - 1) * c.clusters);
      }
    }
  }

  TEST_CASE("tasks of normalizing cover a row once, in blocks that start with a part") {
    for (const std::int64_t columns : {1, 511, 512, 513, 8191, 8192, 8193, 8200, 16384, 128256, 1000000}) {
      const NormalizeTasks tasks = NormalizeTasks::of(columns, 8192);
      CAPTURE(columns);
      CHECK(tasks.columns % 512 == 0);
      CHECK(tasks.columns <= 8192);
      CHECK(std::int64_t{tasks.blocks} * tasks.columns >= columns);
      CHECK((tasks.blocks - 1) * std::int64_t{tasks.columns} < columns);
      CHECK(tasks.whole_rows == (columns > 32768));
      for (const bool whole_rows : {false, true}) {
        const NormalizeTasks claimed{tasks.blocks, tasks.columns, whole_rows};
        constexpr int rows = 7;
        std::set<std::pair<int, int>> seen;
        for (int task = 0; task < rows * claimed.blocks; ++task) {
          const auto [row, block] = claimed.at(task, rows);
          CHECK(row < rows);
          CHECK(block < claimed.blocks);
          if (whole_rows) CHECK(row == task / claimed.tasks_per_claim());
          seen.insert({row, block});
        }
        CHECK(static_cast<int>(seen.size()) == rows * claimed.blocks);
      }
    }
  }

  template <Dtype out>
  float dequantized(float distance) {
    const float quantized = QuantizedLogit<out>::encode(distance);
    return 1 - QuantizedLogit<out>::log2_of(quantized_logit_from_bits(quantized_logit_bits(quantized)));
  }

  TEST_CASE(
      "quantized logits keep a distance to half a quantum, saturate, and vanish beyond the output's range") {
    for (int i = 0; i < 200000; ++i) {
      const float unit = static_cast<float>(i) / 200000.0f;
      REQUIRE(std::fabs(dequantized<Dtype::bf16>(127 * unit) - 127 * unit) <= 0x1p-10f * 1.01f);
      REQUIRE(std::fabs(dequantized<Dtype::f16>(15 * unit) - 15 * unit) <= 0x1p-13f * 1.01f);
      REQUIRE(std::fabs(dequantized<Dtype::f16>(15 + 16 * unit) - (15 + 16 * unit)) <= 0x1p-8f);
    }
    // A probability may be twice its exponential, 2^-distance: these count.
    for (const float distance : {125.0f, 126.0f, 126.5f, 126.99f}) {
      CHECK(quantized_exponential<Dtype::bf16>(QuantizedLogit<Dtype::bf16>::encode(distance)) >= 0x1p-126f);
    }
    for (const float far : {129.0f, 1e6f, 1e30f, std::numeric_limits<float>::infinity()}) {
      CAPTURE(far);
      CHECK(dequantized<Dtype::bf16>(far) >= 127.9f);
      CHECK(dequantized<Dtype::f16>(far) >= 30.9f);
      const std::uint32_t bits = quantized_logit_bits(QuantizedLogit<Dtype::bf16>::encode(far));
      CHECK(bits % 65536 == 65535);
      // What the quantized logit and the distance before it was saturated come to: factors are at most 1, and
      // half has nothing below 2^-25.
      for (const float quantized :
           {quantized_logit_from_bits(65535), QuantizedLogit<Dtype::bf16>::encode(far)}) {
        CHECK(quantized_exponential<Dtype::bf16>(quantized) == 0.0f);
      }
      for (const float quantized :
           {quantized_logit_from_bits(65535), QuantizedLogit<Dtype::f16>::encode(far)}) {
        CHECK(quantized_exponential<Dtype::f16>(quantized) < 0x1p-25f);
      }
    }
  }
}

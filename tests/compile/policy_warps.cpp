// expect: masthead::Policy: the tile must split over the warps: warps_m * warps_n = block_threads / 32 with
//   tile.m a multiple of 4 * warps_m and tile.n a multiple of 8 * warps_n
#include "masthead/policy/policy.hpp"

using namespace masthead;

constexpr PolicySpec spec = Policy<Dtype::f32, Tile{.m = 8, .n = 8, .k = 128}, 256>::spec;

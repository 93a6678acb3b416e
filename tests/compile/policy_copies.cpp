// expect: masthead::Policy: tile.m and tile.n must be multiples of the rows one pass of 16-byte copies
//   covers, block_threads / (tile.k bytes / 16)
#include "masthead/policy/policy.hpp"

using namespace masthead;

constexpr PolicySpec spec = Policy<Dtype::f32, Tile{.m = 32, .n = 128, .k = 16}, 256>::spec;

// expect: masthead::Policy: tile.k must span a multiple of 32 bytes, so that padded rows of shared memory
//   are free of bank conflicts
#include "masthead/policy/policy.hpp"

using namespace masthead;

constexpr PolicySpec spec = Policy<Dtype::f32, Tile{.m = 128, .n = 128, .k = 4}, 128>::spec;

// expect: masthead::Policy: tile.m, tile.n and tile.k must be positive
#include "masthead/policy/policy.hpp"

using namespace masthead;

constexpr PolicySpec spec = Policy<Dtype::f32, Tile{.m = 0, .n = 128, .k = 16}, 256>::spec;

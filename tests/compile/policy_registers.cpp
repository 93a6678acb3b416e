// expect: masthead::Policy: a thread's accumulators, tile.m * tile.n / block_threads, must fit in 128
//   registers
#include "masthead/policy/policy.hpp"

using namespace masthead;

constexpr PolicySpec spec = Policy<Dtype::f32, Tile{.m = 256, .n = 256, .k = 16}, 256>::spec;

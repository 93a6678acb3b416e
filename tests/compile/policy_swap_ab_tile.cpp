// expect: masthead::Policy: tile.m must be 16, 32, 64 or 128 and tile.n 64 or 128 with Engine::wgmma_swap_ab
#include "masthead/policy/policy.hpp"

using namespace masthead;

constexpr PolicySpec spec =
    Policy<Dtype::bf16, Tile{.m = 32, .n = 256, .k = 64}, 544, 4, Engine::wgmma_swap_ab>::spec;

// expect: masthead::Policy: tile.m must be 64 or 128 with Engine::wgmma, one or two consumer warpgroups
#include "masthead/policy/policy.hpp"

using namespace masthead;

constexpr PolicySpec spec =
    Policy<Dtype::bf16, Tile{.m = 192, .n = 128, .k = 64}, 512, 3, Engine::wgmma>::spec;

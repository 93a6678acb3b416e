// expect: masthead::Policy: tile.n must be 128 or 256 with Engine::wgmma
#include "masthead/policy/policy.hpp"

using namespace masthead;

constexpr PolicySpec spec =
    Policy<Dtype::bf16, Tile{.m = 128, .n = 192, .k = 64}, 384, 3, Engine::wgmma>::spec;

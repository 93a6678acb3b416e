// expect: masthead::Policy: tile.k must span 128 bytes with Engine::wgmma, one row of the 128-byte swizzle
#include "masthead/policy/policy.hpp"

using namespace masthead;

constexpr PolicySpec spec =
    Policy<Dtype::bf16, Tile{.m = 128, .n = 128, .k = 32}, 384, 3, Engine::wgmma>::spec;

// expect: masthead::Policy: tile.k must span 128, 256 or 512 bytes with Engine::wgmma_swap_ab, rows of the
//   128-byte swizzle
#include "masthead/policy/policy.hpp"

using namespace masthead;

constexpr PolicySpec spec =
    Policy<Dtype::bf16, Tile{.m = 32, .n = 64, .k = 192}, 160, 4, Engine::wgmma_swap_ab>::spec;

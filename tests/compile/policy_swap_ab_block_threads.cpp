// expect: masthead::Policy: block_threads must be 2 * tile.n + 32 with Engine::wgmma_swap_ab, a producer warp
//   beside the consumers
#include "masthead/policy/policy.hpp"

using namespace masthead;

constexpr PolicySpec spec =
    Policy<Dtype::bf16, Tile{.m = 32, .n = 64, .k = 64}, 128, 4, Engine::wgmma_swap_ab>::spec;

// expect: masthead::Policy: block_threads must be 2 * tile.n + 32 with wgmma_transposed, a producer warp beside
//   the consumers
#include "masthead/policy.hpp"

using namespace masthead;

constexpr PolicySpec spec =
    Policy<Dtype::bf16, Tile{.m = 32, .n = 64, .k = 64}, 128, 4, Engine::wgmma_transposed>::spec;

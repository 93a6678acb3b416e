// expect: masthead::Policy: block_threads must be 128 + 2 * tile.m with Engine::wgmma, a producer warpgroup
//   beside the consumers
#include "masthead/policy/policy.hpp"

using namespace masthead;

constexpr PolicySpec spec =
    Policy<Dtype::bf16, Tile{.m = 128, .n = 256, .k = 64}, 256, 3, Engine::wgmma>::spec;

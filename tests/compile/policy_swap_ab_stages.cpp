// expect: masthead::Policy: stages must be between 2 and 24 with Engine::wgmma_swap_ab
#include "masthead/policy/policy.hpp"

using namespace masthead;

constexpr PolicySpec spec =
    Policy<Dtype::bf16, Tile{.m = 32, .n = 64, .k = 64}, 160, 1, Engine::wgmma_swap_ab>::spec;

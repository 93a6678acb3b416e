// expect: masthead::Policy: cluster_m must be 1 with Engine::wgmma_swap_ab
#include "masthead/policy/policy.hpp"

using namespace masthead;

constexpr PolicySpec spec =
    Policy<Dtype::bf16, Tile{.m = 32, .n = 64, .k = 64}, 160, 8, Engine::wgmma_swap_ab, 2>::spec;

// The positive control of the policy_swap_ab_*.cpp sources beside it: the same few lines with a policy that
// holds.
#include "masthead/policy/policy.hpp"

using namespace masthead;

constexpr PolicySpec spec =
    Policy<Dtype::bf16, Tile{.m = 32, .n = 64, .k = 64}, 160, 16, Engine::wgmma_swap_ab>::spec;

// The positive control of the policy_wgmma_*.cpp sources beside it: the same few lines with a policy that
// holds.
#include "masthead/policy/policy.hpp"

using namespace masthead;

constexpr PolicySpec spec =
    Policy<Dtype::bf16, Tile{.m = 128, .n = 256, .k = 64}, 384, 3, Engine::wgmma>::spec;

// expect: masthead::Policy: cluster_m must be 1, 2 or 4 with Engine::wgmma
#include "masthead/policy/policy.hpp"

using namespace masthead;

constexpr PolicySpec spec =
    Policy<Dtype::bf16, Tile{.m = 128, .n = 256, .k = 64}, 384, 3, Engine::wgmma, 3>::spec;

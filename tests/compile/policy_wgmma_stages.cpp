// expect: masthead::Policy: stages must be between 2 and 8 with Engine::wgmma
#include "masthead/policy/policy.hpp"

using namespace masthead;

constexpr PolicySpec spec =
    Policy<Dtype::bf16, Tile{.m = 128, .n = 256, .k = 64}, 384, 1, Engine::wgmma>::spec;

// expect: masthead::Policy: Engine::wgmma_swap_ab multiplies bf16 and f16 in MathMode::plain and f32 in tf32
#include "masthead/policy/policy.hpp"

using namespace masthead;

constexpr PolicySpec spec =
    Policy<Dtype::f32, Tile{.m = 32, .n = 64, .k = 32}, 160, 8, Engine::wgmma_swap_ab>::spec;

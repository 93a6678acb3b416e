// expect: masthead::Policy: wgmma multiplies bf16 and f16, and f32 as Product::tf32, f16 or f16x3
#include "masthead/policy.hpp"

using namespace masthead;

constexpr PolicySpec spec =
    Policy<Dtype::f32, Tile{.m = 128, .n = 128, .k = 32}, 384, 3, Engine::wgmma>::spec;

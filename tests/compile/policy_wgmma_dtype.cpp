// expect: masthead::Policy: Engine::wgmma multiplies bf16 and f16 in MathMode::plain, f32 in tf32, f16 and
//   f16x3, and bf16 and e4m3 in e4m3
#include "masthead/policy/policy.hpp"

using namespace masthead;

constexpr PolicySpec spec =
    Policy<Dtype::f32, Tile{.m = 128, .n = 128, .k = 32}, 384, 3, Engine::wgmma>::spec;

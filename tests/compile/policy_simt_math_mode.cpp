// expect: masthead::Policy: Engine::simt multiplies f64, f32, f16 and bf16, in MathMode::plain
#include "masthead/policy/policy.hpp"

using namespace masthead;

constexpr PolicySpec spec =
    Policy<Dtype::f32, Tile{.m = 128, .n = 128, .k = 16}, 256, 3, Engine::simt, 1, MathMode::tf32>::spec;

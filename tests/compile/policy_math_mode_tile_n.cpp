// expect: masthead::Policy: tile.n must be 128 with MathMode::f16x3, whose sums and two k-blocks share the
//   registers
#include "masthead/policy/policy.hpp"

using namespace masthead;

constexpr PolicySpec spec =
    Policy<Dtype::f32, Tile{.m = 64, .n = 256, .k = 64}, 256, 2, Engine::wgmma, 1, MathMode::f16x3>::spec;

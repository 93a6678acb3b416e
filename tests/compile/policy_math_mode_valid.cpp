// The positive control of the policy_math_mode_*.cpp sources beside it: the same few lines with a policy that
// holds.
#include "masthead/policy/policy.hpp"

using namespace masthead;

constexpr PolicySpec spec =
    Policy<Dtype::f32, Tile{.m = 128, .n = 128, .k = 64}, 384, 3, Engine::wgmma, 2, MathMode::f16x3>::spec;

// The positive control of the policy_*.cpp sources beside it: the same few lines with a policy that holds.
#include "masthead/policy/policy.hpp"

using namespace masthead;

constexpr PolicySpec spec = Policy<Dtype::f32, Tile{.m = 128, .n = 128, .k = 16}, 256>::spec;

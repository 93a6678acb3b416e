// expect: masthead::Policy: cluster_m must be 1 with Engine::simt
#include "masthead/policy/policy.hpp"

using namespace masthead;

constexpr PolicySpec spec =
    Policy<Dtype::f32, Tile{.m = 128, .n = 128, .k = 16}, 256, 3, Engine::simt, 2>::spec;

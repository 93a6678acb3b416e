// expect: masthead::Policy: stages must be between 2 and 8 with Engine::simt
#include "masthead/policy/policy.hpp"

using namespace masthead;

constexpr PolicySpec spec = Policy<Dtype::f32, Tile{.m = 128, .n = 128, .k = 16}, 256, 1>::spec;

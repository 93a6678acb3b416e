// expect: masthead::Policy: the stages must fit in 227 KB of shared memory
#include "masthead/policy/policy.hpp"

using namespace masthead;

constexpr PolicySpec spec = Policy<Dtype::f32, Tile{.m = 128, .n = 128, .k = 64}, 256, 8>::spec;

// expect: masthead::Policy: block_threads must be a multiple of 32 between 32 and 1024
#include "masthead/policy/policy.hpp"

using namespace masthead;

constexpr PolicySpec spec = Policy<Dtype::f32, Tile{.m = 48, .n = 48, .k = 16}, 48>::spec;

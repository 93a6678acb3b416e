// expect: masthead::SoftmaxPolicy: items must be a multiple of 4 between 8 and 64
#include "masthead/policy/softmax_policy.hpp"

using namespace masthead;

constexpr SoftmaxSpec spec = SoftmaxPolicy<256, 10>::spec;

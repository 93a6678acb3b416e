// expect: masthead::SoftmaxPolicy: threads must be a power of two between 32 and 1024
#include "masthead/policy/softmax_policy.hpp"

using namespace masthead;

constexpr SoftmaxSpec spec = SoftmaxPolicy<96, 8>::spec;

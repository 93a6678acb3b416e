// The positive control of the softmax_policy_*.cpp sources beside it.
#include "masthead/policy/softmax_policy.hpp"

using namespace masthead;

constexpr SoftmaxSpec spec = SoftmaxPolicy<256, 8>::spec;

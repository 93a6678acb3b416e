// expect: masthead::SoftmaxPolicy: rows must be 1, or up to 32 when threads is 32
#include "masthead/policy/softmax_policy.hpp"

using namespace masthead;

constexpr SoftmaxSpec spec = SoftmaxPolicy<64, 8, 2>::spec;

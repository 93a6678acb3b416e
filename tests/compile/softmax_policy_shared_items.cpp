// expect: masthead::SoftmaxPolicy: shared_items must be 0, or a multiple of 16 up to items with one row
#include "masthead/policy/softmax_policy.hpp"

using namespace masthead;

constexpr auto spec = SoftmaxPolicy<256, 32, 1, 40>::spec;

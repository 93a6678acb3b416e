#include "../support/head_tests.cuh"

using test::PrecisionOf;

MASTHEAD_HEAD_TESTS(PrecisionOf<masthead::Precision::fp64>);

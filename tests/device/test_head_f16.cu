#include "../support/head_tests.cuh"

using masthead::Precision;
using test::PrecisionOf;

MASTHEAD_HEAD_TESTS(PrecisionOf<Precision::fp16>);

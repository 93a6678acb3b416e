#include "../support/head_tests.cuh"

using masthead::Precision;
using test::PrecisionOf;

MASTHEAD_HEAD_TESTS(PrecisionOf<Precision::fp32_ieee>, PrecisionOf<Precision::fp32>);

TEST_SUITE("device head") {
  TEST_CASE("more than 2^31 outputs") { test::test_beyond_2_31<Precision::fp32>(); }
}

#include "../support/head_tests.cuh"

using masthead::Precision;
using test::PrecisionOf;

MASTHEAD_HEAD_TESTS(PrecisionOf<Precision::bf16>);

TEST_SUITE("device head") {
  TEST_CASE("more than 2^31 outputs") { test::test_beyond_2_31<Precision::bf16>(); }
}

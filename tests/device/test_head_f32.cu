#include "../support/head_tests.cuh"

using masthead::Mode;
using masthead::Precision;
using test::PrecisionOf;

MASTHEAD_HEAD_TESTS(PrecisionOf<Precision::fp32_ieee>, PrecisionOf<Precision::fp32>);

TEST_SUITE("device head") {
  TEST_CASE("more than 2^31 outputs") { test::test_beyond_2_31<Precision::fp32>(); }
  TEST_CASE("more than 2^31 rows, packed") { test::test_rows_beyond_2_31<Precision::fp32>(Mode::eval); }
  TEST_CASE("statistics of a million rows") {
    test::test_long_batch<Precision::fp32>();
    test::test_long_batch<Precision::fp32_ieee>();
  }
}

#include "../support/head_tests.cuh"

using masthead::Mode;
using masthead::Precision;
using test::PrecisionOf;

MASTHEAD_HEAD_TESTS(PrecisionOf<Precision::bf16>);

TEST_SUITE("device head") {
  TEST_CASE("the same bits over 1000 launches and 100 graph replays") {
    // Eval mode: the cooperative kernel, one cluster a row, two kernels, rows finalised early twice. Training
    // mode: the cooperative kernel, three kernels.
    test::test_repeats<Precision::bf16>({{{1024, 128, 8192}, Mode::eval, 1},
                                         {{1024, 128, 504}, Mode::eval, 1},
                                         {{1024, 128, 2056}, Mode::eval, 2},
                                         {{3072, 128, 8192}, Mode::eval, 3},
                                         {{1024, 4096, 40960}, Mode::eval, 3},
                                         {{1024, 128, 8192}, Mode::training, 1},
                                         {{1024, 128, 2056}, Mode::training, 3}});
  }

  TEST_CASE("more than 2^31 outputs") { test::test_beyond_2_31<Precision::bf16>(); }
}

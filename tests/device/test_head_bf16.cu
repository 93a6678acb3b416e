#include "../support/head_tests.cuh"

using masthead::Mode;
using masthead::Path;
using masthead::Precision;
using test::PrecisionOf;

MASTHEAD_HEAD_TESTS(PrecisionOf<Precision::bf16>);

TEST_SUITE("device head") {
  TEST_CASE("the same bits over 1000 launches and 100 graph replays") {
    test::test_repeats<Precision::bf16>({{{1024, 128, 8192}, Mode::eval, Path::resident},
                                         {{1024, 128, 504}, Mode::eval, Path::one_cluster},
                                         {{100, 128, 17000}, Mode::eval, Path::two_pass},
                                         {{100, 128, 2056}, Mode::eval, Path::row_blocks},
                                         {{1024, 128, 2056}, Mode::eval, Path::two_pass},
                                         {{3072, 128, 8192}, Mode::eval, Path::overlapped},
                                         {{1024, 4096, 40960}, Mode::eval, Path::overlapped},
                                         {{1024, 128, 8192}, Mode::training, Path::resident_training},
                                         {{1024, 128, 2056}, Mode::training, Path::training}});
  }

  TEST_CASE("more than 2^31 outputs") { test::test_beyond_2_31<Precision::bf16>(); }
  TEST_CASE("more than 2^31 rows") {
    test::test_rows_beyond_2_31<Precision::bf16>(Mode::eval);
    test::test_rows_beyond_2_31<Precision::bf16>(Mode::training);
  }
}

#pragma once
/// What every precision of Head must do; each program runs it for its precisions.

#include "head_calls.cuh"
#include "head_hard.cuh"
#include "head_values.cuh"

/// All cases for a list of `PrecisionOf` types.
#define MASTHEAD_HEAD_TESTS(...)                                                                       \
  TEST_SUITE("device head") {                                                                          \
    TEST_CASE_TEMPLATE("a grid of sizes, scales, dtypes and layouts in both modes", P, __VA_ARGS__) {  \
      test::test_grid<P::value>();                                                                     \
    }                                                                                                  \
    TEST_CASE_TEMPLATE("problems that fill the GPU", P, __VA_ARGS__) { test::test_large<P::value>(); } \
    TEST_CASE_TEMPLATE("logits up to 1e4, NaN and infinities", P, __VA_ARGS__) {                       \
      test::test_extremes<P::value>();                                                                 \
    }                                                                                                  \
    TEST_CASE_TEMPLATE("running statistics: momentum, cumulative average, absent", P, __VA_ARGS__) {   \
      test::test_running_statistics<P::value>();                                                       \
    }                                                                                                  \
    TEST_CASE_TEMPLATE("the variance of features far from 0 survives", P, __VA_ARGS__) {               \
      test::test_distant_features<P::value>();                                                         \
    }                                                                                                  \
    TEST_CASE_TEMPLATE("logits up to the largest float", P, __VA_ARGS__) {                             \
      test::test_huge_logits<P::value>();                                                              \
    }                                                                                                  \
    TEST_CASE_TEMPLATE("means far from 0 beside the deviation", P, __VA_ARGS__) {                      \
      test::test_far_means<P::value>();                                                                \
    }                                                                                                  \
    TEST_CASE_TEMPLATE("the same bits over 20 runs and in any batch", P, __VA_ARGS__) {                \
      test::test_bits<P::value>();                                                                     \
    }                                                                                                  \
    TEST_CASE_TEMPLATE("explicit policies", P, __VA_ARGS__) { test::test_policies<P::value>(); }       \
    TEST_CASE_TEMPLATE("streams, threads and stream-ordered allocation", P, __VA_ARGS__) {             \
      test::test_concurrency<P::value>();                                                              \
    }                                                                                                  \
    TEST_CASE_TEMPLATE("graph replay after x, scale and weight changed", P, __VA_ARGS__) {             \
      test::test_graph<P::value>();                                                                    \
    }                                                                                                  \
    TEST_CASE_TEMPLATE("what the kernel before writes late is multiplied", P, __VA_ARGS__) {           \
      test::test_late_writes<P::value>();                                                              \
    }                                                                                                  \
    TEST_CASE_TEMPLATE("a pending error of the caller's stays pending", P, __VA_ARGS__) {              \
      test::test_pending_error<P::value>();                                                            \
    }                                                                                                  \
  }

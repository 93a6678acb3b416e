#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "../support/compare.hpp"
#include "../support/problem.hpp"
#include "../support/random.hpp"
#include "masthead/cpu/gemm.hpp"

using namespace masthead;
using test::Elements;
using test::to_doubles;
using test::to_elements;

namespace {

/// x w^T by one kernel, into a fenced and poisoned matrix whose rows are 3 longer than needed.
template <class T>
test::FencedMatrix<Accumulator<T>> product(const Elements& x, const Elements& w, const test::Shape& shape,
                                           int threads, const cpu::GemmKernel<Accumulator<T>>& kernel) {
  test::FencedMatrix<Accumulator<T>> c(shape.batch, shape.out_features, shape.out_features + 3);
  const cpu::Executor executor(threads);
  const cpu::GemmBlocks<Accumulator<T>> blocks(shape.batch, shape.out_features, shape.in_features, executor,
                                               kernel);
  cpu::gemm(Matrix<const T>(x.data<T>(), shape.batch, shape.in_features),
            Matrix<const T>(w.data<T>(), shape.out_features, shape.in_features), c.view(), executor, blocks);
  return c;
}

const test::Shape shapes[] = {{1, 1, 1},     {7, 3, 5},     {12, 256, 32},  {13, 257, 33},
                              {65, 64, 129}, {253, 19, 63}, {300, 520, 70}, {5, 1000, 513}};

}  // namespace

TEST_SUITE("host gemm") {
  TEST_CASE("there is a portable kernel, and kernels have names of their own") {
    const auto kernels = cpu::gemm_kernels<float>();
    REQUIRE(!kernels.empty());
    CHECK(std::string(kernels.back().name) == "portable");
    std::set<std::string> names;
    for (const auto& kernel : kernels) {
      CAPTURE(kernel.name);
      names.insert(kernel.name);
      CHECK(cpu::gemm_kernel_rows % kernel.rows == 0);
      CHECK(kernel.columns * static_cast<int>(sizeof(float)) <= cpu::gemm_kernel_column_bytes);
    }
    CHECK(names.size() == kernels.size());
    CHECK(cpu::gemm_kernels<double>().size() == kernels.size());
  }

  TEST_CASE_TEMPLATE("small integers are multiplied exactly by every kernel", T, float, double, Half,
                     BFloat16) {
    for (const auto& kernel : cpu::gemm_kernels<Accumulator<T>>()) {
      CAPTURE(kernel.name);
      for (const test::Shape& shape : shapes) {
        CAPTURE(shape.batch);
        test::Random random(1);
        const auto draw = [&] { return static_cast<double>(random.integer(-8, 8)); };
        const auto x = test::Random::many(shape.batch * shape.in_features, draw);
        const auto w = test::Random::many(shape.out_features * shape.in_features, draw);
        const auto c = product<T>(to_elements(x, dtype_of<T>), to_elements(w, dtype_of<T>), shape, 2, kernel);
        const auto got = c.values();
        int wrong = 0;
        for (std::int64_t m = 0; m < shape.batch; ++m) {
          for (std::int64_t n = 0; n < shape.out_features; ++n) {
            double sum = 0;
            for (std::int64_t k = 0; k < shape.in_features; ++k) {
              sum += x[test::at(m, shape.in_features, k)] * w[test::at(n, shape.in_features, k)];
            }
            wrong += got[test::at(m, shape.out_features, n)] != sum;
          }
        }
        CHECK(wrong == 0);
        CHECK(c.intact());
      }
    }
  }

  TEST_CASE_TEMPLATE("a row's bits depend neither on the batch, its place in it, nor the threads", T, float,
                     double, Half) {
    test::Random random(2);
    const std::int64_t k = 700, n = 130;
    const Elements w = to_elements(random.normals(n * k), dtype_of<T>);
    const std::vector<double> x = random.normals(600 * k);
    for (const auto& kernel : cpu::gemm_kernels<Accumulator<T>>()) {
      CAPTURE(kernel.name);
      const auto all = product<T>(to_elements(x, dtype_of<T>), w, {600, k, n}, 1, kernel);
      for (const int threads : {2, 3, 8}) {
        CHECK(product<T>(to_elements(x, dtype_of<T>), w, {600, k, n}, threads, kernel).bytes == all.bytes);
      }
      for (const std::int64_t row : {0, 11, 12, 251, 252, 599}) {
        const std::vector<double> one(x.begin() + row * k, x.begin() + (row + 1) * k);
        CHECK(product<T>(to_elements(one, dtype_of<T>), w, {1, k, n}, 2, kernel).row_bytes(0) ==
              all.row_bytes(row));
      }
    }
  }

  TEST_CASE("rows of NaN and inf leave the others alone, also where panels are padded") {
    test::Random random(4);
    const test::Shape shape{14, 40, 33};
    std::vector<double> x = random.normals(shape.batch * shape.in_features);
    x[test::at(3, 40, 5)] = std::nan("");
    x[test::at(13, 40, 39)] = INFINITY;
    const Elements w = to_elements(random.normals(shape.out_features * shape.in_features), Dtype::f32);
    for (const auto& kernel : cpu::gemm_kernels<float>()) {
      CAPTURE(kernel.name);
      const auto c = product<float>(to_elements(x, Dtype::f32), w, shape, 1, kernel).values();
      for (std::int64_t m = 0; m < shape.batch; ++m) {
        for (std::int64_t n = 0; n < shape.out_features; ++n) {
          CHECK(std::isnan(c[test::at(m, 33, n)]) == (m == 3));
          CHECK(std::isinf(c[test::at(m, 33, n)]) == (m == 13));
        }
      }
    }
  }
}

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "../support/any_magnitude.hpp"
#include "../support/compare.hpp"
#include "../support/random.hpp"
#include "../support/reference.hpp"
#include "masthead/cpu/softmax.hpp"
#include "masthead/plan/softmax_plan.hpp"

using namespace masthead;
using test::at;
using test::FencedMatrix;

namespace {

constexpr std::int64_t lengths[] = {1, 2, 7, 31, 63, 64, 65, 129, 1000, 4097, 32769, 100000};

std::int64_t rows_for(std::int64_t columns) { return columns > 1000 ? 2 : 19; }

/// scale_softmax of values that are exact in T, into a fenced matrix.
template <class T, class U>
FencedMatrix<U> run(const std::vector<double>& x, std::int64_t rows, std::int64_t columns,
                    const std::vector<double>& scale, Output output, int threads = 2) {
  FencedMatrix<T> in(rows, columns, columns + 2, 1);
  in.set(x);
  FencedMatrix<U> y(rows, columns, columns + 3, 1);
  const test::Elements factors = test::to_elements(scale, Dtype::f32);
  cpu::scale_softmax(Matrix<const T>(in.view()), factors.view(), y.view(), cpu::Executor(threads), output);
  return y;
}

template <class T, class U>
void check_lengths() {
  std::uint64_t seed = 0;
  for (const std::int64_t columns : lengths) {
    CAPTURE(columns);
    const std::int64_t rows = rows_for(columns);
    test::Random random(++seed);
    const auto x = test::rounded(random.normals(rows * columns, 0, 3), dtype_of<T>);
    for (const auto& scale : {std::vector<double>{}, {-3}, {0}, {12.5}, random.uniforms(columns, -2, 2)}) {
      const auto exact_scale = test::rounded(scale, Dtype::f32);
      const auto reference = test::scale_softmax_reference(x, rows, columns, exact_scale);
      for (const Output output : {Output::softmax, Output::log_softmax}) {
        const auto y = run<T, U>(x, rows, columns, scale, output);
        const auto got = y.values();
        const auto comparison =
            test::compare(reference, got, accumulator_dtype(dtype_of<T>), dtype_of<U>, output);
        CHECK_MESSAGE(comparison, comparison);
        CHECK(y.intact());
        if (scale.size() < 2 || columns > 4097) continue;
        for (const auto& [corruption, bad] : test::corruptions(got, rows, columns)) {
          CAPTURE(corruption);
          CHECK_FALSE(test::compare(reference, bad, accumulator_dtype(dtype_of<T>), dtype_of<U>, output));
        }
      }
    }
  }
}

}  // namespace

TEST_SUITE("host softmax") {
  TEST_CASE_TEMPLATE("rows of 1 to 100000 columns, every scale", T, double, float, Half, BFloat16) {
    check_lengths<T, T>();
  }

  TEST_CASE("narrow logits with wide probabilities, and the other way round") {
    check_lengths<BFloat16, float>();
    check_lengths<float, Half>();
  }

  TEST_CASE_TEMPLATE("in place gives the same bits as apart", T, double, float, Half, BFloat16) {
    for (const std::int64_t columns : {1, 65, 5000}) {
      test::Random random(static_cast<std::uint64_t>(columns));
      const auto x = random.normals(3 * columns, 0, 2);
      for (const Output output : {Output::softmax, Output::log_softmax}) {
        FencedMatrix<T> apart(3, columns, columns + 4), in(3, columns, columns + 4),
            both(3, columns, columns + 4);
        in.set(x);
        both.set(x);
        const float scale = 1.5f;
        const cpu::Executor executor(2);
        cpu::scale_softmax(Matrix<const T>(in.view()), {&scale, 1}, apart.view(), executor, output);
        cpu::scale_softmax(both.view(), {&scale, 1}, both.view(), executor, output);
        CHECK(both.bytes == apart.bytes);
        CHECK(both.intact());
      }
    }
  }

  TEST_CASE("a row's bits depend neither on the other rows nor on the threads") {
    test::Random random(3);
    const std::int64_t columns = 300;
    const auto x = random.normals(200 * columns);
    const auto all = run<float, float>(x, 200, columns, {2}, Output::softmax, 1);
    for (const int threads : {2, 3, 8}) {
      CHECK(run<float, float>(x, 200, columns, {2}, Output::softmax, threads).bytes == all.bytes);
    }
    for (const std::int64_t m : {0, 99, 199}) {
      const std::vector<double> row(x.begin() + m * columns, x.begin() + (m + 1) * columns);
      CHECK(run<float, float>(row, 1, columns, {2}, Output::softmax).row_bytes(0) == all.row_bytes(m));
    }
  }

  TEST_CASE("NaN, +inf, -inf and rows of -inf give what torch.softmax gives") {
    const double inf = std::numeric_limits<double>::infinity();
    // One row a case: torch gives NaN throughout for rows 1, 2, 4 and 5, and 0 for the -inf of row 3.
    const std::vector<double> x = {1,    2,    3,     //
                                   1,    NAN,  3,     //
                                   1,    inf,  3,     //
                                   1,    -inf, 3,     //
                                   -inf, -inf, -inf,  //
                                   inf,  inf,  -inf,  //
                                   -0.0, 0.0,  0.0};
    const auto reference = test::scale_softmax_reference(x, 7, 3, {});
    const bool nan_row[] = {false, true, true, false, true, true, false};
    for (const Output output : {Output::softmax, Output::log_softmax}) {
      const auto got = run<float, float>(x, 7, 3, {}, output).values();
      CHECK(test::compare(reference, got, Dtype::f32, Dtype::f32, output));
      for (std::int64_t m = 0; m < 7; ++m) {
        for (std::int64_t j = 0; j < 3; ++j) CHECK(std::isnan(got[at(m, 3, j)]) == nan_row[m]);
      }
      CHECK(got[at(3, 3, 1)] == (output == Output::softmax ? 0 : -inf));
    }
  }

  TEST_CASE("logits of 1e4, constant rows and values near the end of the range") {
    for (const double magnitude : {1e4, -1e4, 3e37}) {
      std::vector<double> x;
      for (int j = 0; j < 65; ++j) x.push_back(magnitude * (1 - j * 1e-4));
      for (int j = 0; j < 65; ++j) x.push_back(magnitude);
      x = test::rounded(x, Dtype::f32);
      const auto reference = test::scale_softmax_reference(x, 2, 65, {});
      const auto got = run<float, float>(x, 2, 65, {}, Output::softmax).values();
      CHECK(test::compare(reference, got, Dtype::f32, Dtype::f32));
      CHECK(got[65] == doctest::Approx(1.0 / 65).epsilon(1e-6));
    }
  }

  TEST_CASE_TEMPLATE("rows of any magnitude whose products are finite", T, double, float, Half, BFloat16) {
    constexpr Dtype dtype = dtype_of<T>, sum = accumulator_dtype(dtype_of<T>);
    for (const std::int64_t columns : {1, 2, 5, 300, 3000}) {
      for (const test::LargeRow& row : test::large_rows(dtype, columns)) {
        FencedMatrix<T> x(1, columns);
        x.set(row.x);
        const test::Elements scale = test::to_elements(row.scale, sum);
        const test::LargeReference reference = test::reference_of(row, dtype);
        for (const Output output : {Output::softmax, Output::log_softmax}) {
          FencedMatrix<T> y(1, columns);
          cpu::scale_softmax(Matrix<const T>(x.view()), scale.view(), y.view(), cpu::Executor(1), output);
          const std::vector<double> got = y.values();
          const std::string wrong = test::wrong_with(reference, got.data(), dtype, output);
          CHECK_MESSAGE(wrong.empty(), wrong);
          // Negative control: the comparison sees one element that is off.
          for (const double off : {0.5, -3.0, 0.0, std::nan("")}) {
            if (got[0] == off || (std::isnan(got[0]) && std::isnan(off))) continue;
            auto bad = got;
            bad[0] = off;
            CHECK_FALSE(test::wrong_with(reference, bad.data(), dtype, output).empty());
          }
        }
      }
    }
  }

  TEST_CASE("rows that sum to 1 and 100000 equal columns are exact to float") {
    const auto got =
        run<float, float>(std::vector<double>(100000, 1), 1, 100000, {}, Output::softmax).values();
    for (const double p : {got.front(), got[31337], got.back()}) CHECK(std::abs(p * 1e5 - 1) < 1.2e-7);
  }

  TEST_CASE("bad arguments throw with y untouched") {
    std::vector<float> x(12);
    FencedMatrix<float> y(3, 4);
    const float scale[3] = {};
    const cpu::Executor executor(1);
    CHECK_THROWS_WITH_AS(
        cpu::scale_softmax(Matrix<const float>(x.data(), 3, 4), {scale, 3}, y.view(), executor),
        "masthead: scale.size = 3: must be 1 or 4", Error);
    CHECK_THROWS_WITH_AS(cpu::scale_softmax(Matrix<const float>(x.data(), 4, 3), {}, y.view(), executor),
                         "masthead: y.shape = (3, 4): must be that of x, (4, 3)", Error);
    CHECK_THROWS_AS(cpu::scale_softmax(Matrix<const float>(nullptr, 3, 4), {}, y.view(), executor), Error);
    CHECK(y.untouched());
  }

  TEST_CASE("launches of a plan take all rows, each in a grid whose clusters have exact indices") {
    using namespace masthead::detail;
    constexpr std::int64_t big = std::int64_t{1} << 31;
    const std::pair<std::int64_t, std::int64_t> shapes[] = {
        {1, 1},        {big / 8, 9}, {big + 1000, 2}, {big - 1, 3}, {big + 7, 1},      {1, big + 9},
        {3, big + 16}, {big, 70000}, {big, 3000},     {1 << 25, 8}, {(1 << 25) + 1, 8}};
    int plans = 0;
    const auto check = [&]<int bytes>() {
      for (const auto& [rows, columns] : shapes) {
        for (const int architecture : {80, 90}) {
          for (const ColumnAccess access :
               {ColumnAccess::vectors, ColumnAccess::affine_vectors, ColumnAccess::elements}) {
            for (const SoftmaxSpec& spec : softmax_policies<bytes>) {
              for (const SoftmaxKernels kernels :
                   {SoftmaxKernels::holding, SoftmaxKernels::streaming, SoftmaxKernels::both}) {
                const SoftmaxPlan plan =
                    plan_softmax(spec, kernels, access, bytes, rows, columns, architecture);
                const int rows_of_block = plan.kernel == SoftmaxKernel::streaming ? 1 : spec.rows;
                const std::int64_t last =
                    (std::min(rows, plan.rows_per_launch) + rows_of_block - 1) / rows_of_block * plan.cluster;
                int wrong = plan.rows_per_launch < 1 || plan.rows_per_launch % rows_of_block != 0;
                wrong += last > max_softmax_blocks || (rows_of_block > 1 && plan.cluster > 1);
                wrong += plan.blocks != (rows + rows_of_block - 1) / rows_of_block * plan.cluster;
                wrong += plan.segment % 8 != 0 || plan.segment * plan.cluster < columns;
                wrong += plan.cluster < 1 || plan.cluster > (architecture < 90 ? 1 : max_cluster);
                CHECK(wrong == 0);
                ++plans;
              }
            }
          }
        }
      }
    };
    check.template operator()<2>();
    check.template operator()<4>();
    check.template operator()<8>();
    CHECK(plans == 3 * 11 * 2 * 3 * 6 * 3);
  }

  TEST_CASE("a cluster's index, computed in float, is exact in the grids of a plan and not far beyond") {
    // As ptxas makes %clusterid.x: the block's index times the reciprocal of the cluster's size.
    const auto index = [](std::int64_t block, int cluster) {
      return static_cast<std::int64_t>(static_cast<float>(block) * (1.0f / static_cast<float>(cluster)));
    };
    for (int cluster = 1; cluster <= masthead::detail::max_cluster; ++cluster) {
      std::int64_t wrong = 0;
      for (std::int64_t block = 0; block < masthead::detail::max_softmax_blocks; ++block) {
        wrong += index(block, cluster) != block / cluster;
      }
      CHECK(wrong == 0);
    }
    CHECK(index((1 << 24) + 1, 1) != (1 << 24) + 1);
  }

  TEST_CASE("every length of row has a policy of the device that holds it, or streams it") {
    const auto name = [](std::int64_t columns, int architecture, bool vectors) {
      const int index = masthead::detail::select_softmax_policy<4>(columns, architecture, vectors);
      std::ostringstream out;
      out << masthead::detail::softmax_policies<4>[static_cast<std::size_t>(index)];
      if (index == 5) out << " twice";
      return out.str();
    };
    CHECK(name(1, 90, true) == "softmax_32x8_r4");
    CHECK(name(256, 75, false) == "softmax_32x8_r4");
    CHECK(name(257, 90, false) == "softmax_128x16");
    CHECK(name(8192, 80, true) == "softmax_256x32");
    CHECK(name(16384, 80, true) == "softmax_512x32");
    CHECK(name(16385, 80, true) == "softmax_512x16 twice");
    CHECK(name(65536, 90, true) == "softmax_512x32");
    CHECK(name(65537, 90, true) == "softmax_256x32+32_past_l1");
    CHECK(name(65537, 90, false) == "softmax_512x32");
    CHECK(name(131072, 90, true) == "softmax_256x32+32_past_l1");
    CHECK(name(131072, 90, false) == "softmax_512x32");
    CHECK(name(131073, 90, true) == "softmax_512x16 twice");
    CHECK(masthead::detail::select_softmax_policy<2>(131072, 90, false) == 3);
    CHECK(masthead::detail::select_softmax_policy<2>(131072, 90, true) == 4);
    CHECK(masthead::detail::select_softmax_policy<8>(65536, 90, false) == 3);
    CHECK(masthead::detail::select_softmax_policy<8>(65537, 90, false) == 5);
  }
}

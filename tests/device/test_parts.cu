#include <cmath>
#include <cstdint>
#include <cuda/std/mdspan>
#include <type_traits>
#include <vector>

#include "../support/any_magnitude.hpp"
#include "../support/device_problem.cuh"
#include "masthead/cpu/fold_batch_norm.hpp"
#include "masthead/fold_batch_norm.cuh"
#include "masthead/gemm/block_gemm_simt.cuh"
#include "masthead/reduce/column_statistics.cuh"
#include "masthead/scale_softmax.cuh"
#include "masthead/softmax/row_softmax.cuh"

using namespace masthead;
using namespace masthead::detail;
using test::at;
using test::DeviceMatrix;
using test::DeviceVector;
using test::Stream;

// Named: of two unnamed namespaces that a using-directive merges, nvcc 13.0 cannot name the kernels' one.
namespace parts {

template <class Policy_, int vector_bytes_>
struct GemmOf {
  using Policy = Policy_;
  static constexpr int vector_bytes = vector_bytes_;
};

/// sums += x w^T, twice over, one block a tile.
template <class Policy, int vector_bytes>
__global__ void gemm_kernel(Matrix<const DeviceElement<Policy::spec.dtype>> x,
                            Matrix<const DeviceElement<Policy::spec.dtype>> w,
                            Matrix<Accumulator<DeviceElement<Policy::spec.dtype>>> sums) {
  using Gemm = BlockGemmSimt<Policy, vector_bytes>;
  extern __shared__ __align__(16) unsigned char shared[];
  const std::int64_t first_row = std::int64_t{blockIdx.y} * Policy::spec.tile.m,
                     first_column = std::int64_t{blockIdx.x} * Policy::spec.tile.n;
  Gemm gemm(*reinterpret_cast<typename Gemm::TempStorage*>(shared));
  typename Gemm::Accumulators accumulators = {};
  gemm(x, w, first_row, first_column, accumulators);
  gemm(x, w, first_row, first_column, accumulators);  // it adds, and its storage may be used again at once
  Gemm::for_each(accumulators, [&](int row, int column, typename Gemm::Sum sum) {
    if (first_row + row < sums.rows && first_column + column < sums.columns) {
      sums.data[(first_row + row) * sums.row_stride + first_column + column] = sum;
    }
  });
}

/// Each thread's pair is merged with those of its row; every thread writes what it got.
template <class T, int threads>
__global__ void row_reduce_kernel(const T* values, SoftmaxState<T>* out) {
  using Reduce = RowReduce<T, threads>;
  __shared__ typename Reduce::TempStorage storage[threads == 32 ? 4 : 1];
  const int row = static_cast<int>(threadIdx.x) / threads;
  out[threadIdx.x] = Reduce(storage[row])(SoftmaxState<T>{values[threadIdx.x], T(1)});
}

/// Softmax of `columns` values, dealt to threads round robin: any assignment will do.
template <class T, class Policy, Output output>
__global__ void row_softmax_kernel(const T* x, T* y, int columns, T scale) {
  using Softmax = RowSoftmax<T, Policy>;
  __shared__ typename Softmax::TempStorage storage;
  Softmax softmax(storage);
  constexpr int threads = Policy::spec.threads, items = Policy::spec.items;
  const auto column = [&](int i) { return i * threads + static_cast<int>(threadIdx.x); };
  T values[items];
  for (int i = 0; i < items; ++i) values[i] = column(i) < columns ? x[column(i)] : T(0);
  softmax.template apply<output>(values, scale, [&](int i) { return column(i) < columns; });
  for (int i = 0; i < items; ++i) {
    if (column(i) < columns) y[column(i)] = values[i];
  }
}

/// Softmax of two rows, one after the other, of blocks of `Policy`, by warps with rows of their own or by
/// clusters of as many blocks as the launch says. What no column is is NaN in registers.
template <class T, class Policy, Output output, bool clusters>
__global__ void two_rows_kernel(Matrix<const T> x, Matrix<T> y, T scale) {
  using Softmax = RowSoftmax<T, Policy>;
  constexpr SoftmaxSpec spec = Policy::spec;
  __shared__ typename Softmax::TempStorage storage[clusters ? 2 : 1];
  const int warp_row = spec.rows > 1 ? static_cast<int>(threadIdx.x) / spec.threads : 0;
  const int first = ptx::cluster_cta_rank() * spec.threads * spec.items;
  const auto column = [&](int i) {
    return first + i * spec.threads + static_cast<int>(threadIdx.x) % spec.threads;
  };
  for (int pass = 0; pass < 2; ++pass) {
    if (pass > 0 && !clusters) __syncthreads();
    Softmax softmax(storage[clusters ? pass : 0]);
    const std::int64_t row = pass * spec.rows + warp_row;
    T values[spec.items];
    for (int i = 0; i < spec.items; ++i) {
      values[i] = column(i) < x.columns ? x.data[row * x.row_stride + column(i)] : static_cast<T>(NAN);
    }
    softmax.template apply<output>(values, scale, [&](int i) { return column(i) < x.columns; });
    for (int i = 0; i < spec.items; ++i) {
      if (column(i) < x.columns) y.data[row * y.row_stride + column(i)] = values[i];
    }
  }
}

template <class T>
__global__ void column_statistics_test_kernel(Matrix<const T> x, Moments<T>* out) {
  using Statistics = BlockColumnStatistics<T>;
  __shared__ typename Statistics::TempStorage storage;
  const std::int64_t column = std::int64_t{blockIdx.x} * 32 + threadIdx.x % 32;
  const bool inside = column < x.columns;
  const Moments<T> moments = Statistics(storage)(
      [&](std::int64_t row) { return x.data[row * x.row_stride + column]; }, inside ? x.rows : 0);
  if (threadIdx.x < 32 && inside) out[column] = moments;
}

/// A typed array on the device.
template <class V>
std::vector<V> download(const test::DeviceFence& memory) {
  const std::vector<unsigned char> bytes = memory.download();
  std::vector<V> values(bytes.size() / sizeof(V));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

template <class T, int threads>
void check_row_reduce(int rows, std::vector<double> values) {
  CAPTURE(threads);
  const Stream stream;
  const std::int64_t count = threads * rows;
  values = test::rounded(values, dtype_of<T>);
  const DeviceVector x(values, dtype_of<T>);
  const test::DeviceFence out(count * static_cast<std::int64_t>(sizeof(SoftmaxState<T>)));
  row_reduce_kernel<T, threads><<<1, static_cast<unsigned>(count), 0, stream>>>(
      static_cast<const T*>(x.view().data), reinterpret_cast<SoftmaxState<T>*>(out.data()));
  stream.synchronize();
  const auto got = download<SoftmaxState<T>>(out);
  CHECK(out.intact());
  for (int row = 0; row < rows; ++row) {
    const auto first = values.begin() + row * threads;
    double max = -HUGE_VAL, sum = 0;
    for (auto v = first; v != first + threads; ++v) max = std::fmax(max, *v);
    for (auto v = first; v != first + threads; ++v) sum += std::exp2(*v - (max == -HUGE_VAL ? 0 : max));
    int wrong = 0;
    for (int i = 0; i < threads; ++i) {
      const SoftmaxState<T>& pair = got[at(row * threads + i)];
      wrong += static_cast<double>(pair.max) != max;
      // Differences of up to 160 are rounded before they become exponents.
      const double error = std::abs(static_cast<double>(pair.sum) - sum);
      wrong +=
          std::isnan(sum) ? !std::isnan(pair.sum) : !(error <= 64 * test::unit_roundoff(dtype_of<T>) * sum);
    }
    CHECK(wrong == 0);
  }
}

template <class T, int threads>
void check_row_reduce(int rows) {
  const std::int64_t count = threads * rows;
  test::Random random(threads);
  std::vector<double> values = random.normals(count, 0, 20);
  values[3] = -HUGE_VAL;  // a thread without a column
  check_row_reduce<T, threads>(rows, values);
  values[5] = NAN;
  check_row_reduce<T, threads>(rows, values);
  values[7] = HUGE_VAL;
  check_row_reduce<T, threads>(rows, values);
  check_row_reduce<T, threads>(rows, random.normals(count, -300, 20));
  check_row_reduce<T, threads>(rows, std::vector<double>(at(count), -HUGE_VAL));
  // Of doubles the lower halves decide: those of negative numbers the other way round.
  for (const double sign : {1.0, -1.0}) {
    for (std::int64_t i = 0; i < count; ++i) {
      values[at(i)] = sign * (1 + static_cast<double>(i * 37 % count) * 0x1p-40);
    }
    check_row_reduce<T, threads>(rows, values);
  }
}

template <class T, class Policy>
void check_row_softmax(int columns) {
  CAPTURE(columns);
  const Stream stream;
  test::Random random(static_cast<std::uint64_t>(columns));
  const auto x = test::rounded(random.normals(columns, 0, 3), dtype_of<T>);
  const auto reference = test::scale_softmax_reference(x, 1, columns, {-1.5});
  DeviceMatrix<T> in(1, columns), y(1, columns), log_y(1, columns);
  in.set(x);
  const T scale = static_cast<T>(-1.5 * log2e);
  row_softmax_kernel<T, Policy, Output::softmax>
      <<<1, Policy::spec.threads, 0, stream>>>(in.view().data, y.view().data, columns, scale);
  row_softmax_kernel<T, Policy, Output::log_softmax>
      <<<1, Policy::spec.threads, 0, stream>>>(in.view().data, log_y.view().data, columns, scale);
  stream.synchronize();
  CHECK(y.download().intact());
  CHECK(log_y.download().intact());
  test::Findings findings;
  test::compare_into(findings, "softmax", reference, y.download().values(), dtype_of<T>, dtype_of<T>,
                     Output::softmax, columns > 2);
  test::compare_into(findings, "log_softmax", reference, log_y.download().values(), dtype_of<T>, dtype_of<T>,
                     Output::log_softmax, columns > 2);
  for (const test::Finding& f : findings) CHECK_MESSAGE(f.good, f.text);
}

/// Rows of any magnitude through RowSoftmax, each beside an ordinary one: as the first of its object's
/// storage and as the second.
template <class T, class Policy, int cluster = 1>
void check_two_rows(std::int64_t columns) {
  CAPTURE(columns);
  constexpr Dtype dtype = dtype_of<T>;
  constexpr SoftmaxSpec spec = Policy::spec;
  const Stream stream;
  const test::LargeRow ordinary{"ordinary", test::rounded(test::Random(7).normals(columns, 0, 3), dtype)};
  const std::int64_t count = 2 * spec.rows;
  int checked = 0;
  for (const test::LargeRow& row : test::large_rows(dtype, columns)) {
    // The scale is given in log2 units: what is rounded with log2(e) is right where it is exact without.
    if (!row.scale.empty()) continue;
    std::vector<test::LargeReference> references;
    std::vector<double> x;
    for (std::int64_t m = 0; m < count; ++m) {
      const test::LargeRow& r = (m + checked) % 2 == 0 ? row : ordinary;
      references.push_back(test::reference_of(r, dtype));
      x.insert(x.end(), r.x.begin(), r.x.end());
    }
    ++checked;
    DeviceMatrix<T> in(count, columns), y(count, columns), log_y(count, columns);
    in.set(x);
    const LaunchConfig config{
        .blocks = cluster, .block_threads = spec.block_threads(), .stream = stream, .cluster = cluster};
    const T scale = static_cast<T>(log2e);
    launch("two_rows", two_rows_kernel<T, Policy, Output::softmax, (cluster > 1)>, config, in.view_const(),
           y.view(), scale);
    launch("two_rows", two_rows_kernel<T, Policy, Output::log_softmax, (cluster > 1)>, config,
           in.view_const(), log_y.view(), scale);
    stream.synchronize();
    CHECK(y.download().intact());
    CHECK(log_y.download().intact());
    const std::vector<double> got = y.download().values(), log_got = log_y.download().values();
    for (std::int64_t m = 0; m < count; ++m) {
      const std::string wrong =
          test::wrong_with(references[at(m)], got.data() + m * columns, dtype, Output::softmax) +
          test::wrong_with(references[at(m)], log_got.data() + m * columns, dtype, Output::log_softmax);
      CHECK_MESSAGE(wrong.empty(), wrong);
    }
  }
  CHECK(checked > 20);
}

}  // namespace parts
using namespace parts;

TEST_SUITE("device parts") {
  TEST_CASE_TEMPLATE("BlockGemmSimt: small integers have exact sums", G,
                     GemmOf<PolicyFor<shipped_simt(Dtype::f32).m32n64>, 16>,
                     GemmOf<PolicyFor<shipped_simt(Dtype::f32).m32n64>, 4>,
                     GemmOf<PolicyFor<shipped_simt(Dtype::f64).m32n64>, 16>,
                     GemmOf<PolicyFor<shipped_simt(Dtype::f64).m32n64>, 8>,
                     GemmOf<PolicyFor<shipped_simt(Dtype::f16).m32n64>, 16>,
                     GemmOf<PolicyFor<shipped_simt(Dtype::f16).m32n64>, 2>,
                     GemmOf<PolicyFor<shipped_simt(Dtype::bf16).m32n64>, 16>,
                     GemmOf<PolicyFor<shipped_simt(Dtype::bf16).m32n64>, 2>) {
    using Policy = typename G::Policy;
    constexpr PolicySpec spec = Policy::spec;
    using T = DeviceElement<spec.dtype>;
    const Stream stream;
    CAPTURE(spec);
    for (const test::Shape& shape :
         {test::Shape{1, 1, 1}, test::Shape{spec.tile.m, spec.tile.k, spec.tile.n},
          test::Shape{spec.tile.m + 1, spec.tile.k * 5 + 3, spec.tile.n * 2 - 1}}) {
      CAPTURE(shape);
      test::Random random(static_cast<std::uint64_t>(shape.in_features));
      const auto integers = [&](std::int64_t count) {
        return test::Random::many(count, [&] { return static_cast<double>(random.integer(-4, 4)); });
      };
      // 16-byte rows and none; the padding is NaN-free but not zero.
      const bool vectors = G::vector_bytes == 16;
      const std::int64_t stride = vectors ? (shape.in_features + 15) / 8 * 8 : shape.in_features + 1;
      DeviceMatrix<T> x(shape.batch, shape.in_features, stride, vectors ? 0 : 1),
          w(shape.out_features, shape.in_features, stride, vectors ? 0 : 1);
      DeviceMatrix<Accumulator<T>> sums(shape.batch, shape.out_features);
      const auto x_values = integers(shape.batch * shape.in_features),
                 w_values = integers(shape.out_features * shape.in_features);
      x.set(x_values);
      w.set(w_values);
      const dim3 grid(static_cast<unsigned>(ceil_div(shape.out_features, spec.tile.n)),
                      static_cast<unsigned>(ceil_div(shape.batch, spec.tile.m)));
      const auto kernel = gemm_kernel<Policy, G::vector_bytes>;
      test::succeed(
          cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes(spec)));
      kernel<<<grid, spec.block_threads, static_cast<std::size_t>(shared_bytes(spec)), stream>>>(
          x.view(), w.view(), sums.view());
      stream.synchronize();
      std::vector<double> expected;
      for (std::int64_t m = 0; m < shape.batch; ++m) {
        for (std::int64_t n = 0; n < shape.out_features; ++n) {
          double sum = 0;
          for (std::int64_t k = 0; k < shape.in_features; ++k) {
            sum += x_values[at(m, shape.in_features, k)] * w_values[at(n, shape.in_features, k)];
          }
          expected.push_back(2 * sum);
        }
      }
      CHECK(sums.download().intact());
      CHECK(sums.download().values() == expected);
    }
  }

  TEST_CASE("RowReduce: warps as rows, and blocks") {
    check_row_reduce<float, 32>(4);
    check_row_reduce<float, 64>(1);
    check_row_reduce<float, 256>(1);
    check_row_reduce<float, 1024>(1);
    check_row_reduce<double, 32>(4);
    check_row_reduce<double, 1024>(1);
  }

  TEST_CASE("RowSoftmax: any assignment of columns to threads") {
    for (const int columns : {1, 2, 31, 32, 33, 255, 256}) {
      check_row_softmax<float, SoftmaxPolicy<32, 8>>(columns);
      check_row_softmax<float, SoftmaxPolicy<128, 16>>(columns);
      check_row_softmax<double, SoftmaxPolicy<32, 8>>(columns);
    }
    for (const int columns : {257, 2047, 2048}) check_row_softmax<float, SoftmaxPolicy<128, 16>>(columns);
  }

  TEST_CASE("RowSoftmax: rows of any magnitude, a second row, NaN outside, warps, blocks and clusters") {
    for (const std::int64_t columns : {3, 33, 255, 256}) {
      check_two_rows<float, SoftmaxPolicy<32, 8>>(columns);
      check_two_rows<float, SoftmaxPolicy<32, 8, 4>>(columns);
      check_two_rows<float, SoftmaxPolicy<64, 8>>(columns);
      check_two_rows<double, SoftmaxPolicy<32, 8, 4>>(columns);
      check_two_rows<double, SoftmaxPolicy<64, 8>>(columns);
    }
    int device = 0, major = 0;
    test::succeed(cudaGetDevice(&device));
    test::succeed(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
    if (major < 9) return test::skip("RowSoftmax over a cluster: the device has no clusters");
    for (const std::int64_t columns : {300, 1024, 1500}) {
      check_two_rows<float, SoftmaxPolicy<64, 8>, 3>(columns);
      check_two_rows<double, SoftmaxPolicy<64, 8>, 3>(columns);
    }
  }

  TEST_CASE_TEMPLATE("BlockColumnStatistics: mean and m2 without cancellation", T, float, double) {
    const Stream stream;
    for (const std::int64_t rows : {1, 2, 7, 8, 127, 129, 1000}) {
      for (const double offset : {0.0, 3000.0}) {
        CAPTURE(rows);
        CAPTURE(offset);
        const std::int64_t columns = 45;
        test::Random random(static_cast<std::uint64_t>(rows));
        const auto values = test::rounded(random.normals(rows * columns, offset), dtype_of<T>);
        DeviceMatrix<T> x(rows, columns, columns + 3);
        x.set(values);
        const test::DeviceFence out(columns * static_cast<std::int64_t>(sizeof(Moments<T>)));
        column_statistics_test_kernel<T><<<2, BlockColumnStatistics<T>::block_threads, 0, stream>>>(
            x.view(), reinterpret_cast<Moments<T>*>(out.data()));
        stream.synchronize();
        CHECK(out.intact());
        const auto got = download<Moments<T>>(out);
        int wrong_mean = 0, wrong_m2 = 0, wrong_count = 0;
        for (std::int64_t j = 0; j < columns; ++j) {
          long double mean = 0, m2 = 0;
          double magnitude = 0;
          for (std::int64_t m = 0; m < rows; ++m) {
            mean += values[at(m, columns, j)];
            magnitude = std::max(magnitude, std::abs(values[at(m, columns, j)]));
          }
          mean /= rows;
          for (std::int64_t m = 0; m < rows; ++m) m2 += std::pow(values[at(m, columns, j)] - mean, 2.0L);
          const double u = 16 * test::unit_roundoff(dtype_of<T>);
          const Moments<T>& moments = got[at(j)];
          wrong_count += moments.count != rows;
          wrong_mean += !(std::abs(static_cast<double>(moments.mean) - mean) <= u * magnitude);
          // A mean that is off by u * magnitude adds its square for each row; E[z^2] - E[z]^2 would lose
          // u * magnitude^2 of each.
          wrong_m2 += !(std::abs(static_cast<double>(moments.m2) - m2) <=
                        u * (m2 + 2 * magnitude * sqrtl(m2)) +
                            static_cast<double>(rows) * std::pow(u * magnitude, 2));
        }
        CHECK(wrong_count == 0);
        CHECK(wrong_mean == 0);
        CHECK(wrong_m2 == 0);
      }
    }
  }

  TEST_CASE_TEMPLATE("fold_batch_norm is that of the host", T, double, float, __half, __nv_bfloat16) {
    using HostT = HostElement<dtype_of<T>>;
    constexpr Dtype dtype = dtype_of<T>, sums = accumulator_dtype(dtype_of<T>);
    const Stream stream;
    for (const auto& scale : {std::vector<double>{}, {-3}, test::scale_per_feature(65, 1)}) {
      for (const std::int64_t pad : {0, 3}) {
        const test::HeadCase c{.shape = {10, 33, 65}, .scale = scale, .pad = pad, .seed = 2};
        const test::HeadProblem p = test::problem_of(c, dtype);
        test::DeviceProblem<T> problem(p, c);
        DeviceMatrix<T> weight(65, 33, 33 + pad, pad > 0);
        DeviceMatrix<Accumulator<T>> bias(1, 65);
        fold_batch_norm(problem.parameters(), weight.view(), MutableVector(bias.view().data, 65), stream);
        stream.synchronize();
        CHECK(weight.download().intact());
        CHECK(bias.download().intact());

        const test::HostProblem<HostT> host_problem(p, Dtype::f32);
        test::FencedMatrix<HostT> host_weight(65, 33);
        test::FencedMatrix<Accumulator<HostT>> host_bias(1, 65);
        cpu::fold_batch_norm(host_problem.parameters(), host_weight.view(),
                             MutableVector(host_bias.view().data, 65), cpu::Executor(1));
        const auto got = weight.download().values(), expected = host_weight.values();
        const auto got_bias = bias.download().values(), expected_bias = host_bias.values();
        // The same operations, of which the device contracts some: a rounding may fall the other way.
        int wrong = 0, different = 0;
        for (std::size_t i = 0; i < got.size(); ++i) {
          const double allowed =
              2 * test::unit_roundoff(dtype) * std::abs(expected[i]) + 2 * test::absolute_error(dtype);
          wrong += !(std::abs(got[i] - expected[i]) <= allowed);
          different += expected[i] != p.weight[i];
        }
        for (std::size_t n = 0; n < got_bias.size(); ++n) {
          const double magnitude =
              std::abs(p.bias[n] - p.running_mean[n]) * 4 * std::abs(p.gamma[n]) + std::abs(p.beta[n]);
          wrong += !(std::abs(got_bias[n] - expected_bias[n]) <=
                     4 * test::unit_roundoff(sums) * (magnitude * 3 + std::abs(expected_bias[n])));
        }
        CHECK(wrong == 0);
        CHECK(different > 1000);

        // In place, and the folded layer is the head: its softmax passes for the head's.
        fold_batch_norm(problem.parameters(), problem.weight.view(), MutableVector(bias.view().data, 65),
                        stream);
        stream.synchronize();
        CHECK(problem.weight.download().values() == got);
        if constexpr (dtype == sums) {
          test::HeadProblem folded{10, 33, 65, p.x, got, got_bias, {}, {}, {}, {}, {}};
          folded.epsilon = 0;
          test::Findings findings;
          test::compare_into(findings, "folded", test::head_reference(p, false).softmax,
                             test::head_reference(folded, false).softmax.probability, dtype, dtype,
                             Output::softmax, true);
          for (const test::Finding& f : findings) CHECK_MESSAGE(f.good, f.text);
        }
      }
    }
  }

  TEST_CASE("mdspans serve as matrices and vectors, when their last dimension is contiguous") {
    const test::HeadCase c{.shape = {4, 5, 6}, .seed = 3};
    test::DeviceProblem<float> problem(c);
    const Stream stream;
    Head<Precision::fp32> head(problem.parameters(), stream);
    DeviceMatrix<float> expected(4, 6), y(4, 6), y_strided(4, 6, 9);
    head.forward(problem.x.view(), expected.view(), stream);

    using Extents = cuda::std::dextents<std::int64_t, 2>;
    const cuda::std::mdspan<const float, Extents> x(problem.x.view().data, 4, 5);
    const cuda::std::mdspan<float, Extents> packed(y.view().data, 4, 6);
    head.forward(x, Matrix(packed), stream);
    stream.synchronize();
    CHECK(y.download().bytes == expected.download().bytes);

    const auto strided = [](float* data, std::int64_t row_stride, std::int64_t column_stride) {
      return cuda::std::mdspan<float, Extents, cuda::std::layout_stride>(
          data, cuda::std::layout_stride::mapping<Extents>(
                    Extents(4, 6), cuda::std::array<std::int64_t, 2>{row_stride, column_stride}));
    };
    head.forward(x, Matrix<float>(strided(y_strided.view().data, 9, 1)), stream);
    stream.synchronize();
    CHECK(y_strided.download().intact());
    CHECK(y_strided.download().values() == expected.download().values());

    CHECK_THROWS_WITH_AS(head.forward(x, Matrix<float>(strided(y.view().data, 1, 4)), stream),
                         "masthead: mdspan.stride(1) = 4: the last dimension must be contiguous (stride 1)",
                         Error);
    const cuda::std::mdspan<float, cuda::std::dextents<std::int64_t, 1>> factors(
        static_cast<float*>(problem.scale.view().data), 1);
    y.poison();
    scale_softmax(Matrix<const float>(expected.view()), factors, y.view(), stream);
    stream.synchronize();
    const auto comparison = test::compare(
        test::scale_softmax_reference(expected.download().values(), 4, 6, problem.scale.values()),
        y.download().values(), Dtype::f32, Dtype::f32);
    CHECK_MESSAGE(comparison, comparison);
  }
}

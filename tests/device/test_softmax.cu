#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "../support/any_magnitude.hpp"
#include "../support/device.cuh"
#include "masthead/scale_softmax.cuh"

using namespace masthead;
using namespace masthead::detail;
using test::at;
using test::DeviceMatrix;
using test::Finding;
using test::Findings;
using test::Stream;

namespace {

template <class In, class Out>
struct Types {
  using In_ = In;
  using Out_ = Out;
};

using F64 = Types<double, double>;
using F32 = Types<float, float>;
using F16 = Types<__half, __half>;
using BF16 = Types<__nv_bfloat16, __nv_bfloat16>;
using BF16ToF32 = Types<__nv_bfloat16, float>;
using F32ToBF16 = Types<float, __nv_bfloat16>;

struct Case {
  std::int64_t rows, columns;
  std::vector<double> scale = {};
  Dtype scale_dtype = Dtype::f32;
  std::int64_t pad = 0, shift = 0;  // of x and y, in elements
  std::uint64_t seed = 1;
};

std::string to_string(const Case& c) {
  std::ostringstream out;
  out << c.rows << " x " << c.columns << ", scale ";
  if (c.scale.empty()) out << "absent";
  if (c.scale.size() == 1) out << c.scale[0];
  if (c.scale.size() > 1) out << "per feature";
  out << " (" << c.scale_dtype << "), pad " << c.pad << ", shift " << c.shift << ", seed " << c.seed;
  return out.str();
}

/// Calls with the policy the library chooses, or with `Policy`.
template <class Policy, class In, class Out>
void call(const Matrix<const In>& x, const ConstVector& scale, const Matrix<Out>& y, cudaStream_t stream,
          Output output) {
  if constexpr (std::is_void_v<Policy>) {
    scale_softmax(x, scale, y, output, stream);
  } else {
    scale_softmax<Policy>(x, scale, y, output, stream);
  }
}

/// Values exact in In, through the device into a fenced matrix.
template <class In, class Out, class Policy = void>
test::FencedMatrix<HostElement<dtype_of<Out>>> run(const std::vector<double>& x, const Case& c, Output output,
                                                   const Stream& stream) {
  DeviceMatrix<In> in(c.rows, c.columns, c.columns + c.pad, c.shift);
  in.set(x);
  DeviceMatrix<Out> y(c.rows, c.columns, c.columns + c.pad, c.shift);
  const test::DeviceVector scale(c.scale, c.scale_dtype, c.shift);
  call<Policy>(in.view_const(), ConstVector(scale.view()), y.view(), stream, output);
  stream.synchronize();
  return y.download();
}

template <class In, class Out, class Policy = void>
void check_case(const Case& c, Findings& findings) {
  test::Random random(c.seed);
  const auto x = test::rounded(random.normals(c.rows * c.columns, 0, 3), dtype_of<In>);
  const auto reference =
      test::scale_softmax_reference(x, c.rows, c.columns, test::rounded(c.scale, c.scale_dtype));
  const Stream stream;
  for (const Output output : {Output::softmax, Output::log_softmax}) {
    const auto y = run<In, Out, Policy>(x, c, output, stream);
    findings.push_back({y.intact(), "writes beyond y"});
    test::compare_into(findings, std::string(name(output)), reference, y.values(),
                       accumulator_dtype(dtype_of<In>), dtype_of<Out>, output,
                       c.scale.size() > 1 && c.rows * c.columns <= 70'000);
  }
}

/// Every length around the edges of vectors, warps, blocks, clusters and of what they hold.
std::vector<Case> grid() {
  const std::vector<std::int64_t> short_rows = {1,   7,   31,  32,  33,  63,   64,   65,   127,
                                                128, 129, 255, 256, 257, 1000, 1023, 1024, 1025};
  const std::vector<std::int64_t> long_rows = {2048,   2049,   4096,   8191,   8192,   8193,
                                               16384,  16385,  32768,  32769,  65536,  65544,
                                               100000, 128256, 131072, 131080, 262152, 300001};
  test::Random random(test::seed());
  std::vector<Case> cases;
  const auto add = [&](std::int64_t rows, std::int64_t columns) {
    const auto number = static_cast<int>(cases.size());
    const std::vector<double> scales[] = {{}, {1}, {-3}, {0}, {12.5}, random.uniforms(columns, -2, 2)};
    const Dtype dtypes[] = {Dtype::f32, Dtype::f64, Dtype::bf16, Dtype::f16};
    // Aligned, aligned with rows apart, and off alignment in either way.
    const std::int64_t pads[] = {0, 8, 0, 3}, shifts[] = {0, 0, 1, 0};
    cases.push_back({rows, columns, scales[number % 6], dtypes[number % 4], pads[number / 2 % 4],
                     shifts[number / 2 % 4], static_cast<std::uint64_t>(random.integer(1, 1'000'000))});
  };
  for (const std::int64_t columns : short_rows) {
    for (const std::int64_t rows : {1, 2, 3, 133}) {
      if (!test::small_sizes() || rows == 3) add(rows, columns);
    }
  }
  for (const std::int64_t columns : long_rows) {
    if (test::small_sizes() && columns != 8193 && columns != 32769 && columns != 262152) continue;
    for (const std::int64_t rows : {1, 3}) {
      if (!test::small_sizes() || rows == 1) add(rows, columns);
    }
  }
  if (!test::small_sizes()) add(1, 1'000'000);
  return cases;
}

template <class In, class Out, class Policy = void>
void check_all(const std::vector<Case>& cases) {
  test::check_cases(cases, to_string, check_case<In, Out, Policy>);
}

/// Rows of a matrix as the reference has them, against the device.
template <class T>
void check_rows(const std::vector<double>& values, std::int64_t columns, const std::vector<double>& scale,
                const std::vector<bool>& nan_rows, Output output) {
  const Case c{
      .rows = static_cast<std::int64_t>(values.size()) / columns, .columns = columns, .scale = scale};
  const auto x = test::rounded(values, dtype_of<T>);
  const auto reference = test::scale_softmax_reference(x, c.rows, columns, scale);
  const Stream stream;
  const auto y = run<T, T>(x, c, output, stream);
  CHECK(y.intact());
  const std::vector<double> got = y.values();
  const auto comparison = test::compare(reference, got, accumulator_dtype(dtype_of<T>), dtype_of<T>, output);
  CHECK_MESSAGE(comparison, comparison);
  for (std::int64_t m = 0; m < c.rows; ++m) {
    CAPTURE(m);
    CHECK(std::isnan(got[at(m, columns, 0)]) == nan_rows[at(m)]);
  }
}

/// Equal logits of any size cancel exactly, which the bound for their magnitude would not ask for.
void check_constant_row(double magnitude, std::int64_t columns, Output output) {
  CAPTURE(magnitude);
  const Stream stream;
  const auto x = test::rounded(std::vector<double>(at(columns), magnitude), Dtype::f32);
  const auto got = run<float, float>(x, {.rows = 1, .columns = columns}, output, stream).values();
  const double n = static_cast<double>(columns);
  int wrong = 0;
  for (const double v : got) {
    const double error = output == Output::softmax ? v * n - 1 : (v + std::log(n)) / (1 + std::log(n));
    wrong += !(std::abs(error) <= 0x1p-20);
  }
  CHECK(wrong == 0);
}

/// softmax of multiplier * x + addend, in natural units. Vectors of the computation's own type, `shift`
/// elements off alignment. Asserts that columns are moved in the way `expected`.
template <class In, class Out>
test::FencedMatrix<HostElement<dtype_of<Out>>> run_affine(const std::vector<double>& x, const Case& c,
                                                          const std::vector<double>& multiplier,
                                                          const std::vector<double>& addend, Output output,
                                                          std::int64_t shift, ColumnAccess expected,
                                                          const Stream& stream) {
  constexpr Dtype sum = accumulator_dtype(dtype_of<In>);
  DeviceMatrix<In> in(c.rows, c.columns, c.columns + c.pad, c.shift);
  in.set(x);
  DeviceMatrix<Out> y(c.rows, c.columns, c.columns + c.pad, c.shift);
  const test::DeviceVector m(multiplier, sum, shift), a(addend, sum, shift);
  const SoftmaxParams<In, Out> p{.x = in.view_const(),
                                 .y = y.view(),
                                 .multiplier = ConstVector(m.view()),
                                 .addend = ConstVector(a.view()),
                                 .unit = static_cast<Accumulator<In>>(log2e),
                                 .segment = 0};
  CHECK(column_access(p) == expected);
  launch_selected_softmax(p, output, Device::current(stream).limits.architecture, stream);
  stream.synchronize();
  return y.download();
}

/// How a test lays out x, y and the scale, and with that the kernel that runs.
struct Layout {
  const char* name;
  std::int64_t pad, shift;
  bool in_place;
};

/// Rows of any magnitude, those of one scale at a time: every kernel, both outputs.
template <class E, class Policy = void>
void check_any_magnitude(std::int64_t columns) {
  constexpr Dtype dtype = dtype_of<E>;
  std::vector<std::vector<test::LargeRow>> groups;
  const auto add = [&](const test::LargeRow& row) {
    if (groups.empty() || groups.back()[0].scale != row.scale) groups.emplace_back();
    groups.back().push_back(row);
  };
  const std::vector<test::LargeRow> rows = test::large_rows(dtype, columns);
  for (const test::LargeRow& row : rows) add(row);
  // One multiplier per column runs in other kernels than one of all columns: rows without a scale in both.
  for (test::LargeRow row : rows) {
    if (!row.scale.empty()) continue;
    row.scale.assign(at(columns), 1.0);
    add(row);
  }
  const Layout layouts[] = {
      {"aligned", 0, 0, false}, {"in place", 8, 0, true}, {"off alignment", 3, 1, false}};
  const auto name_of = [&](const std::vector<test::LargeRow>& group) {
    return group[0].name + " and " + std::to_string(group.size() - 1) + " more";
  };
  test::check_cases(groups, name_of, [&](const std::vector<test::LargeRow>& group, Findings& findings) {
    const Stream stream;
    const auto count = static_cast<std::int64_t>(group.size());
    std::vector<double> x;
    std::vector<test::LargeReference> references;
    for (const test::LargeRow& row : group) {
      x.insert(x.end(), row.x.begin(), row.x.end());
      references.push_back(test::reference_of(row, dtype));
    }
    for (const Layout& layout : layouts) {
      for (const Output output : {Output::softmax, Output::log_softmax}) {
        DeviceMatrix<E> in(count, columns, columns + layout.pad, layout.shift),
            apart(layout.in_place ? 1 : count, columns, columns + layout.pad, layout.shift);
        in.set(x);
        DeviceMatrix<E>& y = layout.in_place ? in : apart;
        const test::DeviceVector scale(group[0].scale, accumulator_dtype(dtype), layout.shift);
        call<Policy>(in.view_const(), ConstVector(scale.view()), y.view(), stream, output);
        stream.synchronize();
        const auto& result = y.download();
        findings.push_back({result.intact(), std::string(layout.name) + ": writes beyond y"});
        const std::vector<double> got = result.values();
        for (std::int64_t m = 0; m < count; ++m) {
          const std::string wrong =
              test::wrong_with(references[at(m)], got.data() + m * columns, dtype, output);
          findings.push_back({wrong.empty(), wrong + ", " + layout.name + ", " + std::string(name(output))});
        }
      }
    }
  });
}

/// Element (row, column) of the matrices of more than 2^31 elements: small multiples of 1/4, which all types
/// hold.
__host__ __device__ float big_element(std::int64_t row, std::int64_t column) {
  const auto hash = (static_cast<std::uint64_t>(row) * 0x9e3779b97f4a7c15ull +
                     static_cast<std::uint64_t>(column) * 0xd1b54a32d192ed03ull) >>
                    40;
  return static_cast<float>(hash % 23) * 0.25f - 3.0f;
}

template <class T>
__global__ void big_fill_kernel(Matrix<T> x) {
  const std::int64_t count = x.rows * x.columns, step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += step)
    x.data[i] = narrow<T>(big_element(i / x.columns, i % x.columns));
}

/// Counts elements of short rows that are wrong, a thread a row.
template <class T>
__global__ void big_rows_kernel(Matrix<const T> y, float tolerance, unsigned long long* wrong) {
  unsigned long long mine = 0;
  for (std::int64_t row = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; row < y.rows;
       row += std::int64_t{gridDim.x} * blockDim.x) {
    float sum = 0;
    for (std::int64_t j = 0; j < y.columns; ++j) sum += expf(big_element(row, j));
    for (std::int64_t j = 0; j < y.columns; ++j) {
      const float right = expf(big_element(row, j)) / sum;
      mine += !(fabsf(widen(y.data[row * y.columns + j]) - right) <= tolerance * right);
    }
  }
  if (mine > 0) atomicAdd(wrong, mine);
}

/// Counts how many elements of one row have each of big_element's 23 values.
__global__ void big_counts_kernel(std::int64_t columns, unsigned long long* counts) {
  __shared__ unsigned block[23];
  if (threadIdx.x < 23) block[threadIdx.x] = 0;
  __syncthreads();
  for (std::int64_t j = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; j < columns;
       j += std::int64_t{gridDim.x} * blockDim.x)
    atomicAdd(&block[static_cast<int>((big_element(0, j) + 3.0f) * 4.0f)], 1u);
  __syncthreads();
  if (threadIdx.x < 23) atomicAdd(&counts[threadIdx.x], static_cast<unsigned long long>(block[threadIdx.x]));
}

/// Counts elements of one row that are wrong, given the sum of its exponentials.
template <class T>
__global__ void big_columns_kernel(Matrix<const T> y, double sum, float tolerance,
                                   unsigned long long* wrong) {
  unsigned long long mine = 0;
  for (std::int64_t j = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; j < y.columns;
       j += std::int64_t{gridDim.x} * blockDim.x) {
    const float right = static_cast<float>(exp(static_cast<double>(big_element(0, j))) / sum);
    mine += !(fabsf(widen(y.data[j]) - right) <= tolerance * right);
  }
  if (mine > 0) atomicAdd(wrong, mine);
}

/// Softmax of a packed matrix of more than 2^31 elements, checked on the device, element by element.
template <class T>
void check_big(std::int64_t rows, std::int64_t columns) {
  CAPTURE(rows);
  CAPTURE(columns);
  const std::size_t bytes = at(rows * columns) * sizeof(T);
  std::size_t free = 0, total = 0;
  test::succeed(cudaMemGetInfo(&free, &total));
  if (free < 2 * bytes + (std::size_t{1} << 28)) {
    return test::skip("more than 2^31 elements, " + std::to_string(rows) + " x " + std::to_string(columns) +
                      ": the device is short of memory");
  }
  const test::DeviceBytes in(bytes), out(bytes + 256), counters(std::vector<unsigned char>(24 * 8, 0));
  const Stream stream;
  test::succeed(cudaMemsetAsync(out.data(), 0xff, out.size(), stream));
  const Matrix<T> x(reinterpret_cast<T*>(in.data()), rows, columns);
  const Matrix<T> y(reinterpret_cast<T*>(out.data()), rows, columns);
  auto* const counts = reinterpret_cast<unsigned long long*>(counters.data());
  auto* const wrong = counts + 23;
  big_fill_kernel<<<4096, 256, 0, stream>>>(x);
  scale_softmax(Matrix<const T>(x), {}, y, stream);
  const auto tolerance =
      static_cast<float>(0x1p-18 + 1.01 * (sizeof(T) == 2 ? test::unit_roundoff(dtype_of<T>) : 0));
  if (rows > 1) {
    big_rows_kernel<<<4096, 256, 0, stream>>>(Matrix<const T>(y), tolerance, wrong);
  } else {
    big_counts_kernel<<<1024, 256, 0, stream>>>(columns, counts);
    stream.synchronize();
    std::vector<unsigned char> raw(24 * 8);
    counters.download(raw);
    double sum = 0;
    for (int k = 0; k < 23; ++k) {
      std::uint64_t count = 0;
      std::memcpy(&count, raw.data() + k * 8, 8);
      sum += static_cast<double>(count) * std::exp(k * 0.25 - 3.0);
    }
    big_columns_kernel<<<4096, 256, 0, stream>>>(Matrix<const T>(y), sum, tolerance, wrong);
  }
  stream.synchronize();
  std::vector<unsigned char> raw(24 * 8), end(256);
  counters.download(raw);
  std::uint64_t found = 0;
  std::memcpy(&found, raw.data() + 23 * 8, 8);
  CHECK(found == 0);
  test::succeed(cudaMemcpy(end.data(), out.data() + bytes, end.size(), cudaMemcpyDeviceToHost));
  CHECK(end == std::vector<unsigned char>(256, 0xff));
}

__global__ void fill_kernel(__nv_bfloat16* x, std::int64_t count) {
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count;
       i += std::int64_t{gridDim.x} * blockDim.x) {
    const auto hash = static_cast<std::uint32_t>(static_cast<std::uint64_t>(i) * 0x9e3779b97f4a7c15ull >> 40);
    x[i] = __float2bfloat16_rn(static_cast<float>(hash) * 0x1p-22f - 2.0f);
  }
}

}  // namespace

TYPE_TO_STRING_AS("double", F64);
TYPE_TO_STRING_AS("float", F32);
TYPE_TO_STRING_AS("half", F16);
TYPE_TO_STRING_AS("bfloat16", BF16);
TYPE_TO_STRING_AS("bfloat16 to float", BF16ToF32);
TYPE_TO_STRING_AS("float to bfloat16", F32ToBF16);

TEST_SUITE("device softmax") {
  TEST_CASE_TEMPLATE("rows of 1 to 1,000,000 columns, every scale, stride and alignment", T, F64, F32, F16,
                     BF16, BF16ToF32) {
    MESSAGE("MASTHEAD_TEST_SEED=", test::seed());
    check_all<typename T::In_, typename T::Out_>(grid());
  }

  TEST_CASE("explicit policies, for rows shorter and longer than they hold") {
    std::vector<Case> cases;
    for (const std::int64_t columns : {1, 64, 65, 255, 256, 257, 1032, 4095, 4096, 5000, 16384, 40000}) {
      if (test::small_sizes() && columns > 1100) continue;
      cases.push_back({3, columns, test::scale_per_feature(columns, 3), Dtype::f32, 0, 0, 7});
      cases.push_back({3, columns, {1.5}, Dtype::f32, 0, 0, 8});
      cases.push_back({3, columns, {-1.2}, Dtype::f64, 0, 0, 9});
      cases.push_back({3, columns, {1.2}, Dtype::f16, 0, 0, 10});
      cases.push_back({3, columns, {-1.2}, Dtype::bf16, 0, 0, 11});
    }
    check_all<float, float, SoftmaxPolicy<32, 8, 4>>(cases);
    check_all<float, float, SoftmaxPolicy<64, 8>>(cases);
    check_all<float, float, SoftmaxPolicy<64, 16, 1, 16>>(cases);
    check_all<__nv_bfloat16, __nv_bfloat16, SoftmaxPolicy<512, 16>>(cases);
    check_all<__half, __half, SoftmaxPolicy<64, 32, 1, 16>>(cases);
    check_all<float, float, SoftmaxPolicy<64, 16, 1, 16, true>>(cases);
    check_all<__nv_bfloat16, __nv_bfloat16, SoftmaxPolicy<64, 64, 1, 0, true>>(cases);
  }

  TEST_CASE_TEMPLATE("in place gives the same bits as apart", T, F64, F32, F16, BF16) {
    using E = typename T::In_;
    const Stream stream;
    for (const std::int64_t columns : {1, 65, 1024, 5000, 33000, 128256, 270000}) {
      if (test::small_sizes() && columns > 2000) continue;
      CAPTURE(columns);
      test::Random random(static_cast<std::uint64_t>(columns));
      const auto x = random.normals(3 * columns, 0, 2);
      for (const Output output : {Output::softmax, Output::log_softmax}) {
        DeviceMatrix<E> apart(3, columns, columns + 8), in(3, columns, columns + 8),
            both(3, columns, columns + 8);
        in.set(x);
        both.set(x);
        const test::DeviceVector scale({1.5}, Dtype::f32);
        scale_softmax(in.view_const(), ConstVector(scale.view()), apart.view(), output, stream);
        scale_softmax(both.view_const(), ConstVector(scale.view()), both.view(), output, stream);
        CHECK(both.download().bytes == apart.download().bytes);
        CHECK(both.download().intact());
      }
    }
  }

  TEST_CASE_TEMPLATE("a row's bits are the same over 20 runs and depend on no other row", T, F64, F32, F16,
                     BF16) {
    using E = typename T::In_;
    const Stream stream;
    for (const std::int64_t columns : {100, 1000, 9000, 40000, 100000, 300001}) {
      if (test::small_sizes() && columns > 2000) continue;
      CAPTURE(columns);
      const std::int64_t rows = columns > 9000 ? 5 : 133;
      test::Random random(3);
      const auto x = test::rounded(random.normals(rows * columns), dtype_of<E>);
      const Case c{.rows = rows, .columns = columns, .scale = {2}};
      const auto all = run<E, E>(x, c, Output::softmax, stream);
      for (int i = 0; i < 20; ++i) {
        const auto again = run<E, E>(x, c, Output::softmax, stream);
        CHECK(again.bytes == all.bytes);
      }
      for (const std::int64_t count : {1, 2, 3}) {
        for (const std::int64_t first : {std::int64_t{0}, rows / 2, rows - count}) {
          const std::vector<double> part_x(x.begin() + first * columns,
                                           x.begin() + (first + count) * columns);
          const auto part =
              run<E, E>(part_x, {.rows = count, .columns = columns, .scale = {2}}, Output::softmax, stream);
          for (std::int64_t m = 0; m < count; ++m) CHECK(part.row_bytes(m) == all.row_bytes(first + m));
        }
      }
    }
  }

  TEST_CASE_TEMPLATE("alignment does not change the bits of rows of up to 65536 columns", T, F64, F32, F16,
                     BF16) {
    using E = typename T::In_;
    const Stream stream;
    test::Random random(4);
    for (const std::int64_t columns : {64, 1000, 1024, 8192, 16384, 40000, 65536}) {
      if (test::small_sizes() && columns > 2000) continue;
      CAPTURE(columns);
      const auto x = test::rounded(random.normals(5 * columns, 0, 2), dtype_of<E>);
      for (const Output output : {Output::softmax, Output::log_softmax}) {
        const auto aligned = run<E, E>(x, {.rows = 5, .columns = columns, .scale = {-2}}, output, stream);
        const auto off = run<E, E>(x, {.rows = 5, .columns = columns, .scale = {-2}, .pad = 3, .shift = 1},
                                   output, stream);
        for (std::int64_t m = 0; m < 5; ++m) CHECK(aligned.row_bytes(m) == off.row_bytes(m));
      }
    }
  }

  TEST_CASE_TEMPLATE("multiplier and addend per column: read whole or one by one, the same bits", T, F64, F32,
                     F16, BF16ToF32, F32ToBF16) {
    using In = typename T::In_;
    using Out = typename T::Out_;
    const Stream stream;
    for (const std::int64_t columns : {8, 264, 1001, 4096, 8200, 33000, 262152}) {
      if (test::small_sizes() && columns > 1001) continue;
      CAPTURE(columns);
      const Case c{.rows = 3, .columns = columns, .pad = columns == 4096 ? 8 : 0};
      test::Random random(static_cast<std::uint64_t>(columns));
      const auto x = test::rounded(random.normals(c.rows * columns, 0, 2), dtype_of<In>);
      const auto multiplier = test::rounded(random.uniforms(columns, -2, 2), Dtype::f32);
      const auto some = test::rounded(random.normals(columns, 0, 2), Dtype::f32);
      for (const auto& addend : {std::vector<double>{}, some}) {
        std::vector<double> logits(x.size());
        for (std::int64_t i = 0; i < c.rows * columns; ++i) {
          logits[at(i)] =
              x[at(i)] * multiplier[at(i % columns)] + (addend.empty() ? 0 : addend[at(i % columns)]);
        }
        const auto reference =
            test::softmax_reference(logits, c.rows, columns, std::vector<double>(x.size(), 0.0));
        const auto vectors = columns % 8 == 0 ? ColumnAccess::affine_vectors : ColumnAccess::elements;
        for (const Output output : {Output::softmax, Output::log_softmax}) {
          const auto whole = run_affine<In, Out>(x, c, multiplier, addend, output, 0, vectors, stream);
          const auto one_by_one =
              run_affine<In, Out>(x, c, multiplier, addend, output, 1, ColumnAccess::elements, stream);
          CHECK(whole.intact());
          Findings findings;
          test::compare_into(findings, std::string(name(output)), reference, whole.values(),
                             accumulator_dtype(dtype_of<In>), dtype_of<Out>, output, columns <= 8200);
          for (const Finding& finding : findings) CHECK_MESSAGE(finding.good, finding.text);
          CHECK(whole.bytes == one_by_one.bytes);
        }
      }
    }
  }

  TEST_CASE_TEMPLATE("NaN, +inf, -inf and rows of -inf give what torch.softmax gives", T, F64, F32, F16,
                     BF16) {
    using E = typename T::In_;
    const double inf = std::numeric_limits<double>::infinity();
    // torch gives NaN throughout for rows 1, 2, 4 and 5, and 0 for the -inf of row 3.
    const std::vector<double> three = {1,    2,    3,     //
                                       1,    NAN,  3,     //
                                       1,    inf,  3,     //
                                       1,    -inf, 3,     //
                                       -inf, -inf, -inf,  //
                                       inf,  inf,  -inf,  //
                                       -0.0, 0.0,  0.0};
    const std::vector<bool> nan_rows = {false, true, true, false, true, true, false};
    for (const std::int64_t columns : {3, 8, 1000, 1024, 40000, 100000, 300000}) {
      if (test::small_sizes() && columns > 2000) continue;
      CAPTURE(columns);
      // The special value is the last column, all others are its row's first.
      std::vector<double> x;
      for (std::size_t m = 0; m < nan_rows.size(); ++m) {
        x.insert(x.end(), at(columns - 2), three[3 * m]);
        x.push_back(three[3 * m + 2]);
        x.push_back(three[3 * m + 1]);
      }
      for (const Output output : {Output::softmax, Output::log_softmax}) {
        check_rows<E>(x, columns, {}, nan_rows, output);
      }
    }
  }

  TEST_CASE_TEMPLATE("rows of any magnitude whose products are finite", T, F64, F32, F16, BF16) {
    for (const std::int64_t columns : {1, 5, 8, 300, 3000, 12288, 100000, 200000}) {
      if (test::small_sizes() && columns > 300) continue;
      check_any_magnitude<typename T::In_>(columns);
    }
  }

  TEST_CASE("rows of any magnitude with explicit policies") {
    for (const std::int64_t columns : {64, 1000, 4096, 9000}) {
      if (test::small_sizes() && columns > 1000) continue;
      check_any_magnitude<float, SoftmaxPolicy<32, 8>>(columns);
      check_any_magnitude<float, SoftmaxPolicy<32, 8, 4>>(columns);
      check_any_magnitude<__nv_bfloat16, SoftmaxPolicy<64, 16, 1, 16>>(columns);
      check_any_magnitude<double, SoftmaxPolicy<64, 8>>(columns);
    }
  }

  TEST_CASE("logits of 1e4, constant rows, subnormal logits and 2^29") {
    for (const std::int64_t columns : {65, 1024, 40000}) {
      if (test::small_sizes() && columns > 2000) continue;
      CAPTURE(columns);
      for (const Output output : {Output::softmax, Output::log_softmax}) {
        for (const double magnitude : {1e4, -1e4, 5e8, 1e-39, -1e-44}) {
          CAPTURE(magnitude);
          std::vector<double> x;
          for (int j = 0; j < columns; ++j) x.push_back(magnitude * (1 - j % 65 * 1e-4));
          x.insert(x.end(), at(columns), magnitude);
          check_rows<float>(x, columns, {}, {false, false}, output);
        }
        for (const double magnitude : {1e4, -1e4, 5e8, -5e8}) check_constant_row(magnitude, columns, output);
        std::vector<double> both_signs;
        for (int j = 0; j < columns; ++j) both_signs.push_back(j % 2 ? 1e4 : -1e4);
        check_rows<float>(both_signs, columns, {}, {false}, output);
        check_rows<float>(std::vector<double>(at(columns), 7), columns, {0}, {false}, output);
      }
    }
  }

  TEST_CASE("a column at the end of the range is masked, whatever the others are") {
    for (const std::int64_t columns : {65, 40000}) {
      if (test::small_sizes() && columns > 2000) continue;
      std::vector<double> x;
      for (int j = 0; j < columns; ++j) x.push_back(j % 3 ? 1.0 : -3.4028234e38);
      check_rows<float>(test::rounded(x, Dtype::f32), columns, {}, {false}, Output::softmax);
    }
  }

  TEST_CASE("100000 equal columns are exact to float") {
    const std::vector<double> x(100000, 1);
    const Stream stream;
    const auto got = run<float, float>(x, {.rows = 1, .columns = 100000}, Output::softmax, stream).values();
    for (const double p : {got.front(), got[31337], got.back()}) CHECK(std::abs(p * 1e5 - 1) < 2.4e-7);
  }

  TEST_CASE("the scale is read when the kernel runs: graph replay after x and scale changed") {
    const std::int64_t rows = 9, columns = 1000;
    const Stream stream;
    DeviceMatrix<float> x(rows, columns), y(rows, columns);
    test::DeviceVector scale({2}, Dtype::f32);
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    test::succeed(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    scale_softmax(x.view_const(), ConstVector(scale.view()), y.view(), stream);
    test::succeed(cudaStreamEndCapture(stream, &graph));
    test::succeed(cudaGraphInstantiate(&executable, graph, 0));
    for (const double factor : {2.0, -3.0, 0.0}) {
      CAPTURE(factor);
      test::Random random(static_cast<std::uint64_t>(factor + 10));
      const auto values = test::rounded(random.normals(rows * columns), Dtype::f32);
      x.set(values);
      scale.set({factor});
      y.poison();
      test::succeed(cudaGraphLaunch(executable, stream));
      stream.synchronize();
      const auto fresh = run<float, float>(values, {.rows = rows, .columns = columns, .scale = {factor}},
                                           Output::softmax, stream);
      CHECK(y.download().bytes == fresh.bytes);
      const auto comparison = test::compare(test::scale_softmax_reference(values, rows, columns, {factor}),
                                            fresh.values(), Dtype::f32, Dtype::f32);
      CHECK_MESSAGE(comparison, comparison);
    }
    test::succeed(cudaGraphExecDestroy(executable));
    test::succeed(cudaGraphDestroy(graph));
  }

  TEST_CASE("a pending error of the caller's stays pending") {
    if (test::small_sizes()) {
      return test::skip("a CUDA call that fails on purpose: compute-sanitizer would report it");
    }
    const Stream stream;
    DeviceMatrix<float> x(3, 70), y(3, 70);
    x.set(std::vector<double>(210, 1));
    void* none = nullptr;
    const cudaError_t pending = cudaMalloc(&none, std::size_t{1} << 60);
    REQUIRE(pending == cudaErrorMemoryAllocation);
    CHECK_NOTHROW(scale_softmax(x.view_const(), ConstVector(), y.view(), stream));
    CHECK(cudaGetLastError() == pending);
    CHECK(cudaPeekAtLastError() == cudaSuccess);
    CHECK(y.download().values() != std::vector<double>(210, 0.0));
    CHECK_FALSE(y.download().untouched());
  }

  TEST_CASE("more than 2^31 elements, each of them checked: short rows") {
    if (test::small_sizes()) {
      return test::skip("more than 2^31 elements: not under MASTHEAD_TEST_SMALL");
    }
    check_big<float>(std::int64_t{1} << 28, 9);
    check_big<__nv_bfloat16>((std::int64_t{1} << 31) + 1000, 2);
    check_big<__nv_bfloat16>((std::int64_t{1} << 31) - 1, 3);
    check_big<__nv_bfloat16>((std::int64_t{1} << 31) + 7, 1);
    check_big<__half>((std::int64_t{1} << 28) + 3, 8);  // in whole vectors
  }

  TEST_CASE("more than 2^31 elements, each of them checked: one row") {
    if (test::small_sizes()) {
      return test::skip("more than 2^31 elements: not under MASTHEAD_TEST_SMALL");
    }
    check_big<__nv_bfloat16>(1, (std::int64_t{1} << 31) + 9);
    check_big<__nv_bfloat16>(1, (std::int64_t{1} << 31) + 16);  // in whole vectors
  }

  TEST_CASE("more than 2^31 elements") {
    if (test::small_sizes()) {
      return test::skip("more than 2^31 elements: not under MASTHEAD_TEST_SMALL");
    }
    const std::int64_t columns = 1024, rows = (std::int64_t{1} << 31) / columns + 3, count = rows * columns;
    std::size_t free = 0, total = 0;
    test::succeed(cudaMemGetInfo(&free, &total));
    if (free < at(count) * 4 + (std::size_t{1} << 28)) {
      return test::skip("more than 2^31 elements: the device is short of memory");
    }
    const test::DeviceBytes in(at(count) * 2), out(at(count) * 2 + 256);
    const Stream stream;
    test::succeed(cudaMemsetAsync(out.data(), 0xff, out.size(), stream));
    fill_kernel<<<4096, 256, 0, stream>>>(reinterpret_cast<__nv_bfloat16*>(in.data()), count);
    scale_softmax(
        Matrix<const __nv_bfloat16>(reinterpret_cast<const __nv_bfloat16*>(in.data()), rows, columns), {},
        Matrix<__nv_bfloat16>(reinterpret_cast<__nv_bfloat16*>(out.data()), rows, columns), stream);
    stream.synchronize();
    std::vector<unsigned char> x_row(at(columns) * 2), y_row(at(columns) * 2), end(256);
    for (const std::int64_t m : {std::int64_t{0}, std::int64_t{1}, rows / 2 - 1, rows / 2, rows - 5, rows - 4,
                                 rows - 3, rows - 2, rows - 1}) {
      CAPTURE(m);
      test::succeed(
          cudaMemcpy(x_row.data(), in.data() + at(m) * x_row.size(), x_row.size(), cudaMemcpyDeviceToHost));
      test::succeed(
          cudaMemcpy(y_row.data(), out.data() + at(m) * y_row.size(), y_row.size(), cudaMemcpyDeviceToHost));
      const auto reference =
          test::scale_softmax_reference(test::to_doubles({Dtype::bf16, x_row}), 1, columns, {});
      const auto comparison =
          test::compare(reference, test::to_doubles({Dtype::bf16, y_row}), Dtype::f32, Dtype::bf16);
      CHECK_MESSAGE(comparison, comparison);
    }
    test::succeed(cudaMemcpy(end.data(), out.data() + at(count) * 2, end.size(), cudaMemcpyDeviceToHost));
    CHECK(end == std::vector<unsigned char>(256, 0xff));
  }
}

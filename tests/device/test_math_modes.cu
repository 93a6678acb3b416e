#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "../support/device_problem.cuh"
#include "../support/quantized.hpp"

using namespace masthead;
using namespace masthead::detail;
using test::at;
using test::DeviceBytes;
using test::DeviceMatrix;
using test::Stream;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

bool runs_packed() {
  const Device device = Device::current(cudaStream_t{});
  if (!check_compiled_for_sm90a(shipped_wgmma(MathMode::f16x3, Dtype::f32).m128, device)) {
    return true;
  }
  test::skip("packed operands: not sm_90a");
  return false;
}

/// A matrix packed on the device, and its bytes.
template <MathMode math_mode, class T>
struct Packed {
  PackedLayout layout;
  DeviceBytes memory;

  Packed(const Matrix<const T>& source, const int* other, const Stream& stream)
      : layout{math_mode, source.rows, source.columns}, memory(at(*layout.bytes())) {
    test::succeed(cudaMemsetAsync(memory.data(), 0xff, memory.size(), stream));
    pack_operand<math_mode>(source, layout.at(memory.data()), other, stream);
    stream.synchronize();
  }
  PackedMatrix view() const { return layout.at(memory.data()); }
  std::vector<unsigned char> bytes() const {
    std::vector<unsigned char> all(memory.size());
    memory.download(all);
    return all;
  }
};

template <class V>
V value_at(const std::vector<unsigned char>& bytes, std::int64_t offset) {
  V value;
  std::memcpy(&value, bytes.data() + offset, sizeof(V));
  return value;
}

/// Rows of every kind there is.
std::vector<double> special_rows(std::int64_t rows, std::int64_t columns, Dtype dtype) {
  test::Random random(5);
  std::vector<double> values = random.normals(rows * columns);
  const auto row = [&](std::int64_t r, const std::function<double(std::int64_t, double)>& change) {
    for (std::int64_t k = 0; k < columns; ++k) {
      values[test::at(r, columns, k)] = change(k, values[test::at(r, columns, k)]);
    }
  };
  row(1, [](auto, auto) { return 0.0; });
  row(2, [](auto k, auto v) { return std::ldexp(v, k % 2 == 0 ? -149 : -147); });
  row(3, [](auto k, auto v) { return k == 0 ? FLT_MAX : v * 0x1p125; });
  row(4, [](auto k, auto v) { return std::ldexp(v, static_cast<int>(k % 41) - 20); });
  row(5, [](auto k, auto v) { return k == 3 ? inf : v; });
  row(6, [](auto k, auto v) { return k == 2 ? std::nan("") : k == 4 ? -inf : v; });
  row(7, [](auto k, auto v) { return k == 1 ? -448.0 : std::trunc(v * 64); });
  row(8, [](auto k, auto v) { return k == 1 ? 32768 : v; });
  return test::rounded(values, dtype);
}

/// What pack_operand has to leave, element by element by numeric/split.hpp.
template <MathMode math_mode, class T>
void check_packed(std::int64_t columns, std::int64_t pad, std::int64_t shift, bool other_infinite) {
  CAPTURE(columns);
  CAPTURE(other_infinite);
  const std::int64_t rows = 13;
  const std::vector<double> values = special_rows(rows, columns, dtype_of<T>);
  DeviceMatrix<T> source(rows, columns, columns + pad, shift);
  source.set(values);
  const Stream stream;
  const std::vector<unsigned char> flag_bytes = {other_infinite, 0, 0, 0};
  const DeviceBytes flag(flag_bytes);
  const auto* other = other_infinite ? reinterpret_cast<const int*>(flag.data()) : nullptr;
  const Packed<math_mode, T> packed(source.view(), other, stream);
  const PackedLayout& layout = packed.layout;
  const std::vector<unsigned char> bytes = packed.bytes();
  std::int64_t wrong = 0;
  for (std::int64_t r = 0; r < rows; ++r) {
    std::uint32_t largest = 0;
    for (std::int64_t k = 0; k < columns; ++k) {
      largest = std::max(largest, finite_magnitude(static_cast<float>(values[test::at(r, columns, k)])));
    }
    const int exponent = row_exponent(math_mode, largest);
    if constexpr (has_f16_parts(math_mode)) {
      const auto scale = value_at<PowerPair>(bytes, layout.scale_offset() + r * 8);
      wrong += scale.first != PowerPair::of(exponent).first || scale.second != PowerPair::of(exponent).second;
    } else {
      wrong += value_at<float>(bytes, layout.scale_offset() + r * 4) != std::ldexp(1.0f, exponent);
    }
    const std::int64_t row = r * layout.row_bytes();
    for (std::int64_t k = 0; k < layout.part_bytes() / layout.element_bytes(); ++k) {
      const float value = k < columns ? static_cast<float>(values[test::at(r, columns, k)]) : 0.0f;
      const float scaled = PowerPair::of(-exponent).times(value);
      if constexpr (math_mode == MathMode::f16x3) {
        const HalfPair pair = other_infinite ? split_keeping_sign(value, scaled) : split(scaled);
        const auto hi = value_at<std::uint16_t>(bytes, row + 2 * k),
                   lo = value_at<std::uint16_t>(bytes, row + layout.part_bytes() + 2 * k);
        const bool same_hi = std::isnan(value) ? (hi & 0x7fff) > 0x7c00 : hi == pair.hi;
        wrong += !same_hi || lo != pair.lo;
      } else if constexpr (math_mode == MathMode::f16) {
        const auto bits = value_at<std::uint16_t>(bytes, row + 2 * k);
        wrong +=
            std::isnan(value) ? (bits & 0x7fff) <= 0x7c00 : bits != half_bits(kept_from_zero(value, scaled));
      } else {
        const auto code = value_at<std::uint8_t>(bytes, row + k);
        wrong += (code & 0x7f) == 0x7f ? (e4m3_bits(scaled) & 0x7f) != 0x7f : code != e4m3_bits(scaled);
      }
    }
  }
  CHECK(wrong == 0);
  if (math_mode == MathMode::f16x3 && !other_infinite) CHECK(value_at<int>(bytes, layout.flag_offset()) == 1);
}

/// x W^T by the engine, from operands packed for it.
template <class Policy, class T>
std::vector<double> sums(DeviceMatrix<T>& x, DeviceMatrix<T>& weight) {
  constexpr MathMode math_mode = Policy::spec.math_mode;
  const Stream stream;
  const Packed<math_mode, T> of_weight(weight.view(), nullptr, stream);
  const Packed<math_mode, T> of_x(x.view(),
                                  math_mode == MathMode::f16x3 ? of_weight.view().infinite : nullptr, stream);
  DeviceMatrix<float> y(x.view().rows, weight.view().rows);
  Parameters<T> parameters;
  parameters.weight = weight.view();
  const DeviceLimits limits = Device::current(stream).limits;
  ForwardPlan plan = plan_forward(Policy::spec,
                                  {.batch = x.view().rows,
                                   .in_features = x.view().columns,
                                   .out_features = weight.view().rows,
                                   .mode = Mode::training},
                                  limits);
  plan.workspace.packed_x.offset = 0;  // x is packed already, to see its bytes
  plan.workspace.moments.offset = of_x.layout.bytes().value();
  plan.workspace.center.offset =
      ceil_div(plan.workspace.moments.offset + plan.workspace.moments.bytes, 256) * 256;
  const DeviceBytes workspace(at(plan.workspace.center.offset + plan.workspace.center.bytes));
  launch_linear_two_pass<MomentsEnd<Policy>>(
      plan,
      ForwardCall<T, float>{
          .arguments = {x.view(), parameters, y.view()},
          .mode = Mode::training,
          .stream = stream,
          .architecture = limits.architecture,
          .workspace = workspace.data(),
          .packed_x = {},
          .packed_weight = of_weight.view(),
          .update = {.running_mean = {}, .running_var = {}, .momentum = 0, .batches_tracked = nullptr}},
      y.view());
  stream.synchronize();
  CHECK(y.download().intact());
  return y.download().values();
}

struct Errors {
  double relative_l2 = 0;
  double of_bound = 0;  ///< the largest error as a part of its bound
  std::int64_t not_finite = 0;
};

/// Compares with the exact sums of float operands; where those are not finite floats, results must be the
/// same.
Errors errors(const std::vector<double>& x, const std::vector<double>& w, const std::vector<double>& got,
              std::int64_t k_count) {
  const std::int64_t m_count = static_cast<std::int64_t>(x.size()) / k_count,
                     n_count = static_cast<std::int64_t>(w.size()) / k_count;
  const auto largest = [&](const std::vector<double>& v, std::int64_t r) {
    double most = 0;
    for (std::int64_t k = 0; k < k_count; ++k) {
      const double value = std::abs(v[test::at(r, k_count, k)]);
      if (std::isfinite(value)) most = std::max(most, value);
    }
    return most;
  };
  Errors e;
  double squares = 0, truth = 0;
  for (std::int64_t m = 0; m < m_count; ++m) {
    for (std::int64_t n = 0; n < n_count; ++n) {
      double sum = 0, magnitude = 0;
      for (std::int64_t k = 0; k < k_count; ++k) {
        const double product = x[test::at(m, k_count, k)] * w[test::at(n, k_count, k)];
        sum += product;
        magnitude += std::abs(product);
      }
      const double is = got[test::at(m, n_count, n)];
      if (!std::isfinite(sum) || std::abs(sum) > FLT_MAX) {
        const bool same =
            std::isnan(sum) ? std::isnan(is) : std::isinf(is) && std::signbit(is) == std::signbit(sum);
        e.not_finite += !same;
        continue;
      }
      const double bound = 0x1p-20 * magnitude +
                           0x1p-37 * static_cast<double>(k_count) * largest(x, m) * largest(w, n) + 0x1p-148;
      const double error = std::isnan(is) ? inf : std::abs(is - sum);
      e.of_bound = std::max(e.of_bound, error / bound);
      squares += error * error;
      truth += sum * sum;
    }
  }
  e.relative_l2 = std::sqrt(squares / truth);
  return e;
}

using M128 = PolicyFor<shipped_wgmma(MathMode::f16x3, Dtype::f32).m128>;
using M64 = PolicyFor<shipped_wgmma(MathMode::f16x3, Dtype::f32).m64>;
using M128E4m3 = PolicyFor<shipped_wgmma(MathMode::e4m3, Dtype::bf16).m128>;
using M64E4m3 = PolicyFor<shipped_wgmma(MathMode::e4m3, Dtype::bf16).m64>;

}  // namespace

TEST_SUITE("device math modes") {
  TEST_CASE("packed operands are what the host's arithmetic says, for rows of every kind and length") {
    for (const std::int64_t columns : {5, 64, 257, 1024, 1032, 8192, 9001}) {
      for (const std::int64_t pad : {0, 3, 8}) {
        check_packed<MathMode::f16x3, float>(columns, pad, pad == 3, false);
        check_packed<MathMode::f16x3, float>(columns, pad, pad == 3, true);
        check_packed<MathMode::f16, float>(columns, pad, pad == 3, false);
        check_packed<MathMode::e4m3, __nv_bfloat16>(columns, pad, pad == 3, false);
      }
    }
  }

  TEST_CASE("f16x3: sums within their bound of the exact ones, whatever the data") {
    if (!runs_packed()) return;
    const std::int64_t m = 70, n = 136;
    for (const std::int64_t k : {1, 5, 64, 72, 500, test::small_sizes() ? 600 : 4096}) {
      CAPTURE(k);
      test::Random random(k + std::uint64_t{3});
      const std::vector<double> normal = random.normals(n * k), wide = random.log_uniforms(n * k, -24, 0);
      std::vector<double> signs = random.normals(n * k);
      const std::pair<std::string, std::function<double(std::int64_t)>> kinds[] = {
          {"normal", [&](std::int64_t i) { return normal[at(i)]; }},
          {"uniform", [&](std::int64_t i) { return std::abs(std::fmod(normal[at(i)], 1)); }},
          {"log-uniform over 2^24", [&](std::int64_t i) { return std::copysign(wide[at(i)], signs[at(i)]); }},
          {"an outlier of 2^15 a row",
           [&](std::int64_t i) { return i % k == i / k % k ? 0x1p15 : normal[at(i)]; }},
          {"denormal", [&](std::int64_t i) { return std::ldexp(normal[at(i)], -130); }},
          {"large", [&](std::int64_t i) { return std::ldexp(normal[at(i)], 60); }},
          {"over 2^40",
           [&](std::int64_t i) { return std::ldexp(normal[at(i)], static_cast<int>(i % 41) - 20); }},
      };
      for (const auto& [kind, value] : kinds) {
        CAPTURE(kind);
        std::vector<double> x, w;
        for (std::int64_t i = 0; i < m * k; ++i) x.push_back(value(i));
        for (std::int64_t i = 0; i < n * k; ++i) w.push_back(value(n * k - 1 - i));
        // A denormal sum has no relative accuracy: its operands meet ordinary ones.
        if (kind == "denormal") w = normal;
        x = test::rounded(x, Dtype::f32), w = test::rounded(w, Dtype::f32);
        DeviceMatrix<float> device_x(m, k, k + 3, 1), device_w(n, k);
        device_x.set(x), device_w.set(w);
        const std::vector<double> tall = sums<M128>(device_x, device_w), low = sums<M64>(device_x, device_w);
        CHECK(tall == low);
        const Errors e = errors(x, w, tall, k);
        CHECK(e.of_bound <= 1);
        CHECK(e.not_finite == 0);
        if (kind == "normal" || kind == "uniform") CHECK(e.relative_l2 < 4e-7);
        if (k == 1) continue;
        std::vector<double> shifted = tall;
        std::rotate(shifted.begin(), shifted.begin() + 1, shifted.end());
        CHECK_FALSE(errors(x, w, shifted, k).of_bound <= 1);
      }
    }
  }

  TEST_CASE("f16x3: rows of zeros, denormals, FLT_MAX, infinities and NaN") {
    if (!runs_packed()) return;
    const std::int64_t k = 72;
    const std::vector<double> w = special_rows(140, k, Dtype::f32);
    std::vector<double> x = special_rows(20, k, Dtype::f32);
    // A row of x that is not finite is a row without a softmax: here it need only stay among its own.
    for (const std::int64_t r : {5, 6}) std::fill_n(x.begin() + r * k, k, 0.5);
    DeviceMatrix<float> device_x(20, k), device_w(140, k);
    device_x.set(x), device_w.set(w);
    const Errors e = errors(x, w, sums<M128>(device_x, device_w), k);
    CHECK(e.of_bound <= 1);
    CHECK(e.not_finite == 0);
    x[at(5, k, 7)] = inf, x[at(6, k, 7)] = std::nan("");
    device_x.set(x);
    const std::vector<double> got = sums<M128>(device_x, device_w);
    for (std::int64_t n = 0; n < 140; ++n) {
      CHECK_FALSE(std::isfinite(got[at(5, 140, n)]));
      CHECK(std::isnan(got[at(6, 140, n)]));
    }
    CHECK(std::isfinite(got[at(4, 140, 0)]));
    CHECK(std::isfinite(got[at(7, 140, 0)]));
  }

  TEST_CASE("e4m3: sums close to the exact product of the quantized operands") {
    if (!runs_packed()) return;
    const std::int64_t m = 70, n = 136;
    for (const std::int64_t k : {1, 16, 130, test::small_sizes() ? 600 : 4096}) {
      CAPTURE(k);
      test::Random random(k + std::uint64_t{4});
      const std::vector<double> x = test::rounded(random.normals(m * k), Dtype::bf16),
                                w = test::rounded(random.normals(n * k), Dtype::bf16);
      DeviceMatrix<__nv_bfloat16> device_x(m, k, k + 3, 1), device_w(n, k);
      device_x.set(x), device_w.set(w);
      const std::vector<double> tall = sums<M128E4m3>(device_x, device_w);
      CHECK(tall == sums<M64E4m3>(device_x, device_w));
      const Errors e = errors(test::quantized_rows(x, k).values, test::quantized_rows(w, k).values, tall, k);
      CHECK(e.relative_l2 < 2e-4);
      CHECK(e.not_finite == 0);
      CHECK(errors(x, w, tall, k).relative_l2 < 0.05);
      CHECK(errors(x, w, tall, k).relative_l2 > 1e-3);  // and it was quantized
    }
  }
}

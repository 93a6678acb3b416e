#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "../support/compare.hpp"
#include "../support/fuzz_cases.hpp"
#include "../support/fuzz_host.hpp"
#include "../support/fuzz_judge.hpp"
#include "../support/quantized.hpp"
#include "masthead/cpu/head.hpp"
#include "masthead/cpu/softmax.hpp"

using namespace masthead;
using namespace test::fuzz;
using test::at;

namespace {

std::string text_of(const Case& c) {
  std::ostringstream out;
  out << c;
  return out.str();
}

template <class T, class Y>
void softmax_into(HostMemory& memory, const cpu::Executor& executor) {
  cpu::scale_softmax(Matrix<const T>(memory.x.view<T>()), std::as_const(memory.scale).view(),
                     memory.y.view<Y>(), executor, memory.c.output);
}

template <Precision precision, class Y>
void head_into(HostMemory& memory, const cpu::Executor& executor) {
  using Head = cpu::Head<precision>;
  using T = typename Head::Element;
  const Case& c = memory.c;
  memory.set_reference(false, MathMode::plain);
  const auto view = [](const test::Elements& elements) { return elements.view(); };
  const Parameters<T> parameters{.weight = Matrix<const T>(memory.weight.view<T>()),
                                 .bias = view(memory.bias),
                                 .gamma = view(memory.gamma),
                                 .beta = view(memory.beta),
                                 .running_mean = view(memory.mean),
                                 .running_var = view(memory.var),
                                 .scale = view(memory.scale),
                                 .epsilon = epsilons[c.epsilon]};
  const Head head(parameters, executor);
  const Matrix<const T> x = memory.x.view<T>();
  if (c.training()) {
    head.forward_training(x, memory.y.view<Y>(), {.output = c.output}, executor);
  } else {
    head.forward(x, memory.y.view<Y>(), {.output = c.output}, executor);
  }
}

template <Precision precision>
void head_on_cpu(HostMemory& memory, const cpu::Executor& executor) {
  using T = typename cpu::Head<precision>::Element;
  if (memory.c.y == memory.c.x) return head_into<precision, T>(memory, executor);
  head_into<precision, Accumulator<T>>(memory, executor);
}

/// Runs a case of any precision that the CPU has; y of memory is its result.
void run_on_cpu(HostMemory& memory, const cpu::Executor& executor) {
  const Case& c = memory.c;
  if (c.is_head()) {
    switch (c.x) {
      case Dtype::f64:
        return head_on_cpu<Precision::fp64>(memory, executor);
      case Dtype::f32:
        return head_on_cpu<Precision::fp32>(memory, executor);
      case Dtype::f16:
        return head_on_cpu<Precision::fp16>(memory, executor);
      default:
        return head_on_cpu<Precision::bf16>(memory, executor);
    }
  }
  if (c.x == Dtype::f64) return softmax_into<double, double>(memory, executor);
  if (c.x == Dtype::f16) return softmax_into<Half, Half>(memory, executor);
  if (c.x == Dtype::f32 && c.y == Dtype::f32) return softmax_into<float, float>(memory, executor);
  if (c.x == Dtype::f32) return softmax_into<float, BFloat16>(memory, executor);
  if (c.y == Dtype::f32) return softmax_into<BFloat16, float>(memory, executor);
  softmax_into<BFloat16, BFloat16>(memory, executor);
}

HostVerdict judge(HostMemory& memory, std::int64_t target_row = -1, std::int64_t target_column = -1) {
  if (memory.c.is_head()) return memory.judge(memory.head_logits(), false, target_row, target_column);
  return memory.judge(memory.softmax_logits(), false, target_row, target_column);
}

/// A row of x or of the weight as it is multiplied, and its largest magnitude before.
template <class Value>
std::pair<std::vector<double>, double> operand(const Case& c, MathMode mode, std::int64_t row,
                                               const Value& value) {
  std::vector<double> elements;
  double largest = 0;
  for (std::int64_t k = 0; k < c.in_features; ++k) {
    double stored;
    store_element(&stored, c.x, 0, value(c, row, k));
    elements.push_back(load_element(&stored, c.x, 0));
    largest = std::max(largest, std::abs(elements.back()));
  }
  for (double& element : elements) element = multiplied_as(mode, element, largest);
  return {elements, largest};
}

double truncated_to(double value, double unit) { return std::trunc(value / unit) * unit; }

/// The accumulator after one step of a tensor core, as it is published to round: products and the accumulator
/// are aligned to the largest exponent, truncated to `fraction` bits behind it and added, and the sum is
/// truncated to `digits` significant bits.
double truncated_step(double sum, const double* x, const double* w, std::int64_t count, int fraction,
                      int digits) {
  int exponent = sum == 0 ? -2000 : std::ilogb(sum);
  for (std::int64_t k = 0; k < count; ++k) {
    if (x[k] != 0 && w[k] != 0) exponent = std::max(exponent, std::ilogb(x[k]) + std::ilogb(w[k]));
  }
  if (exponent == -2000) return 0;
  const double unit = std::ldexp(1.0, exponent - fraction);
  double exact = truncated_to(sum, unit);
  for (std::int64_t k = 0; k < count; ++k) exact += truncated_to(x[k] * w[k], unit);
  return exact == 0 ? 0 : truncated_to(exact, std::ldexp(1.0, std::ilogb(exact) - (digits - 1)));
}

/// x w by the tensor cores' steps in a math mode.
double truncated_product(MathMode mode, const std::vector<double>& x, double largest_x,
                         const std::vector<double>& w, double largest_w) {
  const auto count = static_cast<std::int64_t>(x.size());
  const auto steps = [&](double sum, const std::vector<double>& a, const std::vector<double>& b,
                         std::int64_t first, std::int64_t end, std::int64_t step, int fraction, int digits) {
    for (std::int64_t k = first; k < std::min(end, count); k += step) {
      sum = truncated_step(sum, a.data() + k, b.data() + k, std::min(step, std::min(end, count) - k),
                           fraction, digits);
    }
    return sum;
  };
  if (mode == MathMode::plain || mode == MathMode::f16) return steps(0, x, w, 0, count, 16, 25, 24);
  if (mode == MathMode::tf32) return steps(0, x, w, 0, count, 8, 25, 24);
  float total = 0;
  if (mode == MathMode::e4m3) {
    for (std::int64_t k = 0; k < count; k += 128) {
      total += static_cast<float>(steps(0, x, w, k, k + 128, 32, 13, 14));
    }
    return total;
  }
  // Two parts, of rows that a power of two takes to [2^13, 2^14).
  struct Parts {
    std::vector<double> high, low;
    int exponent;

    Parts(const std::vector<double>& values, double largest)
        : exponent(largest > 0 ? std::ilogb(largest) - 13 : 0) {
      for (const double value : values) {
        const double scaled = std::ldexp(value, -exponent);
        high.push_back(rounded_to_digits(scaled, 11, -24));
        low.push_back(rounded_to_digits(scaled - high.back(), 11, -24));
      }
    }
  };
  const Parts of_x(x, largest_x), of_w(w, largest_w);
  for (std::int64_t k = 0; k < count; k += 64) {
    double sum = 0;
    for (std::int64_t j = k; j < std::min(k + 64, count); j += 16) {
      sum = steps(sum, of_x.high, of_w.low, j, j + 16, 16, 25, 24);
      sum = steps(sum, of_x.low, of_w.high, j, j + 16, 16, 25, 24);
      sum = steps(sum, of_x.high, of_w.high, j, j + 16, 16, 25, 24);
    }
    total += static_cast<float>(sum);
  }
  return std::ldexp(static_cast<double>(total), of_x.exponent + of_w.exponent);
}

}  // namespace

TEST_SUITE("fuzz cases") {
  TEST_CASE("a seed means the same cases everywhere") {
    // Written down once: another compiler, machine or standard library must come to the same.
    std::uint64_t hash = 1469598103934665603u;
    for (std::uint64_t number = 0; number < 1000; ++number) {
      for (const char letter : text_of(make_case(13, number))) {
        hash = (hash ^ static_cast<unsigned char>(letter)) * 1099511628211u;
      }
    }
    CHECK(hash == 2857609262308221001u);
    CHECK(text_of(make_case(13, 7)) == text_of(make_case(13, 7)));
    CHECK(text_of(make_case(13, 7)) != text_of(make_case(13, 8)));
    CHECK(text_of(make_case(13, 7)) != text_of(make_case(14, 7)));
  }

  TEST_CASE("every kind is reached, and no limit is broken") {
    const Limits limits;
    std::map<std::string, int> seen;
    std::int64_t most_rows = 0, most_columns = 0, most_depth = 0;
    for (std::uint64_t number = 0; number < 20000; ++number) {
      const Case c = make_case(1, number);
      const std::string call = c.is_head() ? "head " : "softmax ";
      ++seen[call + std::string(name(c.data))];
      ++seen[call + std::string(name(c.output))];
      ++seen[call + "scale " + std::string(name(c.scale_of)) + ' ' + std::string(name(c.scale))];
      ++seen[call + "x " + std::string(masthead::name(c.x)) + " y " + std::string(masthead::name(c.y))];
      seen[call + "special"] += c.special != Special::none;
      seen[call + "part"] += c.part_rows > 0;
      seen[call + "off alignment"] += c.of_x.shift > 0 || c.of_y.shift > 0;
      seen[call + "strides"] += c.of_x.pad > 0;
      seen["in place"] += c.in_place;
      most_rows = std::max(most_rows, c.rows), most_columns = std::max(most_columns, c.columns);
      CHECK(c.rows >= 1);
      CHECK(c.columns >= 1);
      CHECK(c.part_first + c.part_rows <= c.rows);
      if (!c.is_head()) {
        CHECK(c.rows * c.columns <= limits.outputs);
        continue;
      }
      const std::string precision(masthead::name(c.precision));
      ++seen[precision + ' ' + std::string(masthead::name(c.mode))];
      ++seen[precision + " engine " + std::string(name(c.engine))];
      ++seen["statistics " + std::string(name(c.statistics))];
      ++seen["beta " + std::string(name(c.beta))];
      seen["no bias"] += !c.has_bias, seen["no gamma"] += !c.has_gamma;
      seen["tracks"] += c.tracks, seen["cumulative"] += c.cumulative, seen["allocates"] += c.allocates;
      seen["fills the GPU"] += c.rows * c.columns > limits.outputs;
      most_depth = std::max(most_depth, c.in_features);
      CHECK(c.rows * c.columns <= 8 * limits.outputs);
      CHECK(c.rows * c.in_features <= limits.operand + 8 * c.rows);
      CHECK(c.columns * c.in_features <= limits.operand + 8 * c.columns);
      CHECK(c.in_features >= 1);
      if (c.training()) CHECK(c.rows >= 2);
    }
    for (const auto& kind : seen) CHECK_MESSAGE(kind.second >= 20, kind.first, ' ', kind.second);
    CHECK(seen.size() > 100);
    CHECK(most_rows == limits.side);
    CHECK(most_columns == limits.side);
    CHECK(most_depth == limits.depth);
  }

  TEST_CASE("explicit policies of the tensor cores get what TMA reads") {
    for (std::uint64_t number = 0; number < 5000; ++number) {
      const Case c = make_case(2, number);
      if (!c.is_head() || masthead::detail::is_packed(math_mode_of(c.precision))) continue;
      if (c.engine != EngineOf::wgmma && c.engine != EngineOf::swap_ab) continue;
      CAPTURE(c);
      const std::int64_t vector = 16 / size_of(c.x);
      CHECK(c.in_features % vector == 0);
      for (const Placement& at : {c.of_x, c.of_weight}) CHECK((at.shift == 0 && at.pad % vector == 0));
    }
  }
}

TEST_SUITE("fuzz judge") {
  TEST_CASE("operands are rounded as the references of the other tests round them") {
    test::Random random(4);
    for (int row = 0; row < 200; ++row) {
      const int low = static_cast<int>(random.integer(-30, 0));
      std::vector<double> values = test::rounded(random.log_uniforms(64, low, 10), Dtype::f32);
      values[3] = 0;
      double largest = 0;
      for (const double v : values) largest = std::max(largest, std::abs(v));
      std::vector<double> scaled = values;
      test::round_to_scaled_f16(scaled);
      const std::vector<double> bf16 = test::rounded(values, Dtype::bf16);
      double largest_bf16 = 0;
      for (const double v : bf16) largest_bf16 = std::max(largest_bf16, std::abs(v));
      const auto quantized = test::quantized_rows(bf16, 64);
      for (std::size_t i = 0; i < values.size(); ++i) {
        CHECK(multiplied_as(MathMode::tf32, values[i], largest) == test::rounded_to_tf32(values[i]));
        CHECK(multiplied_as(MathMode::f16, values[i], largest) == scaled[i]);
        CHECK(multiplied_as(MathMode::e4m3, bf16[i], largest_bf16) == quantized.values[i]);
        CHECK(multiplied_as(MathMode::plain, values[i], largest) == values[i]);
      }
    }
    CHECK(std::isinf(multiplied_as(MathMode::tf32, 0x1.fffffep127, 1)));
    CHECK(std::isnan(multiplied_as(MathMode::e4m3, HUGE_VAL, 1)));
  }

  TEST_CASE("probabilities and logarithms are those of the reference in straight loops") {
    int heads = 0;
    for (std::uint64_t number = 0; heads < 60; ++number) {
      Case c = make_case(5, number, {4096, 4096, 1 << 16, 512, 128});
      if (!c.is_head() || c.precision == Precision::fp8 || c.special != Special::none ||
          c.data == Data::magnitudes || c.beta == BetaOf::lowest || c.beta == BetaOf::infinite) {
        continue;
      }
      ++heads;
      CAPTURE(c);
      HostMemory memory(c);
      memory.set_reference(false, MathMode::plain);
      const test::HeadReference reference = test::head_reference(memory.problem(), c.training());
      // Features that do not vary have a variance of 0 here, and of what rounding leaves there.
      const HeadLogits logits = memory.head_logits();
      double worst = 0;
      for (std::int64_t m = 0; m < c.rows; ++m) {
        double max = -HUGE_VAL, sum = 0;
        for (std::int64_t n = 0; n < c.columns; ++n) max = std::max(max, logits.at(m, n).value);
        for (std::int64_t n = 0; n < c.columns; ++n) sum += std::exp(logits.at(m, n).value - max);
        for (std::int64_t n = 0; n < c.columns; ++n) {
          const double expected = reference.softmax.log_probability[at(m, c.columns, n)];
          const double error = std::abs(logits.at(m, n).value - max - std::log(sum) - expected);
          worst = std::max(worst, error / (1 + std::abs(expected)));
        }
      }
      CHECK(worst < 1e-6);
    }
  }

  TEST_CASE("the tensor cores' truncated sums stay within their bounds, and come near them") {
    std::map<std::string, double> used;
    const Limits limits{1 << 14, 1 << 16, 1 << 22, 1 << 12, 4096};
    for (std::uint64_t number = 0; number < 6000; ++number) {
      const Case c = make_case(3, number, limits);
      if (!c.is_head() || c.special != Special::none || c.precision == Precision::fp64 ||
          c.precision == Precision::fp32_ieee) {
        continue;
      }
      const MathMode mode = math_mode_of(c.precision);
      for (const std::int64_t m : {std::int64_t{0}, c.rows - 1}) {
        for (const std::int64_t n : {std::int64_t{0}, c.columns - 1}) {
          const auto [x, largest_x] = operand(c, mode, m, head_x);
          const auto [w, largest_w] = operand(c, mode, n, head_weight);
          Product product;
          for (std::size_t k = 0; k < x.size(); ++k) product.add(x[k], w[k]);
          const double allowed = sum_error(c, true, mode).of(product, c.in_features, largest_x, largest_w);
          const double error = std::abs(truncated_product(mode, x, largest_x, w, largest_w) - product.sum);
          CAPTURE(c);
          CHECK(error <= allowed);
          double& most = used[std::string(masthead::name(c.precision))];
          if (allowed > 0) most = std::max(most, error / allowed);
        }
      }
    }
    CHECK(used.size() == 6);
    for (const auto& of : used) CHECK_MESSAGE(of.second > 0.1, of.first, ' ', of.second);
  }

  TEST_CASE("the CPU's results are accepted, and planted faults in them found") {
    const cpu::Executor executor(2);
    const Limits limits{1 << 12, 1 << 12, 1 << 17, 1 << 12, 256};
    double most_used = 0;
    int judged = 0;
    for (std::uint64_t number = 0; number < 2500; ++number) {
      const Case c = make_case(6, number, limits);
      if (c.is_head() && c.precision == Precision::fp8) continue;
      CAPTURE(c);
      HostMemory memory(c);
      run_on_cpu(memory, executor);
      const HostVerdict verdict = judge(memory);
      CHECK_MESSAGE(verdict.faults == 0, verdict);
      if (verdict.faults > 0 || verdict.unjudged_rows > 0) continue;
      ++judged;
      if (size_of(c.y) > 2) most_used = std::max(most_used, verdict.most_used);

      // One element a few units in the last place above its bound, and one that is not written.
      Draw draw(number);
      const std::int64_t m = draw.integer(0, c.rows - 1), n = draw.integer(0, c.columns - 1);
      const HostVerdict bounds = judge(memory, m, n);
      REQUIRE(bounds.has_target);
      const double right = memory.y.get(m, n);
      if (bounds.target_is_nan) {
        memory.y.set(m, n, 0.25);
        CHECK(judge(memory).faults > 0);
      } else if (bounds.target_high < 0.5 * largest_of(c.y)) {
        memory.y.set(m, n, few_units_above(bounds.target_high, c.y));
        CHECK(judge(memory).faults > 0);
      }
      memory.y.set(m, n, right);
      const std::int64_t bytes = size_of(c.y);
      std::fill_n(memory.y.data() + (m * memory.y.row_stride + n) * bytes, bytes,
                  static_cast<unsigned char>(0xff));
      CHECK(judge(memory).faults > 0);
    }
    MESSAGE("max error/bound ", most_used);
    CHECK(judged > 1500);
    CHECK(most_used > 0.2);
  }
}

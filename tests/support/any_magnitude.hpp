#pragma once
/// Rows of scale_softmax whose logits are as large as their type allows, and what is right of them.

#include <cmath>
#include <cstdint>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "compare.hpp"
#include "problem.hpp"

namespace test {

/// One row and the scale of its columns: absent, one, or one a column.
struct LargeRow {
  std::string name;
  std::vector<double> x;
  std::vector<double> scale = {};
};

inline double largest_finite(masthead::Dtype dtype) {
  switch (dtype) {
    case masthead::Dtype::f64:
      return std::numeric_limits<double>::max();
    case masthead::Dtype::f32:
      return static_cast<double>(std::numeric_limits<float>::max());
    case masthead::Dtype::f16:
      return 65504;
    default:
      return 0x1.fep127;
  }
}

/// Rows of `columns` columns, of values that `dtype` holds, for kernels in which a thread may have all its
/// columns far below the row's maximum.
inline std::vector<LargeRow> large_rows(masthead::Dtype dtype, std::int64_t columns) {
  using masthead::Dtype;
  const double inf = std::numeric_limits<double>::infinity(), most = largest_finite(dtype);
  const bool wide = dtype == Dtype::f64;
  std::vector<LargeRow> rows;
  const auto add = [&](const std::string& name, const auto& value, const std::vector<double>& scale = {}) {
    std::vector<double> x;
    for (std::int64_t j = 0; j < columns; ++j) x.push_back(value(j));
    rows.push_back({name, rounded(x, dtype), scale});
  };
  const auto equal = [&](double magnitude, const std::vector<double>& scale = {}) {
    std::ostringstream name;
    name << "all " << magnitude;
    if (!scale.empty()) name << ", scale " << scale[0];
    add(
        name.str(), [=](std::int64_t) { return magnitude; }, scale);
  };
  // `rest` everywhere but in the first, a middle and the last columns, which hold what `of` says.
  const auto few = [&](const std::string& name, double rest, const auto& of,
                       const std::vector<double>& scale = {}) {
    add(
        name, [=](std::int64_t j) { return j == 0 || j == columns / 2 || j == columns - 1 ? of(j) : rest; },
        scale);
  };

  for (const double sign : {1.0, -1.0}) {
    equal(sign * most);
    equal(sign * 1000, {1e30});
    equal(sign * most, {wide ? 1e-290 : 1e-29});
    equal(sign * most, {0});
    if (dtype == Dtype::f16) continue;
    for (const double magnitude : {1e10, 1e15, 3e12, 1e25}) equal(sign * magnitude);
  }
  if (wide) {
    for (const double magnitude : {1e18, -1e200}) equal(magnitude);
    add("steps of 256 above 2^60",
        [](std::int64_t j) { return 0x1p60 + 256.0 * static_cast<double>(j % 3); });
  }
  if (dtype == Dtype::f32) {
    few("one step above 1e9", 1e9, [](std::int64_t j) { return j == 0 ? 1e9 + 64 : 1e9; });
    few("one step below 1e9", 1e9 - 64, [](std::int64_t) { return 1e9; });
    few("steps at the least finite values", -3.4e38,
        [](std::int64_t j) { return j == 0 ? -3.3e38 : -3.4e38; });
  }
  const double large = dtype == Dtype::f16 ? 65504 : wide ? 1.7e308 : 0x1.ccp127;
  few("the largest among the least", -large, [=](std::int64_t) { return large; });
  few("a mask at the end of the range, few columns left", -most,
      [](std::int64_t j) { return j == 0 ? 1.5 : 2; });
  add("half of the row masked at the end of the range",
      [=](std::int64_t j) { return j < (columns + 1) / 2 ? static_cast<double>(j % 5) : -most; });
  if (dtype != Dtype::f16) {
    for (const double mask : {-1e9, -1e10, -1.1e10, -1e15, -1e30}) {
      std::ostringstream name;
      name << "masked by " << mask;
      few(name.str(), mask, [](std::int64_t j) { return j == 0 ? 1.5 : 2; });
      few(name.str() + " below large logits", mask, [](std::int64_t) { return 1e8; });
      few(name.str() + " above -inf", -inf, [=](std::int64_t) { return mask; });
      few(name.str() + " but for a NaN", mask, [](std::int64_t j) { return j == 0 ? NAN : 2; });
      few(name.str() + " but for +inf", mask, [=](std::int64_t j) { return j == 0 ? inf : 2; });
    }
  }
  add("all -inf", [=](std::int64_t) { return -inf; });
  few("one NaN among the largest", most, [=](std::int64_t j) { return j == 0 ? NAN : most; });
  few("one +inf among the largest", most, [=](std::int64_t j) { return j == 0 ? inf : most; });
  few("one +inf among the least", -most, [=](std::int64_t j) { return j == 0 ? inf : -most; });

  for (const double scale : {1e10, 1e12, 1e30, 3.4e38, -1e10, -1e30}) {
    std::ostringstream name;
    name << ", scale " << scale;
    const auto thousandths = [](std::int64_t j) { return static_cast<double>(j * 7 % 1000) / 1000; };
    add("0 to 0.999" + name.str(), thousandths, {scale});
    add("0 to -0.999" + name.str(), [=](std::int64_t j) { return -thousandths(j); }, {scale});
    add("499 largest" + name.str(),
        [=](std::int64_t j) { return j % 2 == 0 && j < 998 ? 0.999 : thousandths(j) / 2; }, {scale});
  }
  // With a scale per column.
  std::vector<double> factors, many;
  for (std::int64_t j = 0; j < columns; ++j) {
    factors.push_back(3e9 * (1 + 1e-7 * static_cast<double>(j % 11)));
    many.push_back(j % 3 == 0 ? 1e30 : j % 3 == 1 ? -1e30 : 1e-30);
  }
  if (columns > 1) {
    factors = rounded(factors, wide ? Dtype::f64 : Dtype::f32);
    many = rounded(many, wide ? Dtype::f64 : Dtype::f32);
    add(
        "products that round, a scale per column",
        [](std::int64_t j) { return 1 + 0.001 * static_cast<double>(j % 2); }, factors);
    add(
        "equal x, a scale per column", [](std::int64_t) { return 0.75; }, factors);
    add(
        "scales of 1e30, -1e30, 1e-30", [](std::int64_t j) { return static_cast<double>(j % 7) - 3; }, many);
    equal(most, std::vector<double>(at(columns), 1));
    equal(-most, std::vector<double>(at(columns), 1));
    equal(-most, std::vector<double>(at(columns), 0));
  }
  return rows;
}

/// What is right of a row. x and the scale are values of `dtype` and of the accumulators' type. Products are
/// rounded to the accumulators' type, as torch rounds them; the rest is exact.
struct LargeReference {
  std::string name;
  bool none = false;  // the row has no softmax: NaN throughout
  std::vector<double> p = {}, log_p = {};
};

inline LargeReference reference_of(const LargeRow& row, masthead::Dtype dtype) {
  const bool wide = dtype == masthead::Dtype::f64;
  const long double infinity = std::numeric_limits<long double>::infinity();
  LargeReference r{.name = row.name};
  std::vector<long double> v;
  long double max = -infinity, sum = 0;
  for (std::size_t j = 0; j < row.x.size(); ++j) {
    const double factor = row.scale.empty() ? 1 : row.scale.size() == 1 ? row.scale[0] : row.scale[j];
    const double product = row.x[j] * (wide ? factor : static_cast<double>(static_cast<float>(factor)));
    v.push_back(wide ? product : static_cast<double>(static_cast<float>(product)));
    r.none = r.none || std::isnan(v.back()) || v.back() == infinity;
    if (v.back() > max) max = v.back();
  }
  r.none = r.none || max == -infinity;
  for (long double& logit : v) {
    r.log_p.push_back(static_cast<double>(logit - max));
    logit = std::exp(logit - max);
    sum += logit;
  }
  const long double log_sum = std::log(sum);
  for (std::size_t j = 0; j < v.size(); ++j) {
    r.p.push_back(static_cast<double>(v[j] / sum));
    r.log_p[j] = static_cast<double>(r.log_p[j] - log_sum);
  }
  return r;
}

/// What is wrong with the results `got` of a row, stored as `dtype`, or nothing. Only the roundings of the
/// softmax itself are allowed for.
inline std::string wrong_with(const LargeReference& reference, const double* got, masthead::Dtype dtype,
                              masthead::Output output) {
  const masthead::Dtype accumulator = masthead::accumulator_dtype(dtype);
  // An exponent is rounded twice, and there are the roundings of the sum: more of them count in double.
  const double u = 16 * (accumulator == masthead::Dtype::f64 ? 4 : 1) * unit_roundoff(accumulator);
  const double stored = dtype == accumulator ? 0 : 1.01 * unit_roundoff(dtype);
  // Rounded shifts of up to 16 leave that much less of the range.
  const double tiny = 2 * absolute_error(dtype) + 0x1p17 * absolute_error(accumulator);
  const double least = -largest_finite(dtype) * (1 + stored / 2);
  for (std::size_t j = 0; j < reference.p.size(); ++j) {
    const double p = reference.p[j], log_p = reference.log_p[j];
    const double right = output == masthead::Output::softmax ? p : log_p;
    bool good = false;
    if (reference.none) {
      good = std::isnan(got[j]);
    } else if (output == masthead::Output::softmax) {
      good = std::abs(got[j] - p) <= (p > 0 ? (u * (1 - log_p) + stored) * p : 0) + tiny;
    } else if (log_p < least || std::isinf(log_p)) {
      good = got[j] == -std::numeric_limits<double>::infinity();
    } else {
      good = std::abs(got[j] - log_p) <= (u + stored) * (1 + std::abs(log_p)) + 20 * u;
    }
    if (!good) {
      std::ostringstream out;
      out.precision(9);
      out << reference.name << ", " << reference.p.size() << " columns: column " << j << " is " << got[j]
          << ", should be " << (reference.none ? std::nan("") : right);
      return out.str();
    }
  }
  return {};
}

}  // namespace test

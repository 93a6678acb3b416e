#pragma once
/// What a case of tests/device/fuzz should come to, in double, and how far from it a result may be.
///
/// Everything here runs in kernels and in host code. It shares no arithmetic with the library. u is the unit
/// roundoff of the type of the sums (2^-24, or 2^-53 for double), c u four of it (sixteen for double, whose
/// reference errs as much); operands are taken as they are multiplied, that is rounded by their math mode.
///
/// **Sums** s_k = the first k products of z = x w, |error of z| <= e:
///
///   engine                 e
///   SIMT, CPU              c u (sum |x w| + root of sum s_k^2): a chain of roundings, errors of either sign
///   tensor cores           6 u (2 sum |x w| + sum |s_k| / step): a truncated addition every `step` of k
///   f16x3                  24 u sum |x w| + c u root of (sum s_k^2 / 64) + 2^-37 K max|x| max|w|
///   e4m3                   2^-9 sum |x w| + c u root of (sum s_k^2 / 128)
///   Data::integers         0: every partial sum is exact
///
/// **Logits** l = scale (d gamma / dev + beta) with d = z + bias - mean, slope = scale gamma / dev:
///
///   |error of l| <= |slope| (e + 2 u (|bias| + |mean|)) + |slope d| (r + c u) + c u (|scale beta| + |l|)
///
/// In eval mode r = 0. Where sums are exact 2 u (|z| + |bias| + |mean|) takes the place of what is with the
/// mean, and is at most 2 u times `folded_deviations` deviations: a mean that is further away is subtracted
/// before the multiplication. In training mode the mean is that of the batch, without the bias; with E and Q
/// the mean and the quadratic mean of e over the batch, its error is E + m with m = u (2 + log2 M, at most 9)
/// root of (mean^2 + sigma^2), and
///
///   r = (2 sigma Q + (E + m)^2 + c u (1 + log2 M) sigma^2) / (2 dev^2)
///
/// A feature that does not vary has d = 0, and its mean is exact: as with exact sums, 2 u |mean| counts up to
/// `folded_deviations` deviations alone.
///
/// **scale_softmax**: l = scale x. With one scale for a row, errors are relative to the distance from the
/// maximum: c u |l - max|, and, where products may be rounded before they are subtracted (the CPU, and
/// rows with anything beyond 2^28), 2 u (|l| + |max|) for logits that differ from the maximum, unless the
/// scale is a power of two. With a scale per column, l is the product rounded to the type of the sums, as
/// torch's is, and the bound is c u |l - max|.
///
/// **Results**, with t_j the error allowed for logit j plus c u |l_j - max|, and s = c u (3 + log2 columns):
///
///   log p_j - t_j - log(sum p exp t) - s  <=  log of the result  <=  log p_j + t_j + sum p t + s
///
/// A probability is then rounded to y (half a unit in the last place, or flushed near 0), a logarithm too,
/// after c u of itself. Where a 16-bit probability may have been a quantized logit, half a step of the fixed
/// point comes to it, and as much to the sum of its row: 2^-10 ln 2 for bfloat16; 2^-13 ln 2 for half, and
/// 2^-9 ln 2 for logits that may be 15 powers of two below the shift. Rows sum to 1 within s, the rounding to
/// y, the quantizing, and what may be flushed. A row with a NaN or +inf, or of -inf alone, is all NaN; -inf
/// is exactly 0. Rows in which the contract does not hold, since a product, a sum or a logit leaves float,
/// are not judged.

#include <cmath>
#include <cstdint>

#include "fuzz_values.hpp"

namespace test::fuzz {

using masthead::Dtype;
using masthead::MathMode;

MASTHEAD_HOST_DEVICE double roundoff(Dtype sums) { return sums == Dtype::f64 ? 0x1p-53 : 0x1p-24; }
/// c u.
MASTHEAD_HOST_DEVICE double error_unit_of(Dtype sums) {
  return (sums == Dtype::f64 ? 16 : 4) * roundoff(sums);
}

/// Deviations from 0 up to which a mean may be folded into an addend.
inline constexpr double folded_deviations = 128;

// ---- operands as they are multiplied

/// |value| in units of the last place of `digits` significant bits, at least 2^least, rounded to even.
MASTHEAD_HOST_DEVICE double rounded_to_digits(double value, int digits, int least) {
  if (value == 0) return value;
  const int exponent = ilogb(value) - (digits - 1);
  const double unit = ldexp(1.0, exponent < least ? least : exponent);
  return rint(value / unit) * unit;
}

/// Whether `value` is finite, of any compiler's options.
MASTHEAD_HOST_DEVICE bool is_finite(double value) { return fabs(value) <= 0x1.fffffffffffffp1023; }

/// An element as the tensor cores multiply it in a math mode; `largest` is the largest finite magnitude of
/// its row. The two parts of f16x3 stand for the element itself, up to the error that is allowed for them.
MASTHEAD_HOST_DEVICE double multiplied_as(MathMode mode, double value, double largest) {
  if (mode == MathMode::plain || mode == MathMode::f16x3 || value == 0) return value;
  if (!is_finite(value)) return mode == MathMode::e4m3 ? NAN : value;
  if (mode == MathMode::tf32) {
    const double nearest = rounded_to_digits(value, 11, -136);
    return fabs(nearest) < 0x1p128 ? nearest : copysign(INFINITY, value);
  }
  const int magnitude = ilogb(largest);
  if (mode == MathMode::f16) {
    const int exponent = magnitude - 14;
    const double nearest = fabs(rounded_to_digits(ldexp(value, -exponent), 11, -24));
    return copysign(ldexp(nearest < 0x1p-24 ? 0x1p-24 : nearest, exponent), value);
  }
  const int exponent = magnitude - 8 + (ldexp(largest, -magnitude) > 1.75 ? 1 : 0);
  return ldexp(rounded_to_digits(ldexp(value, -exponent), 4, -9), exponent);
}

// ---- sums

/// x w of one row and one feature, and what bounds its error.
struct Product {
  double sum = 0, absolute = 0, chain = 0, squares = 0;

  MASTHEAD_HOST_DEVICE void add(double x, double w) {
    const double product = x * w;
    sum += product;
    absolute += fabs(product);
    chain += fabs(sum);
    squares += sum * sum;
  }
};

/// How exactly an engine sums.
struct SumError {
  double absolute = 0, chain = 0, root = 0, range = 0;

  MASTHEAD_HOST_DEVICE double of(const Product& p, std::int64_t in_features, double largest_x,
                                 double largest_w) const {
    return absolute * p.absolute + chain * p.chain + root * sqrt(p.squares) +
           range * static_cast<double>(in_features) * largest_x * largest_w;
  }
};

/// `tensor`: by an engine of the tensor cores, in `mode`.
inline SumError sum_error(const Case& c, bool tensor, MathMode mode) {
  if (c.data == Data::integers) return {};
  const double u = roundoff(sums_of(c.x)), cu = error_unit_of(sums_of(c.x));
  if (!tensor) return {cu, 0, cu, 0};
  if (mode == MathMode::f16x3) return {24 * u, 0, cu / 8, 0x1p-37};
  if (mode == MathMode::e4m3) return {0x1p-9, 0, cu / 11, 0};
  return {12 * u, 6 * u / (mode == MathMode::tf32 ? 8 : 16), 0, 0};
}

// ---- features

/// A feature's statistics over a batch.
struct BatchTerms {
  double mean = 0, variance = 0;
  double error = 0, square_error = 0;  ///< mean of e, and of its square
  double least = 0, most = 0;          ///< of z
};

/// Everything of a feature that its logits need.
struct FeatureTerms {
  double center = 0;   ///< mean - bias
  double inverse = 1;  ///< 1 / dev
  double gamma = 1, beta = 0, scale = 1;
  double mean_error = 0;       ///< of d, beside e
  double folded = 0;           ///< |bias| + |mean|, where it may be folded
  double deviation_error = 0;  ///< relative
  double constant = 0;         ///< 1: a feature that does not vary over the batch
};

/// What rounding the mean of a batch of `rows` may lose: means of tiles and splits are merged pairwise in the
/// type of the sums, and each merge rounds a mean of some rows, which is about as large as the quadratic mean
/// of all.
MASTHEAD_HOST_DEVICE double mean_rounding(const BatchTerms& b, Dtype sums, std::int64_t rows) {
  const double merges = 2 + fmin(log2(static_cast<double>(rows)), 9.0);
  return roundoff(sums) * merges * sqrt(b.mean * b.mean + b.variance);
}

/// What of a feature's variance is in doubt, in training mode.
MASTHEAD_HOST_DEVICE double variance_error(const BatchTerms& b, Dtype sums, std::int64_t rows) {
  const double mean_error = b.error + mean_rounding(b, sums, rows);
  return 2 * sqrt(b.variance * b.square_error) + mean_error * mean_error +
         error_unit_of(sums) * (1 + log2(static_cast<double>(rows))) * b.variance;
}

/// The terms of training mode. `gamma`, `beta` and `scale` are set already.
MASTHEAD_HOST_DEVICE void set_batch(FeatureTerms& f, const BatchTerms& b, Dtype sums, double epsilon,
                                    std::int64_t rows) {
  f.constant = b.least == b.most && is_finite(b.mean) ? 1 : 0;
  f.center = f.constant != 0 ? b.least : b.mean;
  const double variance = f.constant != 0 ? 0 : b.variance;
  f.inverse = 1 / sqrt(variance + epsilon);
  f.mean_error = b.error + mean_rounding(b, sums, rows);
  f.deviation_error = variance_error(b, sums, rows) * f.inverse * f.inverse / 2;
  if (f.constant == 0) return;
  f.deviation_error = 0;
  f.mean_error = 2 * roundoff(sums) * fmin(fabs(f.center), folded_deviations / f.inverse);
}

/// The terms of eval mode. `exact`: sums and differences are.
MASTHEAD_HOST_DEVICE void set_running(FeatureTerms& f, double mean, double variance, double bias, Dtype sums,
                                      double epsilon, bool exact) {
  f.center = mean - bias;
  f.inverse = 1 / sqrt(variance + epsilon);
  f.mean_error = exact ? 0 : 2 * roundoff(sums) * (fabs(mean) + fabs(bias));
  f.folded = exact ? fabs(mean) + fabs(bias) : 0;
}

/// The running mean that training on this batch would leave, and a variance; of integers a multiple of 1/4,
/// which keeps differences exact.
MASTHEAD_HOST_DEVICE double calibrated_mean(const Case& c, const BatchTerms& b, double bias) {
  const double mean = b.mean + bias;
  return c.data == Data::integers ? rint(mean * 4) * 0.25 : mean;
}
MASTHEAD_HOST_DEVICE double calibrated_var(const BatchTerms& b) {
  return b.least == b.most && is_finite(b.mean) ? 0 : b.variance;
}

// ---- logits

struct Logit {
  double value, error;
  bool judged;  ///< everything on the way to it stays in the type of the sums
};

/// The logits of a head.
struct HeadLogits {
  const double* z;      // (rows, columns), of x w
  const double* error;  // (rows, columns), e
  const FeatureTerms* features;
  std::int64_t columns;
  Dtype sums;
  bool exact, packed;

  MASTHEAD_HOST_DEVICE Logit at(std::int64_t row, std::int64_t column) const {
    const FeatureTerms f = features[column];
    const double sum = z[row * columns + column], u = roundoff(sums), cu = error_unit_of(sums);
    double e = error[row * columns + column];
    const double d = sum - f.center, slope = fabs(f.scale * f.gamma * f.inverse), offset = f.scale * f.beta;
    const double value = f.scale * (d * f.inverse * f.gamma + f.beta);
    const double limit = sums == Dtype::f64 ? 0x1p1020 : 0x1p128 * (1 - 0x1p-12);
    const double most = e / (4 * u);  // sum |x w|, or more
    const double range = fmax(fmax(fabs(d), fabs(sum)), slope * fmax(fabs(d), fabs(sum) + fabs(f.center)));
    // A NaN or an infinity among the inputs is judged; what overflows on the way is not.
    const bool offset_fits = !(fabs(offset) > largest_of(sums)) || !is_finite(f.beta);
    const bool finite = is_finite(sum) && is_finite(f.center) && is_finite(f.inverse);
    const bool judged =
        offset_fits &&
        (!finite || (range < limit && most < limit && 1.5 * slope < limit &&
                     !(fabs(value) >= largest_of(sums) && is_finite(f.beta) && range > 0x1p100)));
    // Packed operands of different rows differ beyond 2^-38 of their largest even where elements do not.
    if (f.constant != 0) e = packed ? e * 0x1p-12 : 0;
    double mean_error = f.mean_error;
    if (exact)
      mean_error += 2 * u * fmin(f.folded > 0 ? fabs(sum) + f.folded : 0, folded_deviations / f.inverse);
    const double moved = slope * fabs(d);
    return {value,
            slope * (e + mean_error) + moved * (f.deviation_error + cu) + cu * (fabs(offset) + fabs(value)),
            judged};
  }
  MASTHEAD_HOST_DEVICE double error_beside(const Logit& logit, double, double) const { return logit.error; }
};

/// The logits of scale_softmax.
struct SoftmaxLogits {
  const void* x;  // (rows, columns)
  Dtype dtype;
  std::int64_t row_stride;
  const double* scale;  // (columns) or (1)
  bool per_column;
  Dtype sums;
  bool rounds_products;  ///< products may be rounded before they are subtracted

  MASTHEAD_HOST_DEVICE double factor(std::int64_t column) const { return scale[per_column ? column : 0]; }

  MASTHEAD_HOST_DEVICE Logit at(std::int64_t row, std::int64_t column) const {
    const double element = load_element(x, dtype, row * row_stride + column), s = factor(column);
    double value = element * s;
    if (per_column && sums == Dtype::f32) {
      value = static_cast<double>(static_cast<float>(element) * static_cast<float>(s));
    }
    const bool judged = !is_finite(element) || fabs(value) <= largest_of(sums);
    return {value, 0, judged};
  }
  MASTHEAD_HOST_DEVICE double error_beside(const Logit& logit, double max, double reach) const {
    if (per_column || logit.value == max) return 0;
    const double s = fabs(scale[0]), u = roundoff(sums);
    const bool exact = s == 0 || s == power_of_two(ilogb(s));
    // The shift of a fused multiply-add is rounded: a residual that is small against u.
    double error = 8 * u * u * fabs(max);
    if (!exact && (rounds_products || sums == Dtype::f64 || !(reach < 0x1p28))) {
      error += 2 * u * (fabs(logit.value) + fabs(max));
    }
    return error;
  }
};

// ---- rows

enum class Fault : std::uint32_t {
  none,
  value,
  not_nan,
  row_sum,
  twins,
  unwritten,
  bits,
  around_y,
  around_workspace,
  around_running,
  input_changed,
  running_mean,
  running_var,
  batches_tracked,
  threw
};

constexpr const char* name(Fault fault) {
  constexpr const char* names[] = {"nothing",
                                   "an element is out of bounds",
                                   "an element should be NaN",
                                   "the sum of a row is out of bounds",
                                   "equal columns have different results",
                                   "an element was not written",
                                   "a row has other bits in another batch",
                                   "bytes around y were written",
                                   "bytes around the workspace were written",
                                   "bytes around the running statistics were written",
                                   "an input was written",
                                   "the running mean is out of bounds",
                                   "the running variance is out of bounds",
                                   "the number of batches is wrong",
                                   "the call threw"};
  return names[static_cast<int>(fault)];
}

/// What a row is judged by.
struct RowRules {
  std::int64_t columns = 0;
  masthead::Output output = masthead::Output::softmax;
  Dtype sums = Dtype::f32, y = Dtype::f32;
  double stored_error = 0;  ///< relative, of rounding to y
  double quantized = 0;     ///< relative, of a probability that was a quantized logit, its row's sum included
  double quantized_far = 0;  ///< besides, `far_quantized` below the maximum
  double quantized_sum = 0;  ///< besides, of the sum of a row
  double tiny = 0;           ///< what of a probability may be flushed
  bool twins = false;
  std::int64_t target_row = -1, target_column = -1;  ///< whose bounds are asked for; none: -1
};

/// `quantized`: y may have been a quantized logit.
inline RowRules row_rules(const Case& c, bool quantized) {
  RowRules r;
  r.columns = c.columns, r.output = c.output;
  r.sums = sums_of(c.x), r.y = c.y;
  const double unit = c.y == Dtype::f16 ? 0x1p-11 : c.y == Dtype::bf16 ? 0x1p-8 : roundoff(c.y);
  r.stored_error = c.y == r.sums ? 0 : unit;
  if (quantized && c.output == masthead::Output::softmax && bytes_of(c.y) == 2) {
    constexpr double ln2 = 0.6931471805599453;
    r.quantized = 2 * ln2 * (c.y == Dtype::f16 ? 0x1p-13 : 0x1p-10);
    if (c.y == Dtype::f16) {
      r.quantized_far = ln2 * 0x1p-9;
      r.quantized_sum = r.quantized_far * fmin(1.0, static_cast<double>(c.columns) * 0x1p-14);
    }
  }
  const double of_y = c.y == Dtype::f64 ? 0x1p-1022 : c.y == Dtype::f16 ? 0x1p-25 : 0x1p-126;
  r.tiny = 2 * (r.sums == Dtype::f64 ? of_y : fmax(of_y, 0x1p-126));
  r.twins = c.twins;
  return r;
}

/// A natural logit as far below the maximum of its row may be 15 powers of two below an integer above it.
inline constexpr double far_quantized = 14 * 0.6931471805599453;

/// What is asked of one element: that it lies in [low, high].
struct Bounds {
  double low, high, middle;
};

MASTHEAD_HOST_DEVICE Bounds bounds_of(const RowRules& r, double distance, double log_p, double lower,
                                      double upper) {
  const double cu = error_unit_of(r.sums);
  if (r.output == masthead::Output::log_softmax) {
    const double relative = cu + r.stored_error;
    double low = log_p - lower, high = log_p + upper;
    low -= relative * fabs(low) + r.tiny;
    high += relative * fabs(high) + r.tiny;
    const double least = -largest_of(r.y) * (1 - 2 * r.stored_error - cu);
    return {low < least ? -INFINITY : low, high, log_p};
  }
  const double stored =
      r.stored_error + r.quantized + r.quantized_sum + (distance > far_quantized ? r.quantized_far : 0);
  return {exp(log_p - lower) * (1 - stored) - r.tiny, exp(log_p + upper) * (1 + stored) + r.tiny, exp(log_p)};
}

/// Judges a row by the threads of `group`, all of which call this together. `got(column)` is the result as a
/// double, `unwritten(column)` whether it is as it was poisoned. `verdict` has wrong(fault, row, column, got,
/// low, high), used(part of what was allowed), unjudged() and target(low, high, nan).
template <class Group, class Logits, class Got, class Unwritten, class Verdict>
MASTHEAD_HOST_DEVICE void judge_row(const Group& group, const Logits& logits, const RowRules& r,
                                    std::int64_t row, const Got& got, const Unwritten& unwritten,
                                    Verdict& verdict) {
  const std::int64_t first = group.rank(), step = group.size();
  double max = -INFINITY, reach = 0, bad = 0, overflows = 0;
  for (std::int64_t j = first; j < r.columns; j += step) {
    const Logit l = logits.at(row, j);
    if (!l.judged) overflows = 1;
    if (!(l.value < INFINITY)) bad = 1;
    if (l.value > max) max = l.value;
    if (is_finite(l.value) && fabs(l.value) > reach) reach = fabs(l.value);
  }
  max = group.max(max), reach = group.max(reach), bad = group.max(bad), overflows = group.max(overflows);
  const bool wants = row == r.target_row;
  if (overflows != 0) {
    if (first == 0) verdict.unjudged();
    return;
  }
  if (bad != 0 || max == -INFINITY) {
    for (std::int64_t j = first; j < r.columns; j += step) {
      const double is = got(j);
      if (wants && j == r.target_column) verdict.target(0, 0, true);
      if (!(is != is)) {
        verdict.wrong(Fault::not_nan, row, j, is, NAN, NAN);
      } else if (unwritten(j)) {
        verdict.wrong(Fault::unwritten, row, j, is, NAN, NAN);
      }
    }
    return;
  }

  const double cu = error_unit_of(r.sums);
  const auto distance = [&](const Logit& l) { return fmin(max - l.value, 0x1.fffffffffffffp1023); };
  const auto error_of = [&](const Logit& l) {
    return fmin(logits.error_beside(l, max, reach) + cu * distance(l), 1e300);
  };
  double sum = 0, by_error = 0, peak = -INFINITY, by_power = 0;  // sum p exp t is by_power exp peak
  for (std::int64_t j = first; j < r.columns; j += step) {
    const Logit l = logits.at(row, j);
    if (l.value == -INFINITY) continue;
    const double p = exp(l.value - max), t = error_of(l), raised = t - distance(l);
    sum += p;
    by_error += p * t;
    if (raised > peak) {
      by_power = by_power * exp(peak - raised) + 1;
      peak = raised;
    } else {
      by_power += exp(raised - peak);
    }
  }
  sum = group.sum(sum);
  const double highest = group.max(peak);
  by_power = group.sum(by_power == 0 ? 0 : by_power * exp(peak - highest));
  const double fall = highest + log(by_power / sum), rise = group.sum(by_error) / sum, log_sum = log(sum);
  const double of_sum = cu * (3 + log2(static_cast<double>(r.columns)));
  double total = 0, used = 0;
  for (std::int64_t j = first; j < r.columns; j += step) {
    const Logit l = logits.at(row, j);
    const double is = got(j);
    total += is;
    if (r.twins && (j & 1) != 0 && !(is == got(j - 1))) {
      verdict.wrong(Fault::twins, row, j, is, got(j - 1), got(j - 1));
    }
    Bounds b{0, 0, 0};
    if (l.value == -INFINITY) {
      b.low = b.high = r.output == masthead::Output::softmax ? 0 : -INFINITY;
    } else {
      const double t = error_of(l);
      b = bounds_of(r, distance(l), -distance(l) - log_sum, t + fall + of_sum, t + rise + of_sum);
    }
    if (wants && j == r.target_column) verdict.target(b.low, b.high, false);
    if (unwritten(j)) {
      verdict.wrong(Fault::unwritten, row, j, is, b.low, b.high);
    } else if (!(is >= b.low && is <= b.high)) {
      verdict.wrong(Fault::value, row, j, is, b.low, b.high);
    } else if (b.high > b.low && is_finite(b.low)) {
      // Probabilities by their logarithms, where the bound is no less than all there is.
      const bool logs = r.output == masthead::Output::softmax;
      if (logs && !(b.low > 0 && is > 0)) continue;
      const double edge = is > b.middle ? b.high : b.low;
      const double part =
          logs ? log(is / b.middle) / log(edge / b.middle) : (is - b.middle) / (edge - b.middle);
      if (part > used) used = part;
    }
  }
  if (r.output == masthead::Output::softmax) {
    total = group.sum(total);
    const double allowed = of_sum + r.stored_error + r.quantized + 2 * r.quantized_sum +
                           static_cast<double>(r.columns) * (r.tiny + 0x1p-52);
    if (first == 0 && !(fabs(total - 1) <= allowed)) {
      verdict.wrong(Fault::row_sum, row, -1, total, 1 - allowed, 1 + allowed);
    }
  }
  used = group.max(used);
  if (first == 0) verdict.used(used);
}

// ---- planted faults

/// A finite number of a dtype above `bound`, by a few units in the last place; `bound` may be -infinity.
inline double few_units_above(double bound, Dtype dtype) {
  if (bound < -0.99 * largest_of(dtype)) return -0.98 * largest_of(dtype);
  const int digits = dtype == Dtype::f64 ? 53 : dtype == Dtype::f32 ? 24 : dtype == Dtype::f16 ? 11 : 8;
  const int least = dtype == Dtype::f64   ? -1074
                    : dtype == Dtype::f32 ? -149
                    : dtype == Dtype::f16 ? -24
                                          : -133;
  const int exponent = bound == 0 ? least : ilogb(bound) - (digits - 1);
  return bound + 4 * ldexp(1.0, exponent > least ? exponent : least);
}

// ---- running statistics

/// What running statistics are before a training batch, before they are rounded, and after how many batches.
MASTHEAD_HOST_DEVICE double running_mean_before(const Case& c, std::int64_t feature) {
  return normal_of(bits_of(c.values, stream_running, 2 * feature));
}
MASTHEAD_HOST_DEVICE double running_var_before(const Case& c, std::int64_t feature) {
  return 0.5 + uniform_of(bits_of(c.values, stream_running, 2 * feature + 1));
}
inline constexpr std::int64_t batches_before = 4;
inline constexpr double momentum = 0.125;

/// The bounds of a running mean, or of a variance, after a batch that moves it by `factor`.
MASTHEAD_HOST_DEVICE Bounds running_bounds(double before, double batch, double batch_error, double factor,
                                           Dtype sums, Dtype stored) {
  const double after = (1 - factor) * before + factor * batch;
  const double unit = stored == Dtype::f16 ? 0x1p-11 : stored == Dtype::bf16 ? 0x1p-8 : roundoff(stored);
  const double allowed = factor * batch_error + error_unit_of(sums) * (fabs(before) + factor * fabs(batch)) +
                         1.01 * unit * fabs(after) + (stored == Dtype::f16 ? 0x1p-25 : 0x1p-126);
  return {after - allowed, after + allowed, after};
}

}  // namespace test::fuzz

#pragma once
/// Heads whose logits are huge, or whose means are far from 0 beside the deviation: their sums are exact in
/// every precision, so that what is left of an error is BatchNorm's and softmax's.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "random.hpp"
#include "reference.hpp"

namespace test {

/// A head of `features` classes whose logits are `pattern` (natural, repeated), in each row times 1 or -1.
/// They come by gamma, or by large operands, as fp8 takes them.
inline HeadProblem huge_logits(std::int64_t batch, std::int64_t features, const std::vector<double>& pattern,
                               bool by_operands = false) {
  HeadProblem p{batch, 8, features, {}, {}, {}, {}, {}, {}, {}, {}};
  p.epsilon = 0;
  p.x.assign(at(batch * 8), 0.0);
  p.weight.assign(at(features * 8), 0.0);
  for (std::int64_t m = 0; m < batch; ++m)
    p.x[at(m, 8, 0)] = (m % 3 == 1 ? -1 : 1) * (by_operands ? 0x1p63 : 1.0);
  for (std::int64_t n = 0; n < features; ++n) {
    p.weight[at(n, 8, 0)] = pattern[at(n % static_cast<std::int64_t>(pattern.size()))] / 1e38;
    if (by_operands) p.weight[at(n, 8, 0)] = std::round(p.weight[at(n, 8, 0)] * 4) * 0x1p61;
  }
  p.gamma.assign(at(features), by_operands ? 1.0 : static_cast<double>(1e38f));
  p.running_mean.assign(at(features), 0.0);
  p.running_var.assign(at(features), 1.0);
  p.scale = {1};
  return p;
}

/// Where the mean of a feature comes from.
enum class Far { bias, sum };

/// A head whose features have means `ratio` times their deviation, with sums that no precision rounds. Far in
/// `Far::bias`, or in the sums themselves, which then have a few values.
inline HeadProblem far_means(std::int64_t batch, std::int64_t features, double ratio, Far far, bool exact_var,
                             std::uint64_t seed) {
  Random random(seed);
  HeadProblem p{batch, 8, features, {}, {}, {}, {}, {}, {}, {}, {}};
  p.x.assign(at(batch * 8), 0.0);
  p.weight.assign(at(features * 8), 0.0);
  const auto few = [&] { return static_cast<double>(random.integer(-3, 3)); };
  for (std::int64_t m = 0; m < batch; ++m) {
    // 1 beside a few eighths of it: e4m3 keeps both.
    p.x[at(m, 8, 0)] = 1;
    for (std::int64_t k = 1; k < 8; ++k) p.x[at(m, 8, k)] = few() / 4;
  }
  for (std::int64_t n = 0; n < features; ++n) {
    const double unit = std::exp2(static_cast<double>(random.integer(-3, 3)));
    for (std::int64_t k = 1; k < 8; ++k) p.weight[at(n, 8, k)] = unit * few();
    const double size = std::exp2(std::round(std::log2(ratio))) * unit, mean = n % 2 == 0 ? size : -size;
    if (far == Far::sum) p.weight[at(n, 8, 0)] = mean;
    p.bias.push_back(far == Far::bias ? mean : unit);
    p.running_mean.push_back(p.bias.back() + p.weight[at(n, 8, 0)]);
    p.running_var.push_back(exact_var ? unit * unit : n % 2 == 0 ? 0 : 1e-12);
    p.gamma.push_back(static_cast<double>(static_cast<float>(random.uniform(0.25, 2))));
    p.beta.push_back(static_cast<double>(static_cast<float>(random.normal())));
  }
  p.scale = {0.5};
  return p;
}

/// The largest difference of natural logarithms of probabilities, and what a float computation that subtracts
/// the mean as it is may lose: some units in the last place of the row's largest logits.
struct LogError {
  double error = 0, bound = 0;
  std::string where;
};

/// The largest difference of log-probabilities that separate operators lose to float64, as torch's do: the
/// sum (exact here) and the bias rounded to Sum, Welford's statistics in Sum, BatchNorm step by step.
template <class Sum>
double separate_operators_error(const HeadProblem& p, const SoftmaxReference& reference, bool training) {
  const auto element = [](const std::vector<double>& v, std::int64_t n, double absent) {
    return static_cast<Sum>(v.empty() ? absent : v.size() == 1 ? v[0] : v[at(n)]);
  };
  std::vector<double> logits(at(p.batch * p.out_features));
  std::vector<Sum> z(at(p.batch));
  for (std::int64_t n = 0; n < p.out_features; ++n) {
    for (std::int64_t m = 0; m < p.batch; ++m) {
      double sum = 0;
      for (std::int64_t k = 0; k < p.in_features; ++k) {
        sum += p.x[at(m, p.in_features, k)] * p.weight[at(n, p.in_features, k)];
      }
      z[at(m)] = static_cast<Sum>(sum) + element(p.bias, n, 0);
    }
    Sum mean = element(p.running_mean, n, 0), var = element(p.running_var, n, 1);
    if (training) {
      mean = 0, var = 0;
      for (std::int64_t m = 0; m < p.batch; ++m) {
        const Sum delta = z[at(m)] - mean;
        mean += delta / static_cast<Sum>(m + 1);
        var += delta * (z[at(m)] - mean);
      }
      var /= static_cast<Sum>(p.batch);
    }
    const Sum inverse = 1 / std::sqrt(var + static_cast<Sum>(p.epsilon));
    for (std::int64_t m = 0; m < p.batch; ++m) {
      const Sum y = (z[at(m)] - mean) * inverse * element(p.gamma, n, 1) + element(p.beta, n, 0);
      logits[at(m, p.out_features, n)] = y * element(p.scale, n, 1);
    }
  }
  const SoftmaxReference got =
      softmax_reference(logits, p.batch, p.out_features, std::vector<double>(logits.size()));
  double error = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    error = std::max(error, std::abs(got.log_probability[i] - reference.log_probability[i]));
  }
  return error;
}

/// Compares log-probabilities with the reference of logits that a computation in floats (or doubles) rounds a
/// few times, relative to themselves and to the largest of their row.
inline LogError log_error(const SoftmaxReference& reference, const std::vector<double>& got, bool doubles) {
  const double unit = doubles ? 0x1p-53 : 0x1p-24;
  LogError worst;
  for (std::int64_t m = 0; m < reference.rows; ++m) {
    double largest = 1;
    for (std::int64_t n = 0; n < reference.columns; ++n) {
      largest = std::max(largest, std::abs(reference.log_probability[at(m, reference.columns, n)]));
    }
    // Four roundings in BatchNorm and scale of each of two logits, exp2 and log, and two in the difference.
    const double bound = 16 * unit * (largest + 4);
    for (std::int64_t n = 0; n < reference.columns; ++n) {
      const std::size_t i = at(m, reference.columns, n);
      const double error = std::abs(got[i] - reference.log_probability[i]);
      if (!(error * worst.bound <= worst.error * bound) || worst.bound == 0) {
        worst = {error, bound, "row " + std::to_string(m) + ", column " + std::to_string(n)};
        if (std::isnan(error)) worst.error = std::numeric_limits<double>::infinity();
      }
    }
  }
  return worst;
}

}  // namespace test

#include "verify.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "reference.hpp"

namespace model_head {
namespace {

using masthead::Mode;
using masthead::Precision;

/// The share of rows whose largest value is at the row's label, from row `first` on.
double accuracy(const std::vector<double>& values, const std::vector<std::uint8_t>& labels,
                std::int64_t first) {
  const std::size_t classes = values.size() / labels.size();
  std::size_t right = 0;
  for (std::size_t row = static_cast<std::size_t>(first); row < labels.size(); ++row) {
    const auto begin = values.begin() + static_cast<std::ptrdiff_t>(row * classes);
    right += std::max_element(begin, begin + static_cast<std::ptrdiff_t>(classes)) - begin == labels[row];
  }
  return static_cast<double>(right) / (static_cast<double>(labels.size()) - static_cast<double>(first));
}

/// How far the digits' log-probabilities may be from PyTorch's float64 ones, of the unrounded parameters: at
/// least twice what correct arithmetic gives, which for 16-bit operands is the rounding of the weight.
double digits_tolerance(Precision precision) {
  switch (precision) {
    case Precision::fp64:
      return 1e-12;
    case Precision::bf16:
      return 6e-2;
    case Precision::fp16:
    case Precision::tf32:  // rounds_floats
    case Precision::fp16_scaled:
      return 6e-3;
    default:
      return 2e-5;
  }
}

std::vector<std::int64_t> sampled_rows(std::int64_t batch) {
  constexpr std::int64_t most = 16;
  const std::int64_t count = std::min(batch, most);
  std::vector<std::int64_t> rows;
  for (std::int64_t i = 0; i < count; ++i) {
    rows.push_back(
        count == 1 ? 0 : static_cast<std::int64_t>(static_cast<double>(i) * (batch - 1) / (count - 1)));
  }
  return rows;  // evenly spread, the first and the last among them
}

std::string text(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.3g", value);
  return buffer;
}

void require_at_most(const std::string& what, double value, double bound, Findings& findings) {
  if (!(value <= bound)) {
    findings.failures.push_back(what + " is " + text(value) + ", above its bound of " + text(bound));
  }
}

/// After exactly one pass in training mode.
void check_running(const Statistics& running, const Reference& reference, std::int64_t in_features,
                   Findings& findings) {
  const double difference = std::max(max_difference(running.mean, reference.running_mean),
                                     max_difference(running.var, reference.running_var));
  const double bound = statistics_tolerance(reference, in_features);
  std::printf("running    max|d running_mean, running_var| %.3g (bound %.3g) after one pass\n", difference,
              bound);
  findings.figures["max_abs_drunning"] = difference;
  require_at_most("max|d running_mean, running_var|", difference, bound, findings);
}

}  // namespace

Findings verify_digits(const Digits& digits, const Settings& settings, const Backend& backend,
                       const Statistics& running) {
  Findings findings;
  const Shape& shape = digits.problem.shape;
  const auto [precision, mode, output, threads] = settings;
  std::vector<std::int64_t> rows(static_cast<std::size_t>(shape.batch));
  std::iota(rows.begin(), rows.end(), std::int64_t{0});

  std::vector<double> expected;
  if (mode == Mode::eval) {
    for (const double p : digits.probabilities) expected.push_back(std::log(p));
  } else {
    const Reference reference = compute_reference(digits.problem, mode, rows, threads);
    // The rounding of a short weight moves the batch statistics, which this bound is not made for.
    if (masthead::size_of(masthead::operand_dtype(precision)) >= 4 && !rounds_floats(precision)) {
      check_running(running, reference, shape.in_features, findings);
    }
    expected = reference.log_probabilities;
  }

  const std::vector<double> y = backend.read_rows(rows);
  const double right = accuracy(y, digits.labels, digits.train_rows);
  const double expected_right = accuracy(expected, digits.labels, digits.train_rows);
  const double difference = max_log_difference(y, output, expected);
  const double bound = digits_tolerance(precision);
  findings.figures["accuracy"] = right;
  findings.figures["max_abs_dlogp"] = difference;
  findings.figures["bound"] = bound;
  require_at_most("max|dlogp|", difference, bound, findings);
  if (masthead::size_of(masthead::operand_dtype(precision)) >= 4 && right != expected_right) {
    findings.failures.push_back("accuracy is " + text(right) + ", not the reference's " +
                                text(expected_right));
  }
  std::printf(
      "check      max|dlogp| of all %lld digits against %s in float64 (bound %.3g); accuracy on the last "
      "%lld, not trained on (reference %.4f)\n",
      static_cast<long long>(shape.batch), mode == Mode::eval ? "PyTorch" : "straight loops", bound,
      static_cast<long long>(shape.batch - digits.train_rows), expected_right);
  std::printf("accuracy %.4f max|dlogp| %.3g\n", right, difference);
  return findings;
}

Findings verify_generated(const Problem& problem, const Settings& settings, const Backend& backend,
                          const Statistics& running) {
  Findings findings;
  const std::vector<std::int64_t> rows = sampled_rows(problem.shape.batch);
  const Reference reference = compute_reference(problem, settings.mode, rows, settings.threads);
  if (settings.mode == Mode::training) {
    check_running(running, reference, problem.shape.in_features, findings);
  }
  const double difference =
      max_log_difference(backend.read_rows(rows), settings.output, reference.log_probabilities);
  const double bound = log_tolerance(reference, settings.precision, problem.shape);
  findings.figures["rows_checked"] = rows.size();
  findings.figures["max_abs_dlogp"] = difference;
  findings.figures["bound"] = bound;
  require_at_most("max|dlogp|", difference, bound, findings);
  std::printf("check      %zu rows against straight loops in float64: max|dlogp| %.3g (bound %.3g)\n",
              rows.size(), difference, bound);
  return findings;
}

}  // namespace model_head

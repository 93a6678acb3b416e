#include "reference.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <numeric>

#include "masthead/cpu/executor.hpp"

namespace model_head {
namespace {

/// Rows whose sums run side by side. Each sum is still one loop over k; the compiler uses vector instructions
/// across the rows.
constexpr std::int64_t lanes = 16;

/// Features that a thread takes at a time.
constexpr std::int64_t chunk = 32;

/// x W^T + b of the given rows and of features [first, first + count), as (row, feature).
std::vector<double> linear(const Problem& p, const std::vector<std::int64_t>& rows, std::int64_t first,
                           std::int64_t count) {
  const std::int64_t in = p.shape.in_features, batch = static_cast<std::int64_t>(rows.size());
  std::vector<double> outputs(static_cast<std::size_t>(batch * count));
  std::vector<double> columns(static_cast<std::size_t>(in * lanes));  // (k, lane)
  for (std::int64_t begin = 0; begin < batch; begin += lanes) {
    const std::int64_t used = std::min(lanes, batch - begin);
    for (std::int64_t lane = 0; lane < used; ++lane) {
      const float* x = p.x.data() + rows[begin + lane] * in;
      for (std::int64_t k = 0; k < in; ++k) columns[k * lanes + lane] = x[k];
    }
    for (std::int64_t n = 0; n < count; ++n) {
      const float* weight = p.weight.data() + (first + n) * in;
      double sums[lanes] = {};
      for (std::int64_t k = 0; k < in; ++k) {
        const double w = weight[k];
        for (std::int64_t lane = 0; lane < lanes; ++lane) sums[lane] += columns[k * lanes + lane] * w;
      }
      for (std::int64_t lane = 0; lane < used; ++lane) {
        outputs[(begin + lane) * count + n] = sums[lane] + p.bias[first + n];
      }
    }
  }
  return outputs;
}

struct Moments {
  double mean = 0, squares = 0;  // squares: sum of squared deviations from the mean
};

Moments moments_of_column(const std::vector<double>& outputs, std::int64_t count, std::int64_t n) {
  const std::int64_t batch = static_cast<std::int64_t>(outputs.size()) / count;
  Moments m;
  for (std::int64_t row = 0; row < batch; ++row) m.mean += outputs[row * count + n];
  m.mean /= static_cast<double>(batch);
  for (std::int64_t row = 0; row < batch; ++row) {
    m.squares += (outputs[row * count + n] - m.mean) * (outputs[row * count + n] - m.mean);
  }
  return m;
}

void log_softmax(double* row, std::int64_t size) {
  const double max = *std::max_element(row, row + size);
  double sum = 0;
  for (std::int64_t n = 0; n < size; ++n) sum += std::exp(row[n] - max);
  for (std::int64_t n = 0; n < size; ++n) row[n] -= max + std::log(sum);
}

}  // namespace

Reference compute_reference(const Problem& p, masthead::Mode mode, const std::vector<std::int64_t>& rows,
                            int threads) {
  const auto [batch, in, out] = p.shape;
  const bool training = mode == masthead::Mode::training;
  std::vector<std::int64_t> needed = rows;
  if (training) {
    needed.resize(static_cast<std::size_t>(batch));
    std::iota(needed.begin(), needed.end(), std::int64_t{0});
  }

  Reference reference;
  std::vector<double>& logits = reference.log_probabilities;
  logits.resize(rows.size() * static_cast<std::size_t>(out));
  reference.running_mean.assign(p.running_mean.begin(), p.running_mean.end());
  reference.running_var.assign(p.running_var.begin(), p.running_var.end());
  std::mutex mutex;

  masthead::cpu::Executor(threads).parallel_for((out + chunk - 1) / chunk, [&](std::int64_t index, int) {
    const std::int64_t first = index * chunk, count = std::min(chunk, out - first);
    const std::vector<double> outputs = linear(p, needed, first, count);
    double max_output = 0, max_multiplier = 0, max_logit = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t n = first + i;
      double mean = p.running_mean[n], var = p.running_var[n];
      if (training) {
        const Moments m = moments_of_column(outputs, count, i);
        mean = m.mean;
        var = m.squares / static_cast<double>(batch);
        reference.running_mean[n] += 0.1 * (mean - reference.running_mean[n]);
        reference.running_var[n] +=
            0.1 * (m.squares / static_cast<double>(batch - 1) - reference.running_var[n]);
      }
      const double scale = p.scale[p.scale.size() == 1 ? 0 : n];
      for (std::size_t r = 0; r < rows.size(); ++r) {
        const double output = outputs[(training ? rows[r] : static_cast<std::int64_t>(r)) * count + i];
        const double normalized = (output - mean) / std::sqrt(var + p.epsilon);
        const double logit = scale * (normalized * p.gamma[n] + p.beta[n]);
        logits[r * static_cast<std::size_t>(out) + n] = logit;
        max_output = std::max(max_output, std::abs(output));
        max_logit = std::max(max_logit, std::abs(logit));
      }
      max_multiplier = std::max(max_multiplier, std::abs(scale * p.gamma[n]) / std::sqrt(var + p.epsilon));
    }
    const std::lock_guard lock(mutex);
    reference.max_output = std::max(reference.max_output, max_output);
    reference.max_multiplier = std::max(reference.max_multiplier, max_multiplier);
    reference.max_logit = std::max(reference.max_logit, max_logit);
  });

  for (std::size_t r = 0; r < rows.size(); ++r) {
    log_softmax(logits.data() + r * static_cast<std::size_t>(out), out);
  }
  return reference;
}

double max_log_difference(const std::vector<double>& written, masthead::Output output,
                          const std::vector<double>& log_probabilities) {
  constexpr double smallest = std::numeric_limits<float>::min();
  double max = 0;
  for (std::size_t i = 0; i < log_probabilities.size(); ++i) {
    double log_p = written[i];
    if (output == masthead::Output::softmax) {
      if (log_probabilities[i] < std::log(smallest) && written[i] >= 0 && written[i] < 2 * smallest) continue;
      log_p = std::log(written[i]);
    }
    const double difference = std::abs(log_p - log_probabilities[i]);
    if (std::isnan(difference)) return std::numeric_limits<double>::infinity();
    max = std::max(max, difference);
  }
  return max;
}

double log_tolerance(const Reference& reference, masthead::Precision precision, const Shape& shape) {
  const double unit = precision == masthead::Precision::fp64 ? 0x1p-53 : 0x1p-24;
  const auto in_features = static_cast<double>(shape.in_features);
  const bool sixteen_bit = masthead::size_of(masthead::operand_dtype(precision)) == 2 ||
                           precision == masthead::Precision::fp16_scaled;
  const double truncated = sixteen_bit                              ? in_features / 8
                           : precision == masthead::Precision::tf32 ? in_features / 4
                                                                    : 0.0;
  const double roundings = std::max(2 * std::sqrt(in_features), truncated) + 6;
  const double outputs = roundings * reference.max_output;
  const double exponentials = std::sqrt(static_cast<double>(shape.out_features)) + 16;
  return unit * (outputs * reference.max_multiplier + 4 * reference.max_logit + exponentials);
}

double statistics_tolerance(const Reference& reference, std::int64_t in_features) {
  return 0x1p-24 * 2 * std::sqrt(static_cast<double>(in_features)) * reference.max_output *
         reference.max_output;
}

double max_difference(const std::vector<float>& values, const std::vector<double>& reference) {
  double max = 0;
  for (std::size_t i = 0; i < reference.size(); ++i) {
    const double difference = std::abs(static_cast<double>(values[i]) - reference[i]);
    if (std::isnan(difference)) return std::numeric_limits<double>::infinity();
    max = std::max(max, difference);
  }
  return max;
}

}  // namespace model_head

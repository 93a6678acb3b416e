#pragma once
/// The float64 reference: the formulas of nn.Linear, nn.BatchNorm1d and softmax in straight loops over
/// doubles. Shares no arithmetic with the library.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

namespace test {

inline std::size_t at(std::int64_t index) { return static_cast<std::size_t>(index); }
inline std::size_t at(std::int64_t row, std::int64_t columns, std::int64_t column) {
  return static_cast<std::size_t>(row * columns + column);
}

/// A softmax over rows and how exactly it can be computed: a float computation with unit roundoff u may have
/// logits wrong by a small multiple of u * condition.
struct SoftmaxReference {
  std::int64_t rows = 0, columns = 0;
  std::vector<double> probability;      // (rows, columns)
  std::vector<double> log_probability;  // (rows, columns)
  std::vector<double> condition;        // (rows, columns)
};

/// softmax over each row of `logits`. `condition` is that of the logits; what softmax adds is added here.
inline SoftmaxReference softmax_reference(const std::vector<double>& logits, std::int64_t rows,
                                          std::int64_t columns, std::vector<double> condition) {
  SoftmaxReference r{rows, columns, logits, logits, std::move(condition)};
  for (std::int64_t m = 0; m < rows; ++m) {
    double max = -std::numeric_limits<double>::infinity();
    for (std::int64_t j = 0; j < columns; ++j) {
      if (logits[at(m, columns, j)] > max) max = logits[at(m, columns, j)];
    }
    long double exact = 0;  // a million terms in double would round by as much as what is tested
    for (std::int64_t j = 0; j < columns; ++j) exact += std::exp(logits[at(m, columns, j)] - max);
    const double sum = static_cast<double>(exact);
    for (std::int64_t j = 0; j < columns; ++j) {
      const double v = logits[at(m, columns, j)];
      r.probability[at(m, columns, j)] = std::exp(v - max) / sum;
      r.log_probability[at(m, columns, j)] = v - max - std::log(sum);
      r.condition[at(m, columns, j)] += std::abs(v) + std::abs(v - max);
    }
  }
  return r;
}

/// scale * x, then softmax. `scale` has 0 (absent), 1 or `columns` elements.
inline SoftmaxReference scale_softmax_reference(const std::vector<double>& x, std::int64_t rows,
                                                std::int64_t columns, const std::vector<double>& scale) {
  std::vector<double> logits(x.size());
  for (std::int64_t m = 0; m < rows; ++m) {
    for (std::int64_t j = 0; j < columns; ++j) {
      const double factor = scale.empty() ? 1 : scale.size() == 1 ? scale[0] : scale[at(j)];
      logits[at(m, columns, j)] = x[at(m, columns, j)] * factor;
    }
  }
  return softmax_reference(logits, rows, columns, std::vector<double>(x.size(), 0.0));
}

/// A head and its input as doubles. Empty vectors are absent.
struct HeadProblem {
  std::int64_t batch = 0, in_features = 0, out_features = 0;
  std::vector<double> x;       // (batch, in_features)
  std::vector<double> weight;  // (out_features, in_features)
  std::vector<double> bias, gamma, beta, running_mean, running_var;
  std::vector<double> scale;  // 0, 1 or out_features elements
  double epsilon = 1e-5;
};

/// What BatchNorm keeps between training batches.
struct RunningReference {
  std::vector<double> mean, var;
  std::int64_t batches_tracked = 0;
};

struct HeadReference {
  SoftmaxReference softmax;
  std::vector<double> batch_mean, batch_var;  // of x W^T + b, var biased; of training mode, like what follows
  std::vector<double> mean_condition, var_condition;  // as SoftmaxReference::condition
};

namespace detail {

inline double element(const std::vector<double>& values, std::int64_t index, double absent) {
  if (values.empty()) return absent;
  return values.size() == 1 ? values[0] : values[at(index)];
}

}  // namespace detail

/// The head, in training mode with the statistics of the batch, else with the running ones.
inline HeadReference head_reference(const HeadProblem& p, bool training) {
  using detail::element;
  const std::int64_t m_count = p.batch, n_count = p.out_features, k_count = p.in_features;
  // A chain of sums rounds every partial sum: errors of either sign add up to the root of their squares. Any
  // other order of summation stays within the sum of magnitudes, or it splits the chain and does better.
  std::vector<double> z(at(m_count * n_count)), magnitude(at(m_count * n_count));
  for (std::int64_t m = 0; m < m_count; ++m) {
    for (std::int64_t n = 0; n < n_count; ++n) {
      double sum = 0, absolute = 0, squares = 0;
      for (std::int64_t k = 0; k < k_count; ++k) {
        const double product = p.x[at(m, k_count, k)] * p.weight[at(n, k_count, k)];
        sum += product;
        absolute += std::abs(product);
        squares += sum * sum;
      }
      z[at(m, n_count, n)] = sum;
      magnitude[at(m, n_count, n)] = absolute + std::sqrt(squares);
    }
  }

  HeadReference r;
  const double merges = 1 + std::log2(static_cast<double>(m_count));
  std::vector<double> logits(z.size()), condition(z.size());
  for (std::int64_t n = 0; n < n_count; ++n) {
    // A bias moves the mean of a batch along: adding it to z could only cost digits of the difference.
    const double bias = element(p.bias, n, 0);
    double mean = element(p.running_mean, n, 0) - bias, var = element(p.running_var, n, 1),
           mean_magnitude = 0;
    if (training) {
      mean = 0;
      for (std::int64_t m = 0; m < m_count; ++m) {
        mean += z[at(m, n_count, n)];
        mean_magnitude += magnitude[at(m, n_count, n)];
      }
      mean /= static_cast<double>(m_count);
      mean_magnitude /= static_cast<double>(m_count);
      var = 0;
      for (std::int64_t m = 0; m < m_count; ++m) {
        var += (z[at(m, n_count, n)] - mean) * (z[at(m, n_count, n)] - mean);
      }
      var /= static_cast<double>(m_count);
      r.batch_mean.push_back(mean + bias);
      r.batch_var.push_back(var);
      r.mean_condition.push_back(mean_magnitude + std::abs(mean) + std::abs(bias));
      r.var_condition.push_back(merges * var + 2 * mean_magnitude * std::sqrt(var));
    }
    const double deviation = std::sqrt(var + p.epsilon);
    const double gamma = element(p.gamma, n, 1), beta = element(p.beta, n, 0), scale = element(p.scale, n, 1);
    for (std::int64_t m = 0; m < m_count; ++m) {
      const std::size_t i = at(m, n_count, n);
      logits[i] = scale * ((z[i] - mean) / deviation * gamma + beta);
      // An error of z moves the logit, and in training mode also the mean and the deviation.
      const double distance = std::abs(z[i] - mean);
      const double error_of_z =
          training ? (magnitude[i] + mean_magnitude) * (1 + distance / deviation) + merges * distance
                   : magnitude[i] + std::abs(mean);
      condition[i] = std::abs(scale) * (error_of_z / deviation * std::abs(gamma) + std::abs(beta));
    }
  }
  r.softmax = softmax_reference(logits, m_count, n_count, std::move(condition));
  return r;
}

/// What running statistics become after a training batch of `rows`. No momentum: a cumulative average.
inline RunningReference running_reference(const RunningReference& before, const HeadReference& batch,
                                          std::int64_t rows, std::optional<double> momentum) {
  RunningReference after = before;
  ++after.batches_tracked;
  const double factor = momentum ? *momentum : 1.0 / static_cast<double>(after.batches_tracked);
  const double unbiased = static_cast<double>(rows) / static_cast<double>(rows - 1);
  for (std::size_t n = 0; n < after.mean.size(); ++n) {
    after.mean[n] = (1 - factor) * before.mean[n] + factor * batch.batch_mean[n];
    after.var[n] = (1 - factor) * before.var[n] + factor * batch.batch_var[n] * unbiased;
  }
  return after;
}

}  // namespace test

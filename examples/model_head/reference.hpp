#pragma once
/// What a head should give, in float64 by straight loops that share nothing with the library.

#include <cstdint>
#include <vector>

#include "masthead/core/parameters.hpp"
#include "problem.hpp"

namespace model_head {

struct Reference {
  std::vector<double> log_probabilities;  ///< (rows, out_features)

  /// What training mode leaves in running_mean and running_var after one pass with momentum 0.1,
  /// (out_features).
  std::vector<double> running_mean, running_var;

  double max_output = 1;      ///< largest |x W^T + b| seen, at least 1
  double max_multiplier = 0;  ///< largest |scale * gamma / sqrt(var + epsilon)|
  double max_logit = 0;       ///< largest |logit|
};

/// The head of `problem` in these rows of its batch. Training mode needs every row's outputs: 2 * batch *
/// in_features * out_features operations on `threads` threads.
Reference compute_reference(const Problem& problem, masthead::Mode mode,
                            const std::vector<std::int64_t>& rows, int threads);

/// The largest |log p - log p_ref|, given what a head wrote as softmax or log_softmax; infinity where it
/// wrote a NaN. Probabilities below float's smallest normal have no accurate logarithm: where the reference
/// is below it, a softmax output need only be below twice that.
double max_log_difference(const std::vector<double>& written, masthead::Output output,
                          const std::vector<double>& log_probabilities);

/// How far log-probabilities may be from the reference's when the head has the same operands. With unit
/// roundoff u of the accumulator, an output of the linear layer may be off by (2 sqrt(in_features) + 6) u
/// times the largest output (rounding errors of a sum add up like a random walk), which the multiplier passes
/// on to the logit; the rest is for the rounding of logits and of exponentials and their sum. Tensor cores,
/// which 16-bit operands may meet, truncate every 16 products (tf32: every 8): up to 2 u each time, always
/// towards zero, so that in_features / 8 (/ 4) takes the place of the walk.
double log_tolerance(const Reference& reference, masthead::Precision precision, const Shape& shape);

/// The same for running statistics, which are stored as float.
double statistics_tolerance(const Reference& reference, std::int64_t in_features);

/// The largest |value - reference|; infinity for a NaN.
double max_difference(const std::vector<float>& values, const std::vector<double>& reference);

}  // namespace model_head

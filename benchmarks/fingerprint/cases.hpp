#pragma once
/// The cases of the fingerprint program, as plain data: nothing here names the library.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace benchmark {

/// Where a matrix lies: elements that its first one is moved by from an aligned address, and elements between
/// the end of a row and the next.
struct Placement {
  std::int64_t offset = 0, padding = 0;
};

enum class ScaleOf : std::uint8_t { absent, one, per_column };

constexpr std::string_view name(ScaleOf scale) {
  constexpr std::string_view names[] = {"no_scale", "one_scale", "column_scale"};
  return names[static_cast<int>(scale)];
}

/// What BatchNorm normalizes with and what becomes of the running statistics.
enum class Normalization : std::uint8_t {
  eval,        ///< the running statistics
  momentum,    ///< those of the batch; the running ones move by a factor
  cumulative,  ///< those of the batch; the running ones are an average of all batches
  untracked,   ///< those of the batch; there are no running ones
};

constexpr std::string_view name(Normalization normalization) {
  constexpr std::string_view names[] = {"eval", "training_momentum", "training_cumulative",
                                        "training_untracked"};
  return names[static_cast<int>(normalization)];
}

/// One forward pass of a head.
struct HeadCase {
  std::string precision;
  std::int64_t batch, in_features, out_features;
  Normalization normalization = Normalization::eval;
  bool log_softmax = false;
  bool accumulator_y = false;  ///< y has the accumulator's dtype, not the operands'
  Placement x = {}, weight = {}, y = {};
  ScaleOf scale = ScaleOf::one;
  bool bias = true, gamma = true, beta = true;
  bool non_finite = false;        ///< x has a few NaN and infinities
  double magnitude = 1;           ///< a power of two that x is multiplied by
  std::string variant = "usual";  ///< the case's name ends with it

  std::string name() const;
};

/// One call of scale_softmax.
struct SoftmaxCase {
  std::string x_dtype, y_dtype;
  std::int64_t rows, columns;
  bool log_softmax = false;
  ScaleOf scale = ScaleOf::one;
  Placement x = {}, y = {};
  bool in_place = false;
  bool non_finite = false;
  std::string variant = "usual";

  std::string name() const;
};

/// Names are unique, without spaces, and say all there is of a case: its data depend on nothing else.
std::vector<HeadCase> head_cases();
std::vector<SoftmaxCase> softmax_cases();

}  // namespace benchmark

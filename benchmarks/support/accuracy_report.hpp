#pragma once
/// What the accuracy program prints and writes.

#include <optional>
#include <string>
#include <vector>

#include "support/environment.hpp"

namespace benchmark {

/// The errors of one system in one precision on one data set, against float64.
struct AccuracyRow {
  std::string data, precision, system;
  double logits_l2 = 0;       ///< relative L2 of logits against the exact product of the operands it takes
  double logits_largest = 0;  ///< max error of logits over their root mean square
  double float_l2 = 0;        ///< relative L2 against the exact product of the float data, before rounding
  double log_difference = 0;  ///< max |dlogp| of a softmax of logits of a few units
  std::optional<double> direct_l2 = {};  ///< logits_l2 of logits as they are, where a system shows them
  std::optional<double> ulp = {};        ///< of 16-bit probabilities of logits up to 32
  std::string detail;                    ///< what ran
};

class AccuracyReport {
 public:
  /// Prints the environment's line. `sampled_rows`: of every output.
  AccuracyReport(const Environment& environment, const std::string& problem, int sampled_rows);

  void add(const AccuracyRow& row) { rows_.push_back(row); }

  void print_table() const;

  /// Whether every figure is a number.
  bool complete() const;

  /// {"header": {...}, "rows": [...]}. Throws where the file cannot be written.
  void write_json(const std::string& path, const Clocks& after) const;

 private:
  /// masthead's figure over that of cuBLASLt in the same precision on the same data.
  std::optional<double> ratio(const AccuracyRow& row, double AccuracyRow::*figure) const;

  Environment environment_;
  std::string problem_;
  int sampled_rows_;
  std::vector<AccuracyRow> rows_;
};

}  // namespace benchmark

#pragma once
/// What a benchmark prints and writes: where it ran, the checks of every system's output, the timings.

#include <string>
#include <vector>

#include "support/environment.hpp"
#include "support/samples.hpp"

namespace benchmark {

/// Which measurement a row belongs to.
struct Case {
  std::string problem, precision, mode;
};

/// The check of one system's output against float64, made before it is timed.
struct Check {
  Case of;
  std::string system;
  std::string metric;  ///< what `error` is
  double error = 0;
  bool right = false;  ///< whether that is within its tolerance
  std::string detail;  ///< what ran: the policy, the algorithm
};

/// What a ratio is asked to be at most; 0: nothing is asked.
struct Bar {
  double must = 0, goal = 0;
};

struct Row {
  Case of;
  Timing timing = Timing::back_to_back;
  std::string system;
  Statistics us;
  double ratio = 1;  ///< median over that of the case's baseline with the same timing
  Bar bar = {};      ///< of `ratio`
};

class Report {
 public:
  /// Prints the environment's line.
  Report(const Environment& environment, const Sampling& sampling);

  /// Prints a check at once, so that a log shows it even if the run dies in the timing.
  void add(const Check& check);

  /// The rows of one case, from the medians of the systems named; the first is its baseline. `bar` is of the
  /// system `masthead`.
  void add(const Case& of, Timing timing, const std::vector<std::string>& systems,
           const std::vector<Statistics>& us, const Bar& bar = {});

  /// With the bars where a row has one, and then how many rows keep theirs.
  void print_table() const;

  /// Whether every check so far was right.
  bool all_right() const;

  /// {"header": {...}, "checks": [...], "rows": [...]}. Throws where the file cannot be written.
  void write_json(const std::string& path, const Clocks& after);

 private:
  Environment environment_;
  Sampling sampling_;
  std::vector<Check> checks_;
  std::vector<Row> rows_;
};

}  // namespace benchmark

#pragma once
/// What a benchmark prints and writes: where it ran, the checks of every system's output, the timings.

#include <string>
#include <vector>

#include "support/samples.hpp"

namespace benchmark {

/// The card's state at one moment, in nvidia-smi's words; empty where that program is not there.
struct Clocks {
  std::string sm, memory, maximum_sm, power, temperature;
};

/// Where and when a program ran.
struct Environment {
  std::string program, commit, date, gpu, driver;
  int architecture = 0;  ///< 10 * major + minor of the compute capability
  int multiprocessors = 0;
  int l2_bytes = 0;
  int cuda_driver = 0, cuda_runtime = 0;  ///< 1000 * major + 10 * minor
  Clocks before, after;
};

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

struct Row {
  Case of;
  Timing timing = Timing::back_to_back;
  std::string system;
  Statistics us;
  double ratio = 1;  ///< median over that of the case's baseline with the same timing
};

class Report {
 public:
  /// Prints the environment's line.
  Report(const Environment& environment, const Sampling& sampling);

  /// Prints a check at once, so that a log shows it even if the run dies in the timing.
  void add(const Check& check);

  /// The rows of one case, from the medians of the systems named; the first is its baseline.
  void add(const Case& of, Timing timing, const std::vector<std::string>& systems,
           const std::vector<Statistics>& us);

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

#pragma once
/// Where and when a benchmark ran, as data.

#include <string>

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
  Clocks before;
};

}  // namespace benchmark

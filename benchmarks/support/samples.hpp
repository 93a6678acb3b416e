#pragma once
/// What the timing harness samples, and what it makes of the samples.

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

namespace benchmark {

/// What one sample is.
enum class Timing : std::uint8_t {
  back_to_back,  ///< the time of a block of calls over rotating buffer sets, divided by their number
  single,        ///< the time of one call on buffers that are not in L2
};

constexpr std::string_view name(Timing timing) {
  return timing == Timing::back_to_back ? "back_to_back" : "single";
}

/// How to sample.
struct Sampling {
  int sets = 2;              ///< buffer sets to rotate over
  int repetitions = 21;      ///< samples of each system
  double block_us = 20'000;  ///< what a block of back-to-back calls should last
  bool graphs = false;       ///< replay blocks as CUDA graphs, so that the host cannot be the slower side
};

/// Microseconds.
struct Statistics {
  double median = 0, minimum = 0, maximum = 0;

  static Statistics of(std::vector<double> samples) {
    std::sort(samples.begin(), samples.end());
    const std::size_t half = samples.size() / 2;
    const double median = samples.size() % 2 == 1 ? samples[half] : (samples[half - 1] + samples[half]) / 2;
    return {median, samples.front(), samples.back()};
  }
};

}  // namespace benchmark

#pragma once
/// The command line.

#include <cstdint>
#include <filesystem>
#include <optional>

#include "backend.hpp"
#include "problem.hpp"

namespace model_head {

enum class Device : std::uint8_t { automatic, gpu, cpu };

struct Options {
  std::filesystem::path data;
  std::optional<Shape> problem;  ///< absent: the digits
  Device device = Device::automatic;
  Settings settings;
  bool plan = false;  ///< print the plan instead of running the head
  int runs = 0;       ///< timed passes; 0: as many as take about three seconds, at most 100
  std::uint64_t seed = 0;
  std::filesystem::path json;  ///< empty: no file
};

/// Nothing when help was asked for and printed. Throws std::runtime_error with one sentence for a wrong flag
/// or value.
std::optional<Options> parse_options(int argc, char** argv);

}  // namespace model_head

#pragma once
/// What the main functions of the benchmark programs share: options and exit codes.

#include <CLI/CLI.hpp>
#include <exception>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include "support/cuda.cuh"
#include "support/timing.cuh"

namespace benchmark {

/// The options every program has.
struct CommonOptions {
  std::string timing = "both";
  Sampling sampling;
  std::string json, commit = "unknown";

  void add_to(CLI::App& app) {
    app.add_option("--timing", timing,
                   "blocks of calls over rotating buffers, or single calls with a cold L2")
        ->check(CLI::IsMember({"back_to_back", "single", "both"}))
        ->capture_default_str();
    app.add_option("--repetitions", sampling.repetitions, "samples of each system; at least 15")
        ->check(CLI::Range(15, 100000))
        ->capture_default_str();
    app.add_option("--block-us", sampling.block_us, "how long a block of back-to-back calls lasts, in us")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    app.add_flag("--graphs", sampling.graphs, "replay blocks of back-to-back calls as CUDA graphs");
    app.add_option("--json", json, "write the results to this file");
    app.add_option("--commit", commit, "what was measured, for the file's header")->capture_default_str();
  }

  std::vector<Timing> timings() const {
    std::vector<Timing> chosen;
    if (timing != "single") chosen.push_back(Timing::back_to_back);
    if (timing != "back_to_back") chosen.push_back(Timing::single);
    return chosen;
  }
};

/// Parses the command line and runs `body`. Exit status: `body`'s; 77 without a GPU; 1, with its text, for an
/// exception.
inline int run_program(CLI::App& app, int argc, char** argv, const std::function<int()>& body) {
  CLI11_PARSE(app, argc, argv);
  if (!has_device()) {
    std::cerr << app.get_name() << ": no usable CUDA device\n";
    return 77;
  }
  try {
    return body();
  } catch (const std::exception& error) {
    std::cerr << app.get_name() << ": " << error.what() << '\n';
    return 1;
  }
}

}  // namespace benchmark

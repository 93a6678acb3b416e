#pragma once
/// Judges what a backend computed, and prints the figures.

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "backend.hpp"
#include "problem.hpp"

namespace model_head {

struct Findings {
  nlohmann::json figures;             ///< by name, for `--json`
  std::vector<std::string> failures;  ///< a sentence for each check that failed
};

/// All digits against PyTorch's float64, or in training mode, of which nothing is stored, against this
/// program's. Prints "accuracy 0.NNNN max|dlogp| X" last; the accuracy is that on the digits the head was not
/// trained on. `running`: the running statistics after exactly one pass.
Findings verify_digits(const Digits& digits, const Settings& settings, const Backend& backend,
                       const Statistics& running);

/// Sampled rows of generated data against straight loops in float64.
Findings verify_generated(const Problem& problem, const Settings& settings, const Backend& backend,
                          const Statistics& running);

}  // namespace model_head

#pragma once
/// What the parts of the program exchange.

#include <string>
#include <vector>

#include "masthead/core/parameters.hpp"

/// What a part made of the problem. The part is compiled for one architecture.
struct PartRun {
  // In: row-major, of values that bfloat16 represents.
  int batch = 0, in_features = 0, out_features = 0;
  std::vector<float> x, weight;
  std::vector<float> rows;  ///< of scale_softmax: (2, columns)
  int columns = 0;

  // Out:
  bool gpu = false;      ///< there is one
  std::string policy;    ///< that the part's head runs with
  std::vector<float> y;  ///< softmax(BatchNorm(x W^T)) with a running mean of 0 and a running variance of 1
  std::vector<float> softmax;  ///< of `rows`
};

/// Runs the head and scale_softmax of the part, or throws masthead::Error from inside it.
using RunPart = void (*)(PartRun&);
/// Throws the Error of a CUDA call that failed, from inside the part.
using FailInPart = void (*)();

extern "C" {
void run_part_80(PartRun& run);
void run_part_90(PartRun& run);
void run_part_90a(PartRun& run);
void fail_in_part_80();
void fail_in_part_90();
void fail_in_part_90a();
}

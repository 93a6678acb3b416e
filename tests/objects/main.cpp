// Compiled without CUDA. Linked with the parts, or it loads them: see objects.py.
#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "masthead/core/error.hpp"
#include "part.hpp"

namespace {

constexpr int exit_skip = 77;
int failures = 0;

void expect(bool good, const std::string& what) {
  if (good) return;
  std::printf("FAILED: %s\n", what.c_str());
  ++failures;
}

/// A part of the program.
struct Part {
  std::string name;  ///< its architecture, "80", "90" or "90a"
  RunPart run;
  FailInPart fail;
};

#if defined(LINKED)
Part part(const std::string& name) {
  if (name == "80") return {name, run_part_80, fail_in_part_80};
  if (name == "90") return {name, run_part_90, fail_in_part_90};
  return {name, run_part_90a, fail_in_part_90a};
}
#else
/// Loads FOLDER/part_NAME.so, whose symbols later ones may see where `global`.
Part load(const std::string& folder, const std::string& name, bool global) {
  void* library =
      dlopen((folder + "/part_" + name + ".so").c_str(), RTLD_NOW | (global ? RTLD_GLOBAL : RTLD_LOCAL));
  if (library == nullptr) {
    std::printf("FAILED: dlopen: %s\n", dlerror());
    std::exit(1);
  }
  return {name, reinterpret_cast<RunPart>(dlsym(library, "run_part")),
          reinterpret_cast<FailInPart>(dlsym(library, "fail_in_part"))};
}
#endif

PartRun problem() {
  PartRun run;
  run.batch = 200;
  run.in_features = 136;
  run.out_features = 2056;
  run.columns = 100000;
  unsigned state = 1;
  const auto next = [&] {  // multiples of 1/16 in [-1/2, 1/2)
    state = state * 1664525u + 1013904223u;
    return static_cast<float>(static_cast<int>(state >> 28) - 8) / 16;
  };
  for (int i = 0; i < run.batch * run.in_features; ++i) run.x.push_back(next());
  for (int i = 0; i < run.out_features * run.in_features; ++i) run.weight.push_back(next());
  for (int i = 0; i < 2 * run.columns; ++i) run.rows.push_back(4 * next());
  return run;
}

/// Whether `got` is the softmax of `logits`, to `relative`.
bool is_softmax(const double* logits, const float* got, int columns, double relative) {
  const double most = *std::max_element(logits, logits + columns);
  double sum = 0;
  for (int n = 0; n < columns; ++n) sum += std::exp(logits[n] - most);
  for (int n = 0; n < columns; ++n) {
    const double right = std::exp(logits[n] - most) / sum;
    if (!(std::abs(got[n] - right) <= relative * right)) return false;
  }
  return true;
}

void check(const PartRun& run, const std::string& name) {
  const std::string_view engine = name == "90a" ? "wgmma" : "simt";
  std::printf("part %s: %s\n", name.c_str(), run.policy.c_str());
  expect(std::string_view(run.policy).substr(0, engine.size()) == engine,
         "part " + name + " runs what it was compiled for, not " + run.policy);
  std::vector<double> logits(static_cast<std::size_t>(std::max(run.out_features, run.columns)));
  int wrong = 0;
  for (int m = 0; m < run.batch; ++m) {
    for (int n = 0; n < run.out_features; ++n) {
      double sum = 0;
      for (int k = 0; k < run.in_features; ++k) {
        sum += double{run.x[static_cast<std::size_t>(m * run.in_features + k)]} *
               double{run.weight[static_cast<std::size_t>(n * run.in_features + k)]};
      }
      logits[static_cast<std::size_t>(n)] = sum;
    }
    wrong += !is_softmax(logits.data(), run.y.data() + m * run.out_features, run.out_features, 0.01);
  }
  expect(wrong == 0, "part " + name + ": " + std::to_string(wrong) + " rows of y are wrong");
  for (int row = 0; row < 2; ++row) {
    std::copy_n(run.rows.data() + row * run.columns, run.columns, logits.data());
    expect(is_softmax(logits.data(), run.softmax.data() + row * run.columns, run.columns, 1e-4),
           "part " + name + ": scale_softmax is right");
  }
}

}  // namespace

/// Runs the parts named by the arguments in that order, twice. Loading, the first two arguments are the
/// folder of the parts and whether their symbols are "global" or "local".
int main(int argc, char** argv) {
  std::vector<Part> parts;
#if defined(LINKED)
  for (int i = 1; i < argc; ++i) parts.push_back(part(argv[i]));
#else
  for (int i = 3; i < argc; ++i)
    parts.push_back(load(argv[1], argv[i], std::string_view(argv[2]) == "global"));
#endif
  for (const Part& part : parts) {
    try {
      part.fail();
      expect(false, "part " + part.name + " throws");
    } catch (const masthead::Error& error) {
      expect(error.argument() == "a call" && error.cuda_error() == 1,
             "the Error keeps the call and the cudaError_t");
    }
  }
  bool gpu = true;
  for (int round = 0; round < 2; ++round) {
    for (const Part& part : parts) {
      PartRun run = problem();
      try {
        part.run(run);
        gpu = gpu && run.gpu;
        if (run.gpu) check(run, part.name);
      } catch (const masthead::Error& error) {
        expect(false, "part " + part.name + ": " + error.what());
      }
    }
  }
  if (failures != 0) return 1;
  return gpu ? 0 : exit_skip;
}

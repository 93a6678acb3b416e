#include <cuda_runtime_api.h>

#include <cstdlib>
#include <string>
#include <string_view>

#include "main.hpp"

namespace {

bool contains_argument(int argc, char** argv, std::string_view wanted) {
  for (int i = 1; i < argc; ++i)
    if (argv[i] == wanted) return true;
  return false;
}

/// Whether doctest is asked for its help or for a list, and runs no case.
bool is_query(int argc, char** argv) {
  for (const std::string_view query : {"help", "h", "?", "version", "v", "count", "c", "list-test-cases",
                                       "ltc", "list-test-suites", "lts", "list-reporters", "lr"}) {
    for (const std::string_view prefix : {"--", "-", "--dt-", "-dt-"}) {
      if (contains_argument(argc, argv, std::string(prefix) + std::string(query))) return true;
    }
  }
  return false;
}

/// A machine without a GPU skips the device suites, unless MASTHEAD_REQUIRE_GPU=1 says that it has one: there
/// a skip would pass for a success.
int exit_code_without_gpu() {
  const char* required = std::getenv("MASTHEAD_REQUIRE_GPU");
  return required && std::string_view(required) == "1" ? exit_failure : exit_skip;
}

}  // namespace

/// The program of a device test. Everything in it needs a GPU: with or without `--device`, which Meson
/// passes, a machine without one skips, so that no way of starting it runs nothing and succeeds. What only
/// asks doctest is answered anywhere.
int main(int argc, char** argv) {
  const bool device = contains_argument(argc, argv, device_argument);
  if (!is_query(argc, argv)) {
    int devices = 0;
    const cudaError_t error = cudaGetDeviceCount(&devices);
    if (error != cudaSuccess || devices == 0) {
      std::fprintf(stderr, "masthead: no usable CUDA device: %s\n",
                   error != cudaSuccess ? cudaGetErrorString(error) : "none present");
      return exit_code_without_gpu();
    }
  }
  doctest::Context context(argc, argv);
  if (device) context.addFilter("test-suite", device_suites);
  const int status = run_tests(context);
  const bool whole_suite = device && argc == 2;
  if (whole_suite && !context.shouldExit() && CaseCounts::matched != CaseCounts::all) {
    std::fprintf(stderr, "masthead: %u test cases are in no suite named %s and would never run\n",
                 CaseCounts::all - CaseCounts::matched, device_suites);
    return exit_failure;
  }
  return status;
}

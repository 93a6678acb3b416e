#pragma once
/// Where a benchmark runs: the GPU, its driver and its clocks.

#include <cstdio>
#include <ctime>
#include <string>

#include "support/cuda.cuh"
#include "support/environment.hpp"

namespace benchmark {

/// One field of `nvidia-smi --query-gpu` for the current device, or "" where the program is not there.
inline std::string query_driver(const std::string& field) {
  char bus[32] = {};
  int device = 0;
  succeed(cudaGetDevice(&device));
  succeed(cudaDeviceGetPCIBusId(bus, sizeof(bus), device));
  const std::string command =
      "nvidia-smi --id=" + std::string(bus) + " --query-gpu=" + field + " --format=csv,noheader 2>/dev/null";
  std::FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return "";
  char line[128] = {};
  const bool read = std::fgets(line, sizeof(line), pipe) != nullptr;
  const bool succeeded = pclose(pipe) == 0;
  const std::string text = read && succeeded ? line : "";
  return text.substr(0, text.find_last_not_of(" \n") + 1);
}

inline Clocks current_clocks() {
  return {query_driver("clocks.sm"), query_driver("clocks.mem"), query_driver("clocks.max.sm"),
          query_driver("power.draw"), query_driver("temperature.gpu")};
}

inline Environment current_environment(const std::string& program, const std::string& commit) {
  Environment e;
  int device = 0;
  cudaDeviceProp properties = {};
  succeed(cudaGetDevice(&device));
  succeed(cudaGetDeviceProperties(&properties, device));
  succeed(cudaDriverGetVersion(&e.cuda_driver));
  succeed(cudaRuntimeGetVersion(&e.cuda_runtime));
  char date[32] = {};
  const std::time_t now = std::time(nullptr);
  std::strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
  e.program = program;
  e.commit = commit;
  e.date = date;
  e.gpu = properties.name;
  e.driver = query_driver("driver_version");
  e.architecture = 10 * properties.major + properties.minor;
  e.multiprocessors = properties.multiProcessorCount;
  e.l2_bytes = properties.l2CacheSize;
  e.before = current_clocks();
  return e;
}

}  // namespace benchmark

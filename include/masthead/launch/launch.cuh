#pragma once
/// Launching kernels, with errors that carry values.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cuda_runtime.h>

#include <cstdint>
#include <string>

#include "masthead/core/checks.hpp"
#include "masthead/launch/driver.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// The shape of a launch on `stream`.
struct LaunchConfig {
  std::int64_t blocks;
  int block_threads;
  cudaStream_t stream;
  int shared_bytes = 0;  ///< dynamic
  int cluster = 1;       ///< blocks of a cluster; more than 1 needs sm_90
  bool overlap_previous =
      false;                 ///< programmatic dependent launch: the kernel calls ptx::grid_dependency_wait
  bool cooperative = false;  ///< all blocks at the same time, or the launch is refused
};

/// Launches `kernel` and throws Error if the launch is refused. A pending error of the caller's neither fails
/// it nor is cleared: the code thrown is that of this launch alone. Never synchronizes.
template <class... Params>
void launch(const char* name, void (*kernel)(Params...), const LaunchConfig& config,
            const Params&... params) {
  if (config.blocks > 2147483647) {
    throw Error(std::string(name) + ".blocks", config.blocks, "a grid holds at most 2^31 - 1 blocks");
  }
  allow_shared_bytes(name, kernel, config.shared_bytes);
  cudaLaunchAttribute attributes[3];
  unsigned count = 0;
  if (config.cluster > 1) {
    attributes[count].id = cudaLaunchAttributeClusterDimension;
    attributes[count].val.clusterDim.x = static_cast<unsigned>(config.cluster);
    attributes[count].val.clusterDim.y = 1;
    attributes[count++].val.clusterDim.z = 1;
  }
  if (config.overlap_previous) {
    attributes[count].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[count++].val.programmaticStreamSerializationAllowed = 1;
  }
  if (config.cooperative) {
    attributes[count].id = cudaLaunchAttributeCooperative;
    attributes[count++].val.cooperative = 1;
  }
  cudaLaunchConfig_t launch_config{};
  launch_config.gridDim = dim3(static_cast<unsigned>(config.blocks));
  launch_config.blockDim = dim3(static_cast<unsigned>(config.block_threads));
  launch_config.dynamicSmemBytes = static_cast<std::size_t>(config.shared_bytes);
  launch_config.stream = config.stream;
  launch_config.attrs = attributes;
  launch_config.numAttrs = count;
  require_success(cudaLaunchKernelEx(&launch_config, kernel, Params(params)...), [&] {
    return std::string(name) + "<<<" + std::to_string(config.blocks) + ", " +
           std::to_string(config.block_threads) + ", " + std::to_string(config.shared_bytes) + ">>>";
  });
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

#pragma once
/// Programmatic dependent launch (PTX ISA, "griddepcontrol"), through CUDA's device functions; nothing below
/// sm_90.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include "masthead/core/config.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::ptx {

/// Returns when every kernel this one depends on has finished and its writes are visible. Every kernel that
/// is launched with `LaunchConfig::overlap_previous` calls this before it touches global memory.
__device__ __forceinline__ void grid_dependency_wait() {
#if __CUDA_ARCH__ >= 900
  cudaGridDependencySynchronize();
#endif
}

/// Lets the next kernel of the stream start its prologue. Its own wait still covers this whole grid.
__device__ __forceinline__ void grid_dependency_trigger() {
#if __CUDA_ARCH__ >= 900
  cudaTriggerProgrammaticLaunchCompletion();
#endif
}

}  // namespace masthead::inline v0::ptx
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

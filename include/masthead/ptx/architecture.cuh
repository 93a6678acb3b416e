#pragma once
/// The architecture that a pass compiles for.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::ptx {

/// 10 * major + minor of the GPU that this pass compiles for; 0 in the host's pass.
#if defined(__CUDA_ARCH__)
inline constexpr int compiled_architecture = __CUDA_ARCH__ / 10;
#else
inline constexpr int compiled_architecture = 0;
#endif

}  // namespace masthead::inline v0::ptx
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

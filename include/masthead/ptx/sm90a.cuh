#pragma once
/// Whether this pass compiles for sm_90a, whose instructions no other target assembles.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include "masthead/core/config.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::ptx {

/// Whether this pass compiles for sm_90a. Kernels of the wgmma engines put their body under `if constexpr
/// (compiled_for_sm90a)`; elsewhere they trap.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
inline constexpr bool compiled_for_sm90a = true;
#else
inline constexpr bool compiled_for_sm90a = false;
#endif

/// The body of a kernel of the wgmma engines in code for other targets; its static shared memory is how the
/// host can tell (launch/probe.cuh).
__device__ inline void not_compiled_for_sm90a() {
  __shared__ volatile unsigned char mark;
  mark = 1;
  __trap();
}

}  // namespace masthead::inline v0::ptx
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

#pragma once
/// Whether this pass compiles for sm_90a, whose instructions no other target assembles.

#include "masthead/config.hpp"

namespace masthead::inline v0::ptx {

/// Kernels of the Hopper engine put their body under `if constexpr (compiled_for_sm90a)`; elsewhere they
/// trap.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
inline constexpr bool compiled_for_sm90a = true;
#else
inline constexpr bool compiled_for_sm90a = false;
#endif

}  // namespace masthead::inline v0::ptx

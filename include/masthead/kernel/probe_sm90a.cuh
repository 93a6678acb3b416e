#pragma once
/// How the host can tell what a source was compiled for.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include "masthead/ptx/sm90a.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// A kernel that is never launched: compiled with the flags of the kernels beside it, it has their mark.
template <int = 0>
__global__ void sm90a_probe_kernel() {
  if constexpr (!ptx::compiled_for_sm90a) ptx::not_compiled_for_sm90a();
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

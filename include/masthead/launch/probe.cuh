#pragma once
/// Whether the code at hand is compiled for sm_90a.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cuda_runtime.h>

#include <string>

#include "masthead/kernel/probe_sm90a.cuh"
#include "masthead/launch/device.cuh"
#include "masthead/policy/spec.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

// Internal linkage: the list of architectures names sm_90 and sm_90a alike, and each object of a program must
// be told of its own code.
namespace {

/// Checks the code: nothing where a policy of a wgmma engine can run on `device` with the code at hand.
/// Throws Error only for a broken context.
// A kernel body compiled for another target than sm_90a declares static shared memory.
template <int = 0>
Reason check_compiled_for_sm90a(const PolicySpec& spec, const Device& device) {
  if (device.limits.architecture != 90) {
    return Error("device.architecture", "sm_" + std::to_string(device.limits.architecture),
                 "must be sm_90 for " + to_string(spec));
  }
  // A property of the code, the same on every sm_90: asked for once.
  static const std::size_t static_shared_bytes = [] {
    cudaFuncAttributes attributes{};
    require_success(cudaFuncGetAttributes(&attributes, sm90a_probe_kernel<>),
                    "cudaFuncGetAttributes(sm90a_probe_kernel)");
    return attributes.sharedSizeBytes;
  }();
  if (static_shared_bytes != 0) {
    return Error("policy", to_string(spec),
                 "must be compiled for sm_90a (-gencode=arch=compute_90a,code=sm_90a)");
  }
  return {};
}

}  // namespace

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

#pragma once
/// Whether the code at hand is compiled for sm_90a.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <string>

#include "masthead/core/checks.hpp"
#include "masthead/launch/device.cuh"
#include "masthead/policy/spec.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Checks the code: nothing where a policy of a wgmma engine can run on `device` with the code at hand.
inline Reason check_compiled_for_sm90a(const PolicySpec& spec, const Device& device) {
  if (device.limits.architecture != 90) {
    return Error("device.architecture", "sm_" + std::to_string(device.limits.architecture),
                 "must be sm_90 for " + to_string(spec));
  }
  if (!device.compiled_for_sm90a) {
    return Error("policy", to_string(spec),
                 "must be compiled for sm_90a (-gencode=arch=compute_90a,code=sm_90a)");
  }
  return {};
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

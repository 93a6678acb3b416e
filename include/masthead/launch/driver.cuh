#pragma once
/// Driver functions, without linking the driver library.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cuda.h>
#include <cudaTypedefs.h>
#include <cuda_runtime.h>

#include <string>
#include <type_traits>

#include "masthead/core/checks.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::inline MASTHEAD_ARCHITECTURES {

/// Throws Error for a CUDA call that did not succeed; `call` names it with its decisive value, or is a
/// function that does: words are not put together for calls that succeed.
template <class Call>
void require_success(cudaError_t status, const Call& call) {
  if (status == cudaSuccess) return;
  if constexpr (std::is_invocable_v<Call>) {
    throw Error(call(), cudaGetErrorName(status), detail::explained(status, cudaGetErrorString(status)),
                status);
  } else {
    throw Error(call, cudaGetErrorName(status), detail::explained(status, cudaGetErrorString(status)),
                status);
  }
}

}  // namespace masthead::inline v0::inline MASTHEAD_ARCHITECTURES

namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Throws Error for a call of the driver that did not succeed.
inline void require_driver_success(CUresult status, const std::string& call) {
  if (status != CUDA_SUCCESS) throw Error(call, std::to_string(status), "must return CUDA_SUCCESS");
}

/// Looks up `name` as the given version of CUDA (12000 is 12.0) had it; null when the driver lacks it. Throws
/// Error where the driver cannot be asked.
template <class Function>
Function find_driver_function(const char* name, unsigned version) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
  require_success(cudaGetDriverEntryPointByVersion(name, &function, version, cudaEnableDefault, &found),
                  [&] { return std::string("cudaGetDriverEntryPointByVersion(") + name + ")"; });
  return found == cudaDriverEntryPointSuccess ? reinterpret_cast<Function>(function) : nullptr;
}

/// Looks up `name` as the given version of CUDA (12000 is 12.0) had it. Throws Error when there is none.
template <class Function>
Function driver_function(const char* name, unsigned version) {
  const auto function = find_driver_function<Function>(name, version);
  if (function == nullptr) {
    throw Error("driver", std::string(name) + " not found",
                "must be CUDA " + std::to_string(version / 1000) + ".0 or newer");
  }
  return function;
}

/// Lets `kernel` have `bytes` of dynamic shared memory. Throws Error.
// Through the driver: cudaFuncSetAttribute clears an error that the caller has pending.
template <class... Params>
void allow_shared_bytes(const char* name, void (*kernel)(Params...), int bytes) {
  if (bytes <= 48 * 1024) return;
  static const auto set_attribute = driver_function<PFN_cuFuncSetAttribute_v9000>("cuFuncSetAttribute", 9000);
  cudaFunction_t function = nullptr;
  require_success(cudaGetFuncBySymbol(&function, reinterpret_cast<const void*>(kernel)),
                  [&] { return std::string("cudaGetFuncBySymbol(") + name + ")"; });
  const CUresult set = set_attribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes);
  if (set != CUDA_SUCCESS) {
    require_driver_success(
        set, std::string(name) + ": cuFuncSetAttribute(shared bytes, " + std::to_string(bytes) + ")");
  }
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

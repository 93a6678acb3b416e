#pragma once
/// What the kernels of the object at hand were compiled for.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cuda.h>
#include <cudaTypedefs.h>
#include <cuda_runtime.h>

#include <array>
#include <atomic>
#include <cstddef>

#include "masthead/kernel/probe_sm90a.cuh"
#include "masthead/launch/driver.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// What a device runs of the kernels of one object.
struct CompiledCode {
  int architecture;  ///< of the PTX that they come from, 10 * major + minor: the features that they use
  bool for_sm90a;    ///< kernels of the wgmma engines have a body
};

/// Asks the current device, which must be `ordinal`, for the kernels of this object that it runs. Once per
/// device: the answer never changes. Throws Error where the object has no code for the device, or the context
/// is broken.
// Static: the list of architectures names sm_90 and sm_90a alike, and each object of a program must be told
// of its own code. A kernel body compiled for another target than sm_90a declares static shared memory.
// Through the driver: cudaFuncGetAttributes clears an error that the caller has pending.
template <int = 0>
static CompiledCode compiled_code(int ordinal) {
  static std::array<std::atomic<int>, 64> known{};  // architecture * 2 + for_sm90a
  const bool keep = ordinal >= 0 && ordinal < static_cast<int>(known.size());
  int code = keep ? known[static_cast<std::size_t>(ordinal)].load(std::memory_order_relaxed) : 0;
  if (code == 0) {
    cudaFunction_t probe = nullptr;
    require_success(cudaGetFuncBySymbol(&probe, reinterpret_cast<const void*>(&sm90a_probe_kernel<>)),
                    "cudaGetFuncBySymbol(sm90a_probe_kernel)");
    const auto get_attribute = driver_function<PFN_cuFuncGetAttribute_v2020>("cuFuncGetAttribute", 2020);
    int version = 0, shared_bytes = 0;
    require_driver_success(get_attribute(&version, CU_FUNC_ATTRIBUTE_PTX_VERSION, probe),
                           "cuFuncGetAttribute(PTX version)");
    require_driver_success(get_attribute(&shared_bytes, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, probe),
                           "cuFuncGetAttribute(shared bytes)");
    code = version * 2 + (shared_bytes == 0);
    if (keep) known[static_cast<std::size_t>(ordinal)].store(code, std::memory_order_relaxed);
  }
  return {code / 2, code % 2 != 0};
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

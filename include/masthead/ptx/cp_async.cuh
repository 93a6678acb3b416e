#pragma once
/// Asynchronous copies from global to shared memory (PTX ISA, "cp.async"), with a fallback below sm_80.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/core/config.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::ptx {

/// Copies the first `valid_bytes` of `bytes` (4, 8 or 16; both addresses aligned to it) and zero-fills the
/// rest. With `valid_bytes` = 0 nothing is read, but `global` must still be a global address. Complete for
/// the calling thread after cp_async_wait, for others after a barrier behind that.
// NOTES: CUDA's __pipeline_memcpy_async takes its zero fill apart in a switch over constants; a tail needs a
// register.
template <int bytes>
__device__ __forceinline__ void cp_async(void* shared, const void* global, int valid_bytes) {
  static_assert(bytes == 4 || bytes == 8 || bytes == 16, "cp.async copies 4, 8 or 16 bytes");
#if __CUDA_ARCH__ >= 800
  const auto target = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
  if constexpr (bytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(target), "l"(global), "r"(valid_bytes)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(target), "l"(global), "n"(bytes),
                 "r"(valid_bytes)
                 : "memory");
  }
#else
  const auto* from = static_cast<const std::uint16_t*>(global);
  auto* to = static_cast<std::uint16_t*>(shared);
  for (int i = 0; i < bytes / 2; ++i) to[i] = 2 * i < valid_bytes ? from[i] : std::uint16_t{0};
#endif
}

/// Closes the group of copies issued by this thread so far.
__device__ __forceinline__ void cp_async_commit() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/// Waits until at most `pending` of this thread's latest groups are still in flight.
template <int pending>
__device__ __forceinline__ void cp_async_wait() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
#endif
}

}  // namespace masthead::inline v0::ptx
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

#pragma once
/// The wgmma descriptor of a tile in shared memory.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/tile/swizzle.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// The descriptor of a swizzled tile that starts at `tile`, the same in all lanes of the calling warp.
// One value per warp: the shuffle lets it live in uniform registers.
__device__ __forceinline__ std::uint64_t descriptor_of(const void* tile) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(tile));
  return wgmma_descriptor(__shfl_sync(0xffffffffu, address, 0));
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

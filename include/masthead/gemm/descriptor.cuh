#pragma once
/// The wgmma descriptor of a tile in shared memory.

#include <cstdint>

#include "masthead/core/architectures.cuh"
#include "masthead/tile/swizzle.hpp"

namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// The descriptor of a swizzled tile that starts at `tile`, the same in all lanes of the calling warp.
// One value per warp: the shuffle lets it live in uniform registers.
__device__ __forceinline__ std::uint64_t descriptor_of(const void* tile) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(tile));
  return wgmma_descriptor(__shfl_sync(0xffffffffu, address, 0));
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES

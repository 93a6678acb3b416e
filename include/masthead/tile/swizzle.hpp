#pragma once
/// The 128-byte swizzle of tiles in shared memory, and the descriptor that wgmma reads them through.

#include <cstdint>

#include "masthead/core/config.hpp"

namespace masthead::inline v0::detail {

/// Bytes of a row of a swizzled tile: what one TMA box spans in its contiguous dimension.
inline constexpr int swizzle_row_bytes = 128;
/// Bytes of 8 rows, after which the pattern repeats: tiles start at multiples of this, and so do the
/// warpgroups' shares of them.
inline constexpr int swizzle_atom_bytes = 8 * swizzle_row_bytes;

/// The byte offset of (row, byte) in a tile of 128-byte rows under CU_TENSOR_MAP_SWIZZLE_128B: the index of a
/// 16-byte vector in its row is xored with the row's index modulo 8, so that a column of vectors is free of
/// bank conflicts.
MASTHEAD_HOST_DEVICE constexpr int swizzle_128b(int row, int byte) {
  return row * swizzle_row_bytes + (byte ^ ((row & 7) << 4));
}

/// The shared-memory matrix descriptor of wgmma (PTX ISA, "Matrix descriptor") for a K-major tile of 128-byte
/// rows in the 128-byte swizzle that starts at `shared_address`: address / 16 in bits 0-13, the distance of
/// blocks of 8 rows / 16 in bits 32-45, swizzle mode 1 (128 bytes) in bits 62-63. The leading-dimension field
/// is unused in this mode.
MASTHEAD_HOST_DEVICE constexpr std::uint64_t wgmma_descriptor(std::uint32_t shared_address) {
  constexpr std::uint64_t rows8_distance = swizzle_atom_bytes / 16;
  return ((shared_address & 0x3ffffu) >> 4) | (static_cast<std::uint64_t>(1) << 16) | (rows8_distance << 32) |
         (static_cast<std::uint64_t>(1) << 62);
}

/// What to add to a descriptor to move `bytes` (a multiple of 16) along a row or to a later block of 8 rows.
/// The hardware applies the swizzle to the sum, so steps inside the 128 bytes of a row are plain additions
/// too.
MASTHEAD_HOST_DEVICE constexpr std::uint64_t wgmma_descriptor_step(int bytes) {
  return static_cast<std::uint64_t>(bytes) / 16;
}

}  // namespace masthead::inline v0::detail

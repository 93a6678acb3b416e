#pragma once
/// How a packed operand lies in memory.

#include <cstdint>
#include <optional>

#include "masthead/core/integer.hpp"
#include "masthead/core/precision.hpp"

namespace masthead::inline v0::detail {

/// Bytes of a row's scale: a PowerPair for f16 and f16x3, a float for e4m3.
MASTHEAD_HOST_DEVICE constexpr int scale_bytes(MathMode math_mode) {
  return has_f16_parts(math_mode) ? 8 : 4;
}

/// A packed operand, as wgmma multiplies it: row r of part p starts at data + r * row_stride + p *
/// part_stride (bytes). f16x3 has the high and the low fp16 parts, f16 and e4m3 one part. value = (sum of the
/// parts) * scale of the row.
struct PackedMatrix {
  const void* data = nullptr;     // (rows, parts, columns)
  const void* scale = nullptr;    // (rows): PowerPair for f16 and f16x3, float for e4m3
  const int* infinite = nullptr;  ///< f16x3: not 0 when an element is infinite or NaN
  std::int64_t rows = 0, columns = 0;
  std::int64_t row_stride = 0, part_stride = 0;  ///< bytes, multiples of 16

  /// `count` rows from `first` on; a row's scale has `bytes_of_scale` bytes.
  PackedMatrix rows_from(std::int64_t first, std::int64_t count, int bytes_of_scale) const {
    PackedMatrix part = *this;
    part.data = static_cast<const unsigned char*>(data) + first * row_stride;
    part.scale = static_cast<const unsigned char*>(scale) + first * bytes_of_scale;
    part.rows = count;
    return part;
  }
};

/// A packed operand in one piece of memory: the parts, then the scales, then the flag, each at a multiple of
/// 256 bytes.
struct PackedLayout {
  MathMode math_mode;
  std::int64_t rows, columns;

  constexpr std::int64_t parts() const { return parts_of(math_mode); }
  constexpr std::int64_t element_bytes() const { return part_element_bytes(math_mode); }
  constexpr std::int64_t part_bytes() const { return ceil_div(columns * element_bytes(), 16) * 16; }
  constexpr std::int64_t row_bytes() const { return parts() * part_bytes(); }
  /// Bytes of the whole operand, or nothing when they do not fit in 63 bits.
  constexpr std::optional<std::int64_t> bytes() const {
    const auto all = checked_product(rows, row_bytes() + scale_bytes(math_mode));
    if (!all || *all > (static_cast<std::int64_t>(1) << 62)) return std::nullopt;
    return flag_offset() + 256;
  }
  constexpr std::int64_t scale_offset() const { return ceil_div(rows * row_bytes(), 256) * 256; }
  constexpr std::int64_t flag_offset() const {
    return scale_offset() + ceil_div(rows * scale_bytes(math_mode), 256) * 256;
  }

  PackedMatrix at(void* memory) const {
    auto* bytes = static_cast<unsigned char*>(memory);
    return {.data = bytes,
            .scale = bytes + scale_offset(),
            .infinite = reinterpret_cast<int*>(bytes + flag_offset()),
            .rows = rows,
            .columns = columns,
            .row_stride = row_bytes(),
            .part_stride = part_bytes()};
  }
};

}  // namespace masthead::inline v0::detail

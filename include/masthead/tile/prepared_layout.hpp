#pragma once
/// How an operand is kept in the form its product multiplies.

#include <cstdint>
#include <optional>

#include "masthead/checks.hpp"
#include "masthead/tile/raster.hpp"

namespace masthead::inline v0 {

/// Bytes a row's scale takes: a PowerPair for f16 and f16x3, a float for e4m3.
MASTHEAD_HOST_DEVICE constexpr int scale_bytes(Product product) { return has_f16_parts(product) ? 8 : 4; }

/// An operand as wgmma multiplies it: row r of part p starts at data + r * row_stride + p * part_stride
/// (bytes). f16x3 has the high and the low fp16 parts, f16 and e4m3 one part. value = (sum of the parts) *
/// scale of the row.
struct PreparedMatrix {
  const void* data = nullptr;     // (rows, parts, columns)
  const void* scale = nullptr;    // (rows): PowerPair for f16 and f16x3, float for e4m3
  const int* infinite = nullptr;  ///< f16x3: not 0 when an element is infinite or NaN
  std::int64_t rows = 0, columns = 0;
  std::int64_t row_stride = 0, part_stride = 0;  ///< bytes, multiples of 16
};

/// An operand of its own in one piece of memory: the parts, then the scales, then the flag, each at a
/// multiple of 256 bytes.
struct PreparedLayout {
  Product product;
  std::int64_t rows, columns;

  constexpr std::int64_t parts() const { return parts_of(product); }
  constexpr std::int64_t element_bytes() const { return part_element_bytes(product); }
  constexpr std::int64_t part_bytes() const { return ceil_div(columns * element_bytes(), 16) * 16; }
  constexpr std::int64_t row_bytes() const { return parts() * part_bytes(); }
  /// Nothing when it does not fit in 63 bits.
  constexpr std::optional<std::int64_t> bytes() const {
    const auto all = checked_product(rows, row_bytes() + scale_bytes(product));
    if (!all || *all > (std::int64_t{1} << 62)) return std::nullopt;
    return flag_offset() + 256;
  }
  constexpr std::int64_t scale_offset() const { return ceil_div(rows * row_bytes(), 256) * 256; }
  constexpr std::int64_t flag_offset() const {
    return scale_offset() + ceil_div(rows * scale_bytes(product), 256) * 256;
  }

  PreparedMatrix at(void* memory) const {
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

}  // namespace masthead::inline v0

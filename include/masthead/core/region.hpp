#pragma once
/// Which memory a view covers, and whether two views share some.

#include <cstdint>

#include "masthead/core/parameters.hpp"

namespace masthead::inline v0::detail {

/// The bytes of a view: `rows` rows of `row_bytes`, `stride_bytes` apart. What lies between rows is not of
/// it.
struct Region {
  std::uintptr_t begin = 0;
  std::uintptr_t rows = 0, row_bytes = 0, stride_bytes = 0;

  std::uintptr_t end() const { return rows == 0 ? begin : begin + (rows - 1) * stride_bytes + row_bytes; }
  bool contiguous() const { return rows <= 1 || stride_bytes == row_bytes; }
};

/// The region of a matrix that check_matrix let through.
template <class T>
Region region_of(const Matrix<T>& m) {
  const auto bytes = static_cast<std::uintptr_t>(size_of(dtype_of<T>));
  return {reinterpret_cast<std::uintptr_t>(m.data), static_cast<std::uintptr_t>(m.rows),
          static_cast<std::uintptr_t>(m.columns) * bytes, static_cast<std::uintptr_t>(m.row_stride) * bytes};
}
/// The region of `bytes` bytes, none if there are none.
inline Region region_of(const void* data, std::int64_t bytes) {
  const auto size = static_cast<std::uintptr_t>(bytes);
  if (data == nullptr || bytes <= 0) return {};
  return {reinterpret_cast<std::uintptr_t>(data), 1, size, size};
}
template <class Void>
Region region_of(const BasicVector<Void>& v) {
  return region_of(v.data, v.size * size_of(v.dtype));
}
inline Region region_of(const Workspace& w) { return region_of(w.data, w.bytes); }

/// Whether the bytes [begin, end) meet a row of `strided`, with which they have a range in common.
inline bool meets_a_row(std::uintptr_t begin, std::uintptr_t end, const Region& strided) {
  if (begin <= strided.begin) return true;
  const std::uintptr_t offset = begin - strided.begin, in_row = offset % strided.stride_bytes;
  return in_row < strided.row_bytes || strided.stride_bytes - in_row < end - begin;
}

/// Whether two regions share a byte. Two that are strided alike are told apart where they are columns of one
/// matrix; where the strides differ, ranges that meet count as shared.
inline bool overlap(const Region& a, const Region& b) {
  if (a.rows == 0 || b.rows == 0 || a.begin >= b.end() || b.begin >= a.end()) return false;
  if (a.contiguous() && b.contiguous()) return true;
  if (a.contiguous()) return meets_a_row(a.begin, a.end(), b);
  if (b.contiguous()) return meets_a_row(b.begin, b.end(), a);
  if (a.stride_bytes != b.stride_bytes) return true;
  const Region &low = a.begin <= b.begin ? a : b, &high = a.begin <= b.begin ? b : a;
  const std::uintptr_t distance = (high.begin - low.begin) % low.stride_bytes;
  return distance < low.row_bytes || distance + high.row_bytes > low.stride_bytes;
}

/// A region under the name that errors give it.
struct NamedRegion {
  const char* name;
  Region region;
};

}  // namespace masthead::inline v0::detail

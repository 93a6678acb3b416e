#pragma once
/// Tensor maps for TMA, encoded without linking the driver library.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>
#include <string>
#include <type_traits>

#include "masthead/core/checks.hpp"
#include "masthead/launch/driver.cuh"
#include "masthead/tile/packed_layout.hpp"
#include "masthead/tile/swizzle.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// The rules of TMA for a matrix, to say which one is broken; `kept`: none.
enum class TmaRule : std::uint8_t { kept, address, columns, row_stride, many_rows, many_columns, span };

/// The first rule that `m` breaks: 16-byte aligned, rows whole multiples of 16 bytes and as many apart,
/// coordinates of 31 bits, rows less than 2^40 bytes apart.
// Whole multiples: what lies outside is dropped in vectors of 16 bytes (a store to rows of 20 bytes was seen
// to write 32). A single row is held to the same, so that a row's engine does not depend on its batch.
template <class T>
TmaRule broken_tma_rule(const Matrix<T>& m) {
  constexpr std::int64_t bytes = size_of(dtype_of<T>), vector = 16 / bytes, most = std::int64_t{1} << 31;
  if (reinterpret_cast<std::uintptr_t>(m.data) % 16 != 0) return TmaRule::address;
  if (m.columns % vector != 0) return TmaRule::columns;
  if (m.row_stride % vector != 0) return TmaRule::row_stride;
  if (m.rows >= most) return TmaRule::many_rows;
  if (m.columns >= most) return TmaRule::many_columns;
  return m.row_stride < (std::int64_t{1} << 40) / bytes ? TmaRule::kept : TmaRule::span;
}

/// Whether TMA can read and write `m`. The encoder checks syntax only; that the elements exist is the
/// caller's word.
template <class T>
bool is_tensor_map(const Matrix<T>& m) {
  return broken_tma_rule(m) == TmaRule::kept;
}

/// Checks that TMA can read and write `m`: the rule that is broken, or nothing.
template <class T>
Reason check_tensor_map(const std::string& name, const Matrix<T>& m) {
  const std::string multiple = "must be a multiple of " + std::to_string(16 / size_of(dtype_of<T>));
  switch (broken_tma_rule(m)) {
    case TmaRule::kept:
      return {};
    case TmaRule::address:
      return Error(name + ".data", address(m.data), "must be aligned to 16 bytes for TMA");
    case TmaRule::columns:
      return Error(name + ".columns", m.columns, multiple + " (16 bytes) for TMA");
    case TmaRule::row_stride:
      return Error(name + ".row_stride", m.row_stride, multiple + " elements (16 bytes) for TMA");
    case TmaRule::many_rows:
      return Error(name + ".rows", m.rows, "must be below 2^31 for TMA");
    case TmaRule::many_columns:
      return Error(name + ".columns", m.columns, "must be below 2^31 for TMA");
    case TmaRule::span:
      return Error(name + ".row_stride", m.row_stride, "must span less than 2^40 bytes for TMA");
  }
  return {};
}

/// Encodes a tensor map. `strides` are in bytes, of all dimensions but the contiguous one. Throws Error.
inline CUtensorMap encode_tensor_map(const std::string& name, CUtensorMapDataType type, int rank,
                                     const void* data, const cuuint64_t* extents, const cuuint64_t* strides,
                                     const cuuint32_t* box) {
  const cuuint32_t element_strides[3] = {1, 1, 1};
  // Boxes of rows that are no multiples of 256 bytes apart arrive up to a fifth sooner with 128 (1000 x 8184
  // -> 8200: 251 and 229 us), others do not.
  const auto promotion =
      strides[0] % 256 == 0 ? CU_TENSOR_MAP_L2_PROMOTION_L2_256B : CU_TENSOR_MAP_L2_PROMOTION_L2_128B;
  CUtensorMap map;
  static const auto encode =
      driver_function<PFN_cuTensorMapEncodeTiled_v12000>("cuTensorMapEncodeTiled", 12000);
  const CUresult status = encode(&map, type, static_cast<cuuint32_t>(rank), const_cast<void*>(data), extents,
                                 strides, box, element_strides, CU_TENSOR_MAP_INTERLEAVE_NONE,
                                 CU_TENSOR_MAP_SWIZZLE_128B, promotion, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS) require_driver_success(status, "cuTensorMapEncodeTiled(" + name + ")");
  return map;
}

/// A map of `m` in boxes of `box_rows` rows x 128 bytes under the 128-byte swizzle; reads outside `m` give
/// zeros, writes outside it are dropped. For MathMode::tf32 reads round to the nearest tf32. The map holds
/// the pointer: it serves this matrix alone. Throws Error.
template <class T>
CUtensorMap make_tensor_map(const std::string& name, const Matrix<T>& m, int box_rows,
                            MathMode math_mode = MathMode::plain) {
  refuse_if(check_tensor_map(name, m));
  constexpr Dtype dtype = dtype_of<T>;
  static_assert(dtype != Dtype::f64 && dtype != Dtype::e4m3,
                "masthead: double and e4m3 have no tensor map here");
  const auto type = math_mode == MathMode::tf32 ? CU_TENSOR_MAP_DATA_TYPE_TFLOAT32
                    : dtype == Dtype::f32       ? CU_TENSOR_MAP_DATA_TYPE_FLOAT32
                    : dtype == Dtype::f16       ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                                                : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
  constexpr std::uint64_t bytes = sizeof(T);
  const cuuint64_t extents[2] = {static_cast<cuuint64_t>(m.columns), static_cast<cuuint64_t>(m.rows)};
  const cuuint64_t strides[1] = {static_cast<cuuint64_t>(m.row_stride) * bytes};
  const cuuint32_t box[2] = {static_cast<cuuint32_t>(swizzle_row_bytes / bytes),
                             static_cast<cuuint32_t>(box_rows)};
  return encode_tensor_map(name, type, 2, m.data, extents, strides, box);
}

/// A map of a packed operand in boxes of `box_parts` parts x `box_rows` rows x 128 bytes, of coordinates
/// (k, row, part). Throws Error when there is none, or it is too large for TMA.
inline CUtensorMap make_tensor_map(const std::string& name, const PackedMatrix& m, MathMode math_mode,
                                   int box_parts, int box_rows) {
  constexpr std::int64_t most = std::int64_t{1} << 31;
  if (m.data == nullptr) {
    throw Error("packed " + name, "none", "must be made, and not be moved from, before a pass");
  }
  if (m.rows >= most) throw Error(name + ".rows", m.rows, "must be below 2^31 for TMA");
  if (m.columns >= most) throw Error(name + ".columns", m.columns, "must be below 2^31 for TMA");
  const int bytes = part_element_bytes(math_mode);
  const cuuint64_t extents[3] = {static_cast<cuuint64_t>(m.columns), static_cast<cuuint64_t>(m.rows),
                                 static_cast<cuuint64_t>(parts_of(math_mode))};
  const cuuint64_t strides[2] = {static_cast<cuuint64_t>(m.row_stride),
                                 static_cast<cuuint64_t>(m.part_stride)};
  const cuuint32_t box[3] = {static_cast<cuuint32_t>(swizzle_row_bytes / bytes),
                             static_cast<cuuint32_t>(box_rows), static_cast<cuuint32_t>(box_parts)};
  return encode_tensor_map(
      name, has_f16_parts(math_mode) ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_UINT8, 3,
      m.data, extents, strides, box);
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

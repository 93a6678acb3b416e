#pragma once
/// Storing a warp's part of y.

#include <cuda.h>

#include <cstdint>
#include <utility>

#include "masthead/gemm/epilogue_sm90.cuh"

namespace masthead::inline v0 {

/// y as the Hopper kernels store it: by TMA where its address and row stride are multiples of 16 bytes, else
/// element by element.
template <class U>
struct OutputSm90 {
  CUtensorMap map;  ///< boxes of 16 rows x 128 bytes; unused when by_tma is false
  Matrix<U> matrix;
  bool by_tma;
};

/// Stores of 16-bit panels; `y` lives in kernel parameters. All lanes of a warp call every function.
template <Sm90Layout layout, class U>
struct StoreSm90 {
  static constexpr int boxes = layout.tile.n / WarpPanel::box_columns;

  /// The warp's panel to rows from `row` and columns from `column` of y; what lies outside y is left out.
  /// `finish_box(i)` writes the lane's part of box i just before it is stored. By TMA the panel is still
  /// being read on return: see `wait_panel_read`.
  template <class FinishBox>
  __device__ __forceinline__ static void panel(const OutputSm90<U>& y, const unsigned char* panel,
                                               std::int64_t row, std::int64_t column, int lane,
                                               const FinishBox& finish_box) {
#pragma unroll 1
    for (int box = 0; box < boxes; ++box) {
      finish_box(box);
      send_box(y, panel, box, row, column, lane);
    }
    send_elements(y, panel, row, column, lane);
  }

  /// The same with the boxes unrolled: finish_box.operator()<i>().
  template <class FinishBox>
  __device__ __forceinline__ static void unrolled_panel(const OutputSm90<U>& y, const unsigned char* panel,
                                                        std::int64_t row, std::int64_t column, int lane,
                                                        const FinishBox& finish_box) {
    [&]<int... box>(std::integer_sequence<int, box...>) {
      ((finish_box.template operator()<box>(), send_box(y, panel, box, row, column, lane)), ...);
    }
    (std::make_integer_sequence<int, boxes>());
    send_elements(y, panel, row, column, lane);
  }

  /// Whether the warp's part of a tile lies inside y whole, in vectors of 16 bytes.
  __device__ __forceinline__ static bool is_inside(const OutputSm90<U>& y, std::int64_t row,
                                                   std::int64_t column) {
    return y.by_tma && row + WgmmaFragment::warp_rows <= y.matrix.rows &&
           column + layout.tile.n <= y.matrix.columns;
  }

  /// One finished box to rows from `row` and columns from `column` of y, by the lanes; `inside`: is_inside of
  /// the tile it is from. On return the box may be written again.
  // Not by TMA: a warp waits for its fences and for its turn at the copy engine, which the operands keep
  // busy. One question a tile: branches a row take longer than the stores.
  __device__ __forceinline__ static void box_by_lanes(const OutputSm90<U>& y, const unsigned char* box,
                                                      std::int64_t row, std::int64_t column, bool inside,
                                                      int lane) {
    constexpr int unit = 16 / static_cast<int>(sizeof(U)), lanes_a_row = WarpPanel::box_columns / unit,
                  rows_a_turn = 32 / lanes_a_row, turns = WgmmaFragment::warp_rows / rows_a_turn;
    __syncwarp();
    uint4 units[turns];
    const int first = lane / lanes_a_row, at = lane % lanes_a_row * unit;
#pragma unroll
    for (int i = 0; i < turns; ++i) {
      units[i] = *reinterpret_cast<const uint4*>(box + WarpPanel::offset(first + i * rows_a_turn, at));
    }
    __syncwarp();
    U* target = y.matrix.data + (row + first) * y.matrix.row_stride + column + at;
    if (inside) {
#pragma unroll
      for (int i = 0; i < turns; ++i, target += rows_a_turn * y.matrix.row_stride) {
        *reinterpret_cast<uint4*>(target) = units[i];
      }
      return;
    }
    const std::int64_t rows = y.matrix.rows - row - first, columns = y.matrix.columns - column - at;
#pragma unroll
    for (int i = 0; i < turns; ++i, target += rows_a_turn * y.matrix.row_stride) {
      if (i * rows_a_turn >= rows) continue;
      if (y.by_tma && unit <= columns) {
        *reinterpret_cast<uint4*>(target) = units[i];
      } else {
        store_elements(target, units[i], columns);
      }
    }
  }

  /// Returns when the panel may be written again.
  __device__ __forceinline__ static void wait_panel_read(int lane) {
    if (lane == 0) cuda::ptx::cp_async_bulk_wait_group_read(cuda::ptx::n32_t<0>{});
    __syncwarp();
  }

  /// Float values straight from registers: row half h of the fragment to y's row `row` + lane / 4 + 8 h.
  __device__ __forceinline__ static void registers(const Matrix<U>& y,
                                                   const float (&acc)[layout.accumulators()],
                                                   std::int64_t row, std::int64_t column, int lane) {
    const bool pairs = reinterpret_cast<std::uintptr_t>(y.data) % 8 == 0 && y.row_stride % 2 == 0;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const std::int64_t r = row + lane / 4 + 8 * half;
      if (r >= y.rows) continue;
      U* target = y.data + r * y.row_stride + column;
#pragma unroll
      for (int j = 0; j < layout.tile.n / 8; ++j) {
        const int c = WgmmaFragment::at(lane, j, half, 0).column;
        const float first = acc[WgmmaFragment::index(j, half, 0)],
                    second = acc[WgmmaFragment::index(j, half, 1)];
        if (pairs && column + c + 1 < y.columns) {
          *reinterpret_cast<float2*>(target + c) = make_float2(first, second);
        } else {
          if (column + c < y.columns) target[c] = first;
          if (column + c + 1 < y.columns) target[c + 1] = second;
        }
      }
    }
  }

 private:
  /// By TMA: box `box`, of which every lane has written its part.
  __device__ __forceinline__ static void send_box(const OutputSm90<U>& y, const unsigned char* panel, int box,
                                                  std::int64_t row, std::int64_t column, int lane) {
    if (!y.by_tma) return;
    cuda::ptx::fence_proxy_async(cuda::ptx::space_shared);
    __syncwarp();
    if (lane == 0) {
      const int at[2] = {static_cast<int>(column) + box * WarpPanel::box_columns, static_cast<int>(row)};
      cuda::ptx::cp_async_bulk_tensor(cuda::ptx::space_global, cuda::ptx::space_shared, &y.map, at,
                                      panel + box * WarpPanel::box_bytes);
      cuda::ptx::cp_async_bulk_commit_group();
    }
  }
  /// As many elements of a unit of 16 bytes as there are columns.
  __device__ static void store_elements(U* target, const uint4& unit, std::int64_t columns) {
    const std::uint32_t words[4] = {unit.x, unit.y, unit.z, unit.w};
    auto* elements = reinterpret_cast<std::uint16_t*>(target);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if (i < columns) elements[i] = static_cast<std::uint16_t>(words[i / 2] >> (i % 2 * 16));
    }
  }
  /// Without: the whole panel.
  __device__ __forceinline__ static void send_elements(const OutputSm90<U>& y, const unsigned char* panel,
                                                       std::int64_t row, std::int64_t column, int lane) {
    if (y.by_tma) return;
    __syncwarp();
    elements(y.matrix, panel, row, column, lane);
  }

  __device__ static void elements(const Matrix<U>& y, const unsigned char* panel, std::int64_t row,
                                  std::int64_t column, int lane) {
#pragma unroll 1
    for (int r = 0; r < WgmmaFragment::warp_rows && row + r < y.rows; ++r) {
      U* target = y.data + (row + r) * y.row_stride + column;
#pragma unroll 1
      for (int c = lane; c < layout.tile.n && column + c < y.columns; c += 32) {
        target[c] = *reinterpret_cast<const U*>(panel + WarpPanel::offset(r, c));
      }
    }
  }
};

}  // namespace masthead::inline v0

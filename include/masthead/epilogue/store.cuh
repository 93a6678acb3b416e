#pragma once
/// Storing a warp's share of y.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cuda.h>

#include <cstdint>
#include <utility>

#include "masthead/core/matrix.hpp"
#include "masthead/epilogue/fragment_softmax.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// y as the Hopper kernels store it: by TMA where its address and row stride are multiples of 16 bytes, else
/// element by element.
template <class U>
struct OutputSm90 {
  CUtensorMap map;  ///< boxes of 16 rows x 128 bytes; unused when by_tma is false
  Matrix<U> matrix;
  bool by_tma;
};

/// Stores of 16-bit staging tiles; `y` lives in kernel parameters. All lanes of a warp call every function.
template <Sm90Layout layout, class U>
struct StoreSm90 {
  static constexpr int boxes = layout.tile.n / StagingTile::box_columns;

  /// Stores the warp's staging tile to rows from `row` and columns from `column` of y; what lies outside y is
  /// left out. `finish_box(i)` writes the lane's share of box i just before it is stored. By TMA the staging
  /// tile is still being read on return: see `wait_staging_read`.
  template <class FinishBox>
  __device__ __forceinline__ static void staging(const OutputSm90<U>& y, const unsigned char* staging,
                                                 std::int64_t row, std::int64_t column, int lane,
                                                 const FinishBox& finish_box) {
#pragma unroll 1
    for (int box = 0; box < boxes; ++box) {
      finish_box(box);
      send_box(y, staging, box, row, column, lane);
    }
    send_elements(y, staging, row, column, lane);
  }

  /// Stores the warp's staging tile as `staging` does, with the boxes unrolled: finish_box.operator()<i>().
  template <class FinishBox>
  __device__ __forceinline__ static void staged_unrolled(const OutputSm90<U>& y, const unsigned char* staging,
                                                         std::int64_t row, std::int64_t column, int lane,
                                                         const FinishBox& finish_box) {
    [&]<int... box>(std::integer_sequence<int, box...>) {
      ((finish_box.template operator()<box>(), send_box(y, staging, box, row, column, lane)), ...);
    }
    (std::make_integer_sequence<int, boxes>());
    send_elements(y, staging, row, column, lane);
  }

  /// Whether the warp's share of a tile lies inside y whole, in vectors of 16 bytes.
  __device__ __forceinline__ static bool is_inside(const OutputSm90<U>& y, std::int64_t row,
                                                   std::int64_t column) {
    return y.by_tma && row + WgmmaFragment::warp_rows <= y.matrix.rows &&
           column + layout.tile.n <= y.matrix.columns;
  }

  /// Stores one finished box to rows from `row` and columns from `column` of y, by the lanes; `inside` is
  /// is_inside of the box's tile. On return the box may be written again.
  // Not by TMA: a warp waits for its fences and for its turn at the copy engine, which the operands keep
  // busy. One question per tile: branches per row take longer than the stores.
  __device__ __forceinline__ static void box_by_lanes(const OutputSm90<U>& y, const unsigned char* box,
                                                      std::int64_t row, std::int64_t column, bool inside,
                                                      int lane) {
    constexpr int vector = 16 / static_cast<int>(sizeof(U)),
                  lanes_per_row = StagingTile::box_columns / vector, rows_per_turn = 32 / lanes_per_row,
                  turns = WgmmaFragment::warp_rows / rows_per_turn;
    __syncwarp();
    uint4 vectors[turns];
    const int first = lane / lanes_per_row, at = lane % lanes_per_row * vector;
#pragma unroll
    for (int i = 0; i < turns; ++i) {
      vectors[i] = *reinterpret_cast<const uint4*>(box + StagingTile::offset(first + i * rows_per_turn, at));
    }
    __syncwarp();
    U* target = y.matrix.data + (row + first) * y.matrix.row_stride + column + at;
    if (inside) {
#pragma unroll
      for (int i = 0; i < turns; ++i, target += rows_per_turn * y.matrix.row_stride) {
        *reinterpret_cast<uint4*>(target) = vectors[i];
      }
      return;
    }
    const std::int64_t rows = y.matrix.rows - row - first, columns = y.matrix.columns - column - at;
#pragma unroll
    for (int i = 0; i < turns; ++i, target += rows_per_turn * y.matrix.row_stride) {
      if (i * rows_per_turn >= rows) continue;
      if (y.by_tma && vector <= columns) {
        *reinterpret_cast<uint4*>(target) = vectors[i];
      } else {
        store_elements(target, vectors[i], columns);
      }
    }
  }

  /// Returns when the staging tile may be written again.
  __device__ __forceinline__ static void wait_staging_read(int lane) {
    if (lane == 0) cuda::ptx::cp_async_bulk_wait_group_read(cuda::ptx::n32_t<0>{});
    __syncwarp();
  }

  /// Stores float values straight from registers: row half h of the fragment to y's row `row` + lane / 4 + 8
  /// h.
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
        const float first = acc[WgmmaFragment::slot(j, half, 0)],
                    second = acc[WgmmaFragment::slot(j, half, 1)];
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
  /// Stores box `box`, of which every lane has written its share, where y allows TMA.
  __device__ __forceinline__ static void send_box(const OutputSm90<U>& y, const unsigned char* staging,
                                                  int box, std::int64_t row, std::int64_t column, int lane) {
    if (!y.by_tma) return;
    cuda::ptx::fence_proxy_async(cuda::ptx::space_shared);
    __syncwarp();
    if (lane == 0) {
      const int at[2] = {static_cast<int>(column) + box * StagingTile::box_columns, static_cast<int>(row)};
      cuda::ptx::cp_async_bulk_tensor(cuda::ptx::space_global, cuda::ptx::space_shared, &y.map, at,
                                      staging + box * StagingTile::box_bytes);
      cuda::ptx::cp_async_bulk_commit_group();
    }
  }
  /// Stores as many elements of a 16-byte vector as there are columns.
  __device__ static void store_elements(U* target, const uint4& vector, std::int64_t columns) {
    const std::uint32_t words[4] = {vector.x, vector.y, vector.z, vector.w};
    auto* elements = reinterpret_cast<std::uint16_t*>(target);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if (i < columns) elements[i] = static_cast<std::uint16_t>(words[i / 2] >> (i % 2 * 16));
    }
  }
  /// Stores the whole staging tile, element by element, where y does not allow TMA.
  __device__ __forceinline__ static void send_elements(const OutputSm90<U>& y, const unsigned char* staging,
                                                       std::int64_t row, std::int64_t column, int lane) {
    if (y.by_tma) return;
    __syncwarp();
    elements(y.matrix, staging, row, column, lane);
  }

  __device__ static void elements(const Matrix<U>& y, const unsigned char* staging, std::int64_t row,
                                  std::int64_t column, int lane) {
#pragma unroll 1
    for (int r = 0; r < WgmmaFragment::warp_rows && row + r < y.rows; ++r) {
      U* target = y.data + (row + r) * y.row_stride + column;
#pragma unroll 1
      for (int c = lane; c < layout.tile.n && column + c < y.columns; c += 32) {
        target[c] = *reinterpret_cast<const U*>(staging + StagingTile::offset(r, c));
      }
    }
  }
};

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

#pragma once
/// Storing float accumulators.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/epilogue/store.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Stores a warp's 16 x tile.n accumulators, by TMA through `bytes` of shared memory for all consumer warps
/// where y allows it. All lanes of a warp call every function.
template <Sm90Layout layout, int bytes>
struct StoreF32Sm90 {
  using Panel = StagingTileF32;
  static constexpr int boxes = layout.tile.n / Panel::box_columns;
  static constexpr int room = bytes / (layout.consumer_warps() * Panel::box_bytes);
  /// Boxes of a warp in flight; a tile starts with the first. 0: there is no room.
  static constexpr int buffers = room < boxes ? room : boxes;
  static_assert(boxes % (buffers + (buffers == 0)) == 0, "a tile starts with the first buffer");

  /// Stores acc to rows from `row` and columns from `column` of y; what lies outside y is left out. On return
  /// the warp's share of `staging`, which starts at a multiple of 1024 bytes, may still be read: it is left
  /// to this function, or see StoreSm90::wait_staging_read.
  // Straight from registers, eight rows of 32 bytes at a time, a wave of 128x256 tiles took 15 us to leave.
  __device__ __forceinline__ static void tile(const OutputSm90<float>& y, unsigned char* staging,
                                              const float (&acc)[layout.accumulators()], std::int64_t row,
                                              std::int64_t column, int warp, int lane) {
    if constexpr (buffers > 0) {
      if (y.by_tma) {
        boxes_by_tma(y.map, staging + warp * buffers * Panel::box_bytes, acc, static_cast<int>(row),
                     static_cast<int>(column), lane);
        return;
      }
    }
    StoreSm90<layout, float>::registers(y.matrix, acc, row, column, lane);
  }

 private:
  __device__ __forceinline__ static void boxes_by_tma(const CUtensorMap& map, unsigned char* staging,
                                                      const float (&acc)[layout.accumulators()], int row,
                                                      int column, int lane) {
#pragma unroll
    for (int box = 0; box < boxes; ++box) {
      unsigned char* buffer = staging + box % buffers * Panel::box_bytes;
      if (lane == 0) cuda::ptx::cp_async_bulk_wait_group_read(cuda::ptx::n32_t<buffers - 1>{});
      __syncwarp();
#pragma unroll
      for (int i = 0; i < Panel::box_blocks; ++i) {
        const int j = box * Panel::box_blocks + i;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          *reinterpret_cast<float2*>(buffer + Panel::pair_offset(lane, i, half)) =
              make_float2(acc[WgmmaFragment::slot(j, half, 0)], acc[WgmmaFragment::slot(j, half, 1)]);
        }
      }
      cuda::ptx::fence_proxy_async(cuda::ptx::space_shared);
      __syncwarp();
      if (lane == 0) {
        const int at[2] = {column + box * Panel::box_columns, row};
        cuda::ptx::cp_async_bulk_tensor(cuda::ptx::space_global, cuda::ptx::space_shared, &map, at, buffer);
        cuda::ptx::cp_async_bulk_commit_group();
      }
    }
  }
};

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

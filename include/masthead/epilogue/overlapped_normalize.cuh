#pragma once
/// Overlapped normalization: what the producers of the overlapped path do beside loading.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cuda/atomic>

#include "masthead/epilogue/block_normalize.cuh"
#include "masthead/epilogue/block_sm90.cuh"
#include "masthead/ptx/cluster.cuh"
#include "masthead/ptx/opaque.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// What a block of the overlapped path has in shared memory besides.
// Static: addresses of its own take no registers.
struct OverlapStorageSm90 {
  StageRing<1>::SharedStorage staging;          // from the consumers to the warp that stores what they stage
  StageRing<1>::SharedStorage last_tile;        // full when the block has stored its last tile
  ClusterTile tile[Sm90Layout::affine_stages];  // (affine stage): the tile whose affine that is
  // What a warp that normalizes stores here, since it has no registers to spare.
  struct Warp {
    int spare;  // claims it may still make once the block has stored its last tile
    int section, task;
    SoftmaxTotal total;  // of the task's row
  } warp[4];             // (producer warp)
};

/// The OverlapStorageSm90 of the block, of which there is one.
__device__ __forceinline__ OverlapStorageSm90& overlap_storage() {
  __shared__ OverlapStorageSm90 storage;
  return storage;
}

/// Loads a tile's affine as begin_overlap_sm90_kernel left it. One warp calls it; the ring was initialized
/// for one.
template <Sm90Layout layout, class Params>
__device__ __forceinline__ void load_folded_affine(const BlockSm90<layout>& block,
                                                   OverlapStorageSm90& storage, const Params& p,
                                                   const ClusterTile& tile, int turn) {
  const typename BlockSm90<layout>::AffineLoader::Ring::State state{turn % 2,
                                                                    static_cast<std::uint32_t>(turn / 2 % 2)};
  const int lane = static_cast<int>(cuda::ptx::get_sreg_laneid());
  const std::int64_t first = block.first_column(tile);
  block.affine_ring.wait_empty(state);
  if (lane == 0) storage.tile[state.stage] = tile;
#pragma unroll
  for (int j = 0; j < layout.tile.n; j += 32) {
    const std::int64_t n = first + j + lane;
    float2 column = make_float2(0.0f, negative_infinity<float>);
    float center = 0;
    if (n < p.y.matrix.columns) {
      column = *reinterpret_cast<const float2*>(p.affine + n);
      center = p.center[n];
    }
    block.storage.affine.column[state.stage][j + lane] = {column.x, column.y};
    block.storage.affine.center[state.stage][j + lane] = center;
  }
  block.affine_ring.arrive_full(state);
}

/// The block's first row of a tile, with the CTA rank asked for anew: block.first_row would have it in a
/// register, which would be spilled.
template <Sm90Layout layout>
__device__ __forceinline__ int first_row_anew(const ClusterTile& tile) {
  return (tile.m * layout.cluster_m + ptx::cluster_cta_rank()) * layout.tile.m;
}

using DeviceCount = cuda::atomic_ref<unsigned, cuda::thread_scope_device>;

/// Normalizes one warp's share of the rows that are complete. No warp waits for another block: a section is
/// either complete, or there is nothing to do yet; what nobody claims is left to normalize_rest_sm90_kernel.
template <Sm90Layout layout, class U>
class OverlappedNormalizerSm90 {
  static constexpr int vector = 16 / static_cast<int>(sizeof(U));
  static constexpr int vectors = 4;          // in flight at once
  static constexpr int steps_per_task = 24;  // k-steps of the mainloop in the time of a task
  using Epilogue = EpilogueSm90<layout, dtype_of<U>>;

 public:
  /// Whether a layout allows it: a warp's vectors must lie in one column part of the row.
  static constexpr bool available = layout.math_mode == MathMode::plain && layout.tile.n == 32 * vector;

  /// Normalizes complete sections until all are claimed or `last_tile` is full: the block has stored it. All
  /// lanes call it; `storage` is the warp's.
  // Blocks with a tile less than others go on for about its time. For a section that may take forever to
  // complete, where other blocks wait for a multiprocessor, they do not wait long.
  template <class Params>
  __device__ __forceinline__ static void run(const Params& p, const StageRing<1>& last_tile,
                                             OverlapStorageSm90::Warp& storage) {
    const int lane = static_cast<int>(cuda::ptx::get_sreg_laneid());
    const bool waits = static_cast<int>(blockIdx.x) >= p.overlap.last_blocks;
    const int claim_steps = steps_per_task * p.tasks.tasks_per_claim();
    set(storage.spare, waits ? p.k_steps / claim_steps : 0, lane);
#pragma unroll 1
    for (int section = 0; section < p.overlap.count(); section = storage.section + 1) {
      set(storage.section, section, lane);
      int polls = storage.spare > 0 ? 40 : 0;
#pragma unroll 1
      while (!complete(p.progress[section], p.overlap.blocks_in(section), lane)) {
        if (last_tile.is_full({}) && --polls < 0) return;
        __nanosleep(500);
      }
      set(storage.task, -1, lane);
#pragma unroll 1
      for (;;) {
        const int next = storage.task + 1;
        if (p.tasks.whole_rows && next % p.tasks.blocks != 0) {
          set(storage.task, next, lane);
        } else {
          if (last_tile.is_full({})) {
            if (storage.spare <= 0) return;
            set(storage.spare, storage.spare - 1, lane);
          }
          if (!claim(p, storage, lane)) break;
        }
        normalize(p, storage, ptx::opaque(lane));  // what depends on it is not kept, or half spills
      }
    }
  }

 private:
  __device__ static bool complete(SectionProgress& progress, unsigned blocks, int lane) {
    bool complete = false;
    if (lane == 0) complete = DeviceCount(progress.stored).load(cuda::memory_order_acquire) == blocks;
    if (!__any_sync(0xffffffffu, complete)) return false;
    __syncwarp();
    cuda::ptx::fence_proxy_async();  // the async proxy wrote the quantized logits
    return true;
  }
  /// Sets `shared` to `value`: all lanes have read the old value before, and read the new one on return. All
  /// lanes call it.
  template <class T>
  __device__ __forceinline__ static void set(T& shared, const T& value, int lane) {
    __syncwarp();
    if (lane == 0) shared = value;
    __syncwarp();
  }

  /// Claims the next task of the section, or the next row of tasks, and computes its row's total; false when
  /// there is none.
  template <class Params>
  __device__ __forceinline__ static bool claim(const Params& p, OverlapStorageSm90::Warp& storage, int lane) {
    const int section = storage.section, rows = p.overlap.rows_in(section);
    unsigned claimed = 0;
    if (lane == 0) {
      claimed = DeviceCount(p.progress[section].claimed).fetch_add(1, cuda::memory_order_relaxed);
    }
    const int task = static_cast<int>(__shfl_sync(0xffffffffu, claimed, 0)) * p.tasks.tasks_per_claim();
    if (task >= rows * p.tasks.blocks) return false;
    set(storage.task, task, lane);
    const std::int64_t row = p.overlap.first_row(section) + p.tasks.at(task, rows).row;
    const int parts = p.schedule.grid.tiles_n;
    set(storage.total, warp_softmax_total(p.partials + row * parts, parts, lane), lane);
    return true;
  }

  /// Normalizes a task, one block of columns of a row; y is one that TMA can store.
  template <class Params>
  __device__ __forceinline__ static void normalize(const Params& p, const OverlapStorageSm90::Warp& storage,
                                                   int lane) {
    static_assert(normalize_columns / layout.tile.n <= 32, "a lane for each part of the block");
    const auto [row_in_section, column_block] = p.tasks.at(storage.task, p.overlap.rows_in(storage.section));
    const std::int64_t row = p.overlap.first_row(storage.section) + row_in_section;
    const int parts = p.schedule.grid.tiles_n, part = column_block * (p.tasks.columns / layout.tile.n) + lane;
    const float factor = storage.total.factor(load_partial(p.partials + row * parts, part, parts).max);
    const std::int64_t first = std::int64_t{column_block} * p.tasks.columns,
                       left = p.y.matrix.columns - first;
    U* y = p.y.matrix.data + row * p.y.matrix.row_stride + first + lane * vector;
    // What is left of the block from the lane's first column on: whole vectors.
    int columns = (left < p.tasks.columns ? static_cast<int>(left) : p.tasks.columns) - lane * vector;
    uint4 quantized[vectors];
#pragma unroll
    for (int v = 0; v < vectors; ++v) load(quantized[v], y, v * layout.tile.n, columns);
#pragma unroll 1
    for (int i = 0; i < p.tasks.columns / layout.tile.n; i += vectors) {
#pragma unroll
      for (int v = 0; v < vectors; ++v) {
        const int column = v * layout.tile.n;
        const float of_part = __shfl_sync(0xffffffffu, factor, i + v);
        if (column < columns) {
          *reinterpret_cast<uint4*>(y + column) = Epilogue::normalize(quantized[v], of_part);
        }
        load(quantized[v], y, column + vectors * layout.tile.n, columns);
      }
      y += vectors * layout.tile.n;
      columns -= vectors * layout.tile.n;
    }
  }
  __device__ __forceinline__ static void load(uint4& quantized, const U* y, int column, int columns) {
    if (column < columns) quantized = __ldcg(reinterpret_cast<const uint4*>(y + column));
  }
};

/// Stores tiles that the consumers stage as quantized logits, so that nobody waits for the stores but a warp
/// that can.
template <Sm90Layout layout, class U>
struct StagedStoreSm90 {
  static constexpr int boxes = layout.tile.n / StagingTile::box_columns;

  /// Stores the `turn`-th tile once it is staged, gives the staging tiles back, and counts the tile when it
  /// is in memory. One warp calls it.
  template <class Params>
  __device__ __forceinline__ static void store(const BlockSm90<layout>& block, const StageRing<1>& ring,
                                               const Params& p, int turn) {
    const int lane = static_cast<int>(cuda::ptx::get_sreg_laneid());
    ClusterTile tile{};
    p.schedule.get(block.cluster, turn, tile);
    const int row = first_row_anew<layout>(tile);
    const StageRing<1>::State state{0, static_cast<std::uint32_t>(turn % 2)};
    ring.wait_full(state);
    if (p.y.by_tma) {
#pragma unroll 1
      for (int i = lane; i < layout.consumer_warps() * boxes; i += 32) {
        const int warp = i / boxes, box = i % boxes;
        const int at[2] = {static_cast<int>(block.first_column(tile)) + box * StagingTile::box_columns,
                           row + warp * WgmmaFragment::warp_rows};
        cuda::ptx::cp_async_bulk_tensor(
            cuda::ptx::space_global, cuda::ptx::space_shared, &p.y.map, at,
            block.storage.staging + warp * StagingTile::bytes(layout.tile.n) + box * StagingTile::box_bytes);
      }
      cuda::ptx::cp_async_bulk_commit_group();
      cuda::ptx::cp_async_bulk_wait_group_read(cuda::ptx::n32_t<0>{});
    }
    ring.arrive_empty(state);
    const int section = p.overlap.of(tile.m);
    if (section >= p.overlap.count()) return;
    cuda::ptx::cp_async_bulk_wait_group(cuda::ptx::n32_t<0>{});
    cuda::ptx::fence_proxy_async();
    __syncwarp();
    if (lane == 0) {
      DeviceCount(p.progress[section].stored).fetch_add(1, cuda::memory_order_release);
    }
  }
};

/// Runs the producer warpgroup: warp 0 loads operands. In its `turn`-th turn, when the tile before the last
/// is done, warp 1 stores that tile and loads the affine of the `turn`-th; two more turns see the last tiles
/// off. The other two warps normalize rows.
template <Sm90Layout layout, class U, class Params>
__device__ __forceinline__ void produce_and_normalize(const BlockSm90<layout>& block,
                                                      OverlapStorageSm90& storage, const Params& p) {
  const StageRing<1> last_tile(storage.last_tile);
  if (block.warp == 0) return block.load_operands(p);
  if (block.warp > 1) return OverlappedNormalizerSm90<layout, U>::run(p, last_tile, storage.warp[block.warp]);
#pragma unroll 1
  for (int turn = 0; turn < 2 || p.schedule.has(block.cluster, turn - 2); ++turn) {
    if (turn >= 2) StagedStoreSm90<layout, U>::store(block, StageRing<1>(storage.staging), p, turn - 2);
    ClusterTile tile;
    if (p.schedule.get(block.cluster, turn, tile)) load_folded_affine(block, storage, p, tile, turn);
  }
  if (ptx::elect()) last_tile.arrive_full({});
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

#pragma once
/// Finalising rows under the mainloop: what the producers of the general Hopper kernel do beside loading.

#include <cuda/atomic>

#include "masthead/kernel/finalise_sm90.cuh"
#include "masthead/kernel/roles_sm90.cuh"
#include "masthead/ptx/cluster.cuh"
#include "masthead/ptx/opaque.cuh"

namespace masthead::inline v0 {

template <class T>
struct BeginSectionsSm90Params {
  Parameters<T> parameters;
  AffineColumn* affine;  // (out_features), out
  SectionProgress* progress;
  int sections;
};

inline constexpr int begin_sections_threads = 128;

/// Ahead of a GEMM with early sections: zeroes their progress and folds the affine, for which its producers
/// then have no time. One thread a feature.
template <class T>
__global__ void __launch_bounds__(begin_sections_threads)
    begin_sections_sm90_kernel(const __grid_constant__ BeginSectionsSm90Params<T> p) {
  ptx::grid_dependency_trigger();
  ptx::grid_dependency_wait();
  const std::int64_t n = std::int64_t{blockIdx.x} * begin_sections_threads + threadIdx.x;
  if (n < p.sections) p.progress[n] = {};
  if (n >= p.parameters.weight.rows) return;
  const Affine folded = fold(PendingFeature::load(p.parameters, n).value(), p.parameters.epsilon, log2e);
  p.affine[n] = {static_cast<float>(folded.multiplier), static_cast<float>(folded.addend)};
}

/// What a block that finalises rows early has in shared memory besides.
// Static: addresses of its own take no registers.
struct EarlyStorageSm90 {
  StageRing<1>::SharedStorage panel;            // from the consumers to the warp that stores what they stage
  StageRing<1>::SharedStorage last_tile;        // full when the block has stored its last tile
  ClusterTile tile[Sm90Layout::affine_stages];  // which the affine is of
  // Of a warp that finalises: kept here, since it has no registers to spare.
  struct Warp {
    int spare;  // claims it may still make once the block has stored its last tile
    int section, unit;
    RowTotal total;  // of the unit's row
  } warp[4];
};

/// Loads a tile's affine as begin_sections_sm90_kernel left it. One warp; the ring was told so.
template <Sm90Layout layout, class Params>
__device__ __forceinline__ void load_folded_affine(const BlockSm90<layout>& block, EarlyStorageSm90& storage,
                                                   const Params& p, const ClusterTile& tile, int turn) {
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
    if (n < p.y.matrix.columns) column = *reinterpret_cast<const float2*>(p.affine + n);
    block.storage.affine.column[state.stage][j + lane] = {column.x, column.y};
  }
  block.affine_ring.arrive_full(state);
}

/// The block's first row of a tile: as block.first_row, but the rank is asked for anew. Kept, it would be
/// spilled.
template <Sm90Layout layout>
__device__ __forceinline__ int first_row_anew(const ClusterTile& tile) {
  return (tile.m * layout.cluster_m + ptx::cluster_rank()) * layout.tile.m;
}

using DeviceCount = cuda::atomic_ref<unsigned, cuda::thread_scope_device>;

/// One warp's share of the rows that are complete. No warp waits for another block: a section is either
/// complete, or there is nothing to do yet; what nobody claims is left to the kernel behind.
template <Sm90Layout layout, class U>
class EarlyFinaliserSm90 {
  static constexpr int vector = 16 / static_cast<int>(sizeof(U));
  static constexpr int vectors = 4;        // under way at once
  static constexpr int steps_a_unit = 24;  // k-steps of the mainloop in the time of a unit
  using Epilogue = EpilogueSm90<layout, dtype_of<U>>;

 public:
  /// A warp's vectors lie in one part of the row.
  static constexpr bool available = layout.product == Product::plain && layout.tile.n == 32 * vector;

  /// Finalises complete sections until all are claimed or `last_tile` is full: the block has stored it. All
  /// lanes call it; `storage` is the warp's.
  // Blocks with a tile less than others go on for about its time. For a section that may take forever to
  // complete, where other blocks wait for a multiprocessor, they do not wait long.
  template <class Params>
  __device__ __forceinline__ static void run(const Params& p, const StageRing<1>& last_tile,
                                             EarlyStorageSm90::Warp& storage) {
    const int lane = static_cast<int>(cuda::ptx::get_sreg_laneid());
    const bool waits = static_cast<int>(blockIdx.x) >= p.early.last_blocks;
    const int claim_steps = steps_a_unit * p.units.units_a_claim();
    set(storage.spare, waits ? p.k_steps / claim_steps : 0, lane);
#pragma unroll 1
    for (int section = 0; section < p.early.count(); section = storage.section + 1) {
      set(storage.section, section, lane);
      int polls = storage.spare > 0 ? 40 : 0;
#pragma unroll 1
      while (!complete(p.progress[section], p.early.blocks_in(section), lane)) {
        if (last_tile.is_full({}) && --polls < 0) return;
        __nanosleep(500);
      }
      set(storage.unit, -1, lane);
#pragma unroll 1
      for (;;) {
        const int next = storage.unit + 1;
        if (p.units.whole_rows && next % p.units.blocks != 0) {
          set(storage.unit, next, lane);
        } else {
          if (last_tile.is_full({})) {
            if (storage.spare <= 0) return;
            set(storage.spare, storage.spare - 1, lane);
          }
          if (!claim(p, storage, lane)) break;
        }
        finalise(p, storage, ptx::opaque(lane));  // what depends on it is not kept, or half spills
      }
    }
  }

 private:
  __device__ static bool complete(SectionProgress& progress, unsigned blocks, int lane) {
    bool complete = false;
    if (lane == 0) complete = DeviceCount(progress.stored).load(cuda::memory_order_acquire) == blocks;
    if (!__any_sync(0xffffffffu, complete)) return false;
    __syncwarp();
    cuda::ptx::fence_proxy_async();  // which wrote the codes
    return true;
  }
  /// All lanes have read the old value; all read the new one on return.
  template <class T>
  __device__ __forceinline__ static void set(T& shared, const T& value, int lane) {
    __syncwarp();
    if (lane == 0) shared = value;
    __syncwarp();
  }

  /// Claims the next unit of the section, or row of units, and takes its row's total; false when there is
  /// none.
  template <class Params>
  __device__ __forceinline__ static bool claim(const Params& p, EarlyStorageSm90::Warp& storage, int lane) {
    const int section = storage.section, rows = p.early.rows_in(section);
    unsigned claimed = 0;
    if (lane == 0) {
      claimed = DeviceCount(p.progress[section].claimed).fetch_add(1, cuda::memory_order_relaxed);
    }
    const int unit = static_cast<int>(__shfl_sync(0xffffffffu, claimed, 0)) * p.units.units_a_claim();
    if (unit >= rows * p.units.blocks) return false;
    set(storage.unit, unit, lane);
    const std::int64_t row = p.early.first_row(section) + p.units.at(unit, rows).row;
    const int parts = p.schedule.grid.tiles_n;
    set(storage.total, warp_row_total(p.partials + row * parts, parts, lane), lane);
    return true;
  }

  /// One block of columns of a row; y is what TMA can store.
  template <class Params>
  __device__ __forceinline__ static void finalise(const Params& p, const EarlyStorageSm90::Warp& storage,
                                                  int lane) {
    static_assert(finalise_columns / layout.tile.n <= 32, "a lane for each part of the block");
    const auto [row_in_section, column_block] = p.units.at(storage.unit, p.early.rows_in(storage.section));
    const std::int64_t row = p.early.first_row(storage.section) + row_in_section;
    const int parts = p.schedule.grid.tiles_n, part = column_block * (p.units.columns / layout.tile.n) + lane;
    const float factor = storage.total.factor(load_partial(p.partials + row * parts, part, parts).reference);
    const std::int64_t first = std::int64_t{column_block} * p.units.columns,
                       left = p.y.matrix.columns - first;
    U* y = p.y.matrix.data + row * p.y.matrix.row_stride + first + lane * vector;
    // From the lane's on: what is left of the block, whole vectors.
    int columns = (left < p.units.columns ? static_cast<int>(left) : p.units.columns) - lane * vector;
    uint4 codes[vectors];
#pragma unroll
    for (int v = 0; v < vectors; ++v) load(codes[v], y, v * layout.tile.n, columns);
#pragma unroll 1
    for (int i = 0; i < p.units.columns / layout.tile.n; i += vectors) {
#pragma unroll
      for (int v = 0; v < vectors; ++v) {
        const int column = v * layout.tile.n;
        const float of_part = __shfl_sync(0xffffffffu, factor, i + v);
        if (column < columns) {
          *reinterpret_cast<uint4*>(y + column) = Epilogue::normalise(codes[v], of_part);
        }
        load(codes[v], y, column + vectors * layout.tile.n, columns);
      }
      y += vectors * layout.tile.n;
      columns -= vectors * layout.tile.n;
    }
  }
  __device__ __forceinline__ static void load(uint4& codes, const U* y, int column, int columns) {
    if (column < columns) codes = __ldcg(reinterpret_cast<const uint4*>(y + column));
  }
};

/// Storing tiles that the consumers stage as codes, so that nobody waits for the stores but a warp that can.
template <Sm90Layout layout, class U>
struct PanelStoreSm90 {
  static constexpr int boxes = layout.tile.n / WarpPanel::box_columns;

  /// One warp: stores the `turn`-th tile once it is staged, gives the panel back, and counts the tile when it
  /// is in memory.
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
        const int at[2] = {static_cast<int>(block.first_column(tile)) + box * WarpPanel::box_columns,
                           row + warp * WgmmaFragment::warp_rows};
        cuda::ptx::cp_async_bulk_tensor(
            cuda::ptx::space_global, cuda::ptx::space_shared, &p.y.map, at,
            block.storage.panel + warp * WarpPanel::bytes(layout.tile.n) + box * WarpPanel::box_bytes);
      }
      cuda::ptx::cp_async_bulk_commit_group();
      cuda::ptx::cp_async_bulk_wait_group_read(cuda::ptx::n32_t<0>{});
    }
    ring.arrive_empty(state);
    const int section = p.early.of(tile.m);
    if (section >= p.early.count()) return;
    cuda::ptx::cp_async_bulk_wait_group(cuda::ptx::n32_t<0>{});
    cuda::ptx::fence_proxy_async();
    __syncwarp();
    if (lane == 0) {
      DeviceCount(p.progress[section].stored).fetch_add(1, cuda::memory_order_release);
    }
  }
};

/// The producer warpgroup: warp 0 loads operands. In its `turn`-th turn, when the tile before the last is
/// done, warp 1 stores that tile and loads the affine of the `turn`-th; two more turns see the last tiles
/// off. The other two warps finalise rows.
template <Sm90Layout layout, class U, class Params>
__device__ __forceinline__ void produce_and_finalise(const BlockSm90<layout>& block,
                                                     EarlyStorageSm90& storage, const Params& p) {
  const StageRing<1> last_tile(storage.last_tile);
  if (block.warp == 0) return block.load_operands(p);
  if (block.warp > 1) return EarlyFinaliserSm90<layout, U>::run(p, last_tile, storage.warp[block.warp]);
#pragma unroll 1
  for (int turn = 0; turn < 2 || p.schedule.has(block.cluster, turn - 2); ++turn) {
    if (turn >= 2) PanelStoreSm90<layout, U>::store(block, StageRing<1>(storage.panel), p, turn - 2);
    ClusterTile tile;
    if (p.schedule.get(block.cluster, turn, tile)) load_folded_affine(block, storage, p, tile, turn);
  }
  if (ptx::elect()) last_tile.arrive_full({});
}

/// Behind the kernel that finalises the early rows: the others, and what nobody claimed of the early ones.
/// Grid: a block for every unit of the others.
template <class Policy, class U>
__global__ void __launch_bounds__(finalise_threads)
    finalise_rest_sm90_kernel(const __grid_constant__ FinaliseSm90Params<U> p, const EarlySections early,
                              const FinaliseUnits units, const SectionProgress* progress) {
  using Finaliser = BlockFinaliserSm90<Policy, U>;
  __shared__ typename Finaliser::TempStorage storage;
  __shared__ unsigned claimed[EarlySections::most];
  ptx::grid_dependency_trigger();
  ptx::grid_dependency_wait();
  const int section = static_cast<int>(threadIdx.x);
  if (section < early.count()) claimed[section] = progress[section].claimed;
  unsigned index = blockIdx.x;
  // Last units first: of what the GEMM wrote last some is still in L2.
  const auto finalise = [&](std::int64_t first_row, unsigned rows) {
    const auto unit = units.at(static_cast<int>(rows * units.blocks - 1 - index), static_cast<int>(rows));
    Finaliser::apply(p, first_row + unit.row, std::int64_t{unit.block} * units.columns, units.columns,
                     storage);
  };
  finalise(early.rows(), static_cast<unsigned>(p.y.rows - early.rows()));
  __syncthreads();
#pragma unroll 1
  for (int s = early.count() - 1; s >= 0; --s) {
    const auto rows = static_cast<unsigned>(early.rows_in(s));
    const unsigned all = rows * units.blocks, left = all - min(all, claimed[s] * units.units_a_claim());
#pragma unroll 1
    for (; index < left; index += gridDim.x) {
      finalise(early.first_row(s), rows);
      __syncthreads();
    }
    index -= left;
  }
}

}  // namespace masthead::inline v0

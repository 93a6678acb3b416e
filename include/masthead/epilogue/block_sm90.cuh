#pragma once
/// What the Hopper kernels share: parameters, shared memory, and the producer warpgroup.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>
#include <type_traits>

#include "masthead/epilogue/affine_loader.cuh"
#include "masthead/epilogue/batch_norm.cuh"
#include "masthead/epilogue/dequantize.cuh"
#include "masthead/epilogue/store.cuh"
#include "masthead/gemm/mainloop_promoted_sm90.cuh"
#include "masthead/gemm/mainloop_sm90.cuh"
#include "masthead/ptx/elect.cuh"
#include "masthead/ptx/grid_dependency.cuh"
#include "masthead/ptx/prefetch_tensor_map.cuh"
#include "masthead/ptx/setmaxnreg.cuh"
#include "masthead/ptx/sm90a.cuh"
#include "masthead/reduce/column_moments.cuh"
#include "masthead/tile/cluster_schedule.hpp"
#include "masthead/tile/overlap_sections.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// How operands are loaded and multiplied in a layout's math mode.
template <Sm90Layout layout>
struct EngineSm90 {
  static constexpr bool packed = is_packed(layout.math_mode);
  using Loader = std::conditional_t<packed, LoaderPackedSm90<layout>, LoaderSm90<layout>>;
  using AffineLoader = std::conditional_t<packed, AffineLoaderPackedSm90<layout>, AffineLoaderSm90<layout>>;
  using Mainloop = std::conditional_t<is_promoted(layout.math_mode), MainloopPromotedSm90<layout>,
                                      MainloopSm90<layout, Loader>>;
};

/// Parameters of the GEMM kernels of the wgmma engine.
template <class T, class U, class Schedule>
struct LinearSm90Params {
  CUtensorMap x;             // (batch, in_features), boxes of tile_m x tile_k, of all parts of a packed x
  CUtensorMap w;             // (out_features, in_features), boxes of tile_n / cluster_m x tile_k
  const void* x_scale;       // (batch), of a packed x
  const void* w_scale;       // (out_features), of a packed weight
  OutputSm90<U> y;           // (batch, out_features)
  Parameters<T> parameters;  // the vectors are read raw
  SoftmaxPartial* partials;  // (batch, tiles_n), of a 16-bit y
  int k_steps;               // stages of k per tile
  Schedule schedule;
  // The overlapped path:
  OverlapSections overlap;
  NormalizeTasks tasks;
  SectionProgress* progress;   // (overlap.count()), zero when the kernel starts
  const AffineColumn* affine;  // (out_features), folded
  const float* center;         // (out_features)
  // Training mode:
  Moments<float>* moments;     // (tiles_m, out_features), of the two-pass kernel
  unsigned* any_center;        // set to 0 for batch_affine_kernel, by the two-pass kernel
  ColumnMoment* tile_moments;  // (tiles_m, out_features), of the resident kernel
  BatchUpdate update;
};

/// Shared memory of a block: the ring of operand stages, the staging tiles of its warps, the affine, the
/// barriers.
template <Sm90Layout layout>
struct SharedStorageSm90 {
  using Engine = EngineSm90<layout>;

  typename Engine::Loader::SharedStorage operands;
  alignas(1024) unsigned char staging[layout.staging_bytes()];  // (warp, box, 16, 64), 128-byte swizzle
  typename Engine::AffineLoader::SharedStorage affine;
  typename Engine::Loader::Ring::SharedStorage ring;
  typename Engine::AffineLoader::Ring::SharedStorage affine_ring;

  __device__ static SharedStorageSm90& in(unsigned char* dynamic) {
    const auto start = reinterpret_cast<std::uintptr_t>(dynamic);
    static_assert(sizeof(SharedStorageSm90) + 1008 == static_cast<std::size_t>(layout.shared_bytes()));
    return *reinterpret_cast<SharedStorageSm90*>(dynamic + ((1024 - start % 1024) % 1024));
  }
};

/// A block's place in the grid and the rings it works with; construction is the kernels' common prologue.
template <Sm90Layout layout>
struct BlockSm90 {
  using Loader = typename EngineSm90<layout>::Loader;
  using AffineLoader = typename EngineSm90<layout>::AffineLoader;
  static constexpr bool packed = is_packed(layout.math_mode);

  SharedStorageSm90<layout>& storage;
  typename Loader::Ring ring;
  typename AffineLoader::Ring affine_ring;
  int warpgroup;  ///< 0: producers; 1, 2: consumers
  int warp;       ///< in the warpgroup
  int lane;
  int cta_rank;  ///< in the cluster
  int cluster;

  /// All threads construct it. On return the rings are usable by the whole cluster and earlier kernels'
  /// writes visible. `affine_threads` write a stage of the affine.
  template <class Params>
  __device__ BlockSm90(unsigned char* dynamic, const Params& p, int affine_threads = 32 * AffineLoader::warps)
      : storage(SharedStorageSm90<layout>::in(dynamic)),
        ring(storage.ring),
        affine_ring(storage.affine_ring),
        warpgroup(__shfl_sync(0xffffffffu, static_cast<int>(threadIdx.x) / 128, 0)),
        warp(__shfl_sync(0xffffffffu, static_cast<int>(threadIdx.x) / 32 % 4, 0)),
        lane(static_cast<int>(threadIdx.x) % 32),
        cta_rank(static_cast<int>(blockIdx.x) % layout.cluster_m),
        cluster(static_cast<int>(blockIdx.x) / layout.cluster_m) {
    if (threadIdx.x == 0) {
      ptx::prefetch_tensor_map(&p.x);
      ptx::prefetch_tensor_map(&p.w);
      Loader::init(ring);
      AffineLoader::init(affine_ring, affine_threads);
      cuda::ptx::fence_mbarrier_init(cuda::ptx::sem_release, cuda::ptx::scope_cluster);
    }
    cluster_barrier();
    ptx::grid_dependency_wait();
  }

  __device__ std::int64_t first_row(const ClusterTile& tile) const {
    return (std::int64_t{tile.m} * layout.cluster_m + cta_rank) * layout.tile.m;
  }
  __device__ std::int64_t first_column(const ClusterTile& tile) const {
    return std::int64_t{tile.n} * layout.tile.n;
  }

  __device__ int consumer_warp() const { return (warpgroup - 1) * 4 + warp; }
  /// Synchronizes the consumer threads, all of which call it.
  __device__ static void consumer_barrier() { __barrier_sync_count(1, layout.consumer_warps() * 32); }

  /// Loads x and W for all tiles of the schedule. Warp 0 of the producer warpgroup calls it.
  template <class Params>
  __device__ __forceinline__ void load_operands(const Params& p) const {
    ClusterTile tile;
    if (ptx::elect()) {
      typename Loader::Ring::State state;
#pragma unroll 1
      for (int turn = 0; p.schedule.get(cluster, turn, tile); ++turn) {
        Loader::load(p.x, p.w, storage.operands, ring, state, static_cast<int>(first_row(tile)),
                     static_cast<int>(first_column(tile)), p.k_steps, cta_rank);
      }
    }
    __syncwarp();
  }
  /// Produces for all tiles: warp 0 loads operands, and the other warps call load_affine(tile, thread), with
  /// `thread` counting through them. The producer warpgroup calls it.
  template <class Params, class LoadAffine>
  __device__ __forceinline__ void produce(const Params& p, const LoadAffine& load_affine) const {
    if (warp == 0) {
      load_operands(p);
    } else {
      ClusterTile tile;
#pragma unroll 1
      for (int turn = 0; p.schedule.get(cluster, turn, tile); ++turn) {
        load_affine(tile, static_cast<int>(threadIdx.x) - 32);
      }
    }
  }
  /// Produces operands and affine, AffineTerms affine_of(n) for feature n, with what dequantizes a packed
  /// weight. The producer warpgroup calls it.
  template <class Params, class AffineOf>
  __device__ __forceinline__ void produce_affine(const Params& p, const AffineOf& affine_of) const {
    typename AffineLoader::Ring::State state;
    produce(p, [&](const ClusterTile& tile, int thread) {
      const std::int64_t first = first_column(tile), features = p.y.matrix.columns;
      if constexpr (packed) {
        AffineLoader::load(storage.affine, affine_ring, state, first, features, thread, affine_of, p.w_scale);
      } else {
        AffineLoader::load(storage.affine, affine_ring, state, first, features, thread, affine_of);
      }
    });
  }
  /// Produces operands and the affine of the parameters' running statistics. The producer warpgroup calls it.
  template <class Params>
  __device__ __forceinline__ void produce(const Params& p) const {
    produce_affine(p, [&](std::int64_t n) {
      return affine_terms(load_feature(p.parameters, n), p.parameters.epsilon, log4e);
    });
  }

  /// Produces operands in training mode, where the affine of the batch is not known yet. Block 0 counts the
  /// batch and clears what batch_affine_kernel may set, a kernel ahead of it. The producer warpgroup calls
  /// it.
  template <class Params>
  __device__ __forceinline__ void produce_sums(const Params& p) const {
    if (blockIdx.x == 0 && threadIdx.x == 0) {
      if (p.update.batches_tracked != nullptr) ++*p.update.batches_tracked;
      *p.any_center = 0;
    }
    if constexpr (packed) {
      produce_affine(p, [](std::int64_t) { return AffineTerms{}; });
    } else {
      produce(p, [](const ClusterTile&, int) {});
    }
  }

  /// Dequantizes sums of packed operands between mainloop and tile end: acc becomes x W^T (DequantizeSm90).
  /// All consumer threads call it, when the affine's stage is full.
  template <Mode mode, class Params>
  __device__ __forceinline__ void dequantize(const Params& p, float (&acc)[layout.accumulators()],
                                             const ClusterTile& tile, int stage) const {
    DequantizeSm90<layout, mode>::apply(acc, p.x_scale, storage.affine, stage,
                                        first_row(tile) + consumer_warp() * WgmmaFragment::warp_rows,
                                        p.y.matrix.rows, lane);
  }

  /// Ends a kernel: no block may leave while others of its cluster still write to its shared memory or arrive
  /// at its barriers. All threads call it.
  __device__ static void leave() { cluster_barrier(); }

 private:
  // Relaxed: barriers are published by fence_mbarrier_init, y needs no order inside the grid. A releasing
  // arrive waits for every store of the thread to reach memory.
  __device__ static void cluster_barrier() {
    cuda::ptx::barrier_cluster_arrive(cuda::ptx::sem_relaxed);
    cuda::ptx::barrier_cluster_wait();
  }
};

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

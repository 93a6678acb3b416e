#pragma once
/// The second half of the general Hopper path: y from codes and partials, in place.

#include "masthead/gemm/coded_transposed_sm90.cuh"
#include "masthead/gemm/epilogue_sm90.cuh"
#include "masthead/policy.hpp"
#include "masthead/ptx/grid_dependency.cuh"
#include "masthead/tile/raster.hpp"

namespace masthead::inline v0 {

template <class U>
struct FinaliseSm90Params {
  Matrix<U> y;                 // (batch, out_features); codes in, probabilities out
  const RowPartial* partials;  // (batch, parts), each in pieces of 64 columns where the engine is transposed
  int parts;
};

inline constexpr int finalise_threads = 256;
/// Columns of a row one block finalises: 4 vectors of 16 bytes a thread.
inline constexpr int finalise_columns = 8192;
/// Blocks of a row. The last one takes up to an element a thread more, so that a few columns cost no block.
MASTHEAD_HOST_DEVICE constexpr std::int64_t finalise_blocks(std::int64_t columns) {
  return columns <= finalise_columns ? 1 : ceil_div(columns - finalise_threads, finalise_columns);
}

/// A block of columns of a row by one block of threads.
template <class Policy, class U>
class BlockFinaliserSm90 {
  static constexpr Sm90Layout layout = Policy::spec.sm90();
  static constexpr bool transposed = Policy::spec.engine == Engine::wgmma_transposed;
  static constexpr int part_columns = transposed ? transposed_part_columns : layout.tile.n;
  static constexpr int pieces = transposed ? transposed_part_columns / 64 : 1;
  static constexpr int vector = 16 / static_cast<int>(sizeof(U));
  static constexpr int vectors = finalise_columns / (finalise_threads * vector);
  using Epilogue = EpilogueSm90<layout, dtype_of<U>>;
  using Total = BlockRowTotal<finalise_threads / 32, pieces>;

 public:
  using TempStorage = typename Total::TempStorage;

  /// At most `count` columns from `first` on. All threads call it.
  __device__ __forceinline__ static void apply(const FinaliseSm90Params<U>& p, std::int64_t row,
                                               std::int64_t first, int count, TempStorage& storage) {
    const RowPartial* partials = p.partials + row * p.parts * pieces;
    U* y = p.y.data + row * p.y.row_stride + first;
    const int columns =
        static_cast<int>(p.y.columns - first < count ? p.y.columns - first : std::int64_t{count});
    const int in_vectors = columns < finalise_columns ? columns / vector * vector : finalise_columns,
              vectored = reinterpret_cast<std::uintptr_t>(y) % 16 == 0 ? in_vectors : 0;
    const auto reference_at = [&](int column) {
      return load_partial<pieces>(partials, static_cast<int>((first + column) / part_columns), p.parts)
          .reference;
    };

    // Everything is asked for at once: codes, their references, and the partials of the total.
    uint4 codes[vectors];
    float reference[vectors];
#pragma unroll
    for (int v = 0; v < vectors; ++v) {
      const int column = (v * finalise_threads + static_cast<int>(threadIdx.x)) * vector;
      if (column < vectored) {
        codes[v] = __ldcg(reinterpret_cast<const uint4*>(y + column));
        reference[v] = reference_at(column);
      }
    }
    const RowTotal total = Total(storage)(partials, p.parts);
#pragma unroll
    for (int v = 0; v < vectors; ++v) {
      const int column = (v * finalise_threads + static_cast<int>(threadIdx.x)) * vector;
      if (column < vectored) {
        *reinterpret_cast<uint4*>(y + column) = Epilogue::normalise(codes[v], total.factor(reference[v]));
      }
    }
    for (int column = vectored + static_cast<int>(threadIdx.x); column < columns;
         column += finalise_threads) {
      auto* unit = reinterpret_cast<std::uint16_t*>(y + column);
      *unit = static_cast<std::uint16_t>(Epilogue::normalise_pair(*unit, total.factor(reference_at(column))));
    }
  }
};

/// Grid: the row's blocks of columns, row by row.
// A type parameter: nvcc 13.0 writes stubs that do not compile for kernels with a parameter of class type.
template <class Policy, class U>
__global__ void __launch_bounds__(finalise_threads)
    finalise_sm90_kernel(const __grid_constant__ FinaliseSm90Params<U> p) {
  using Finaliser = BlockFinaliserSm90<Policy, U>;
  __shared__ typename Finaliser::TempStorage storage;
  ptx::grid_dependency_trigger();
  ptx::grid_dependency_wait();
  const auto blocks = static_cast<unsigned>(finalise_blocks(p.y.columns));
  // Last rows first: the GEMM wrote them last, so they are still in L2.
  const unsigned index = gridDim.x - 1 - blockIdx.x;
  const bool last = index % blocks == blocks - 1;
  Finaliser::apply(p, index / blocks, std::int64_t{index % blocks} * finalise_columns,
                   last ? finalise_columns + finalise_threads : finalise_columns, storage);
}

}  // namespace masthead::inline v0

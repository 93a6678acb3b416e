#pragma once
/// Normalizing blocks of rows: y from quantized logits and softmax partials, in place.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include "masthead/core/matrix.hpp"
#include "masthead/epilogue/fragment_softmax.cuh"
#include "masthead/policy/policy.hpp"
#include "masthead/tile/normalize_rows.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Parameters of the kernels that normalize quantized logits.
template <class U>
struct NormalizeSm90Params {
  Matrix<U> y;                     // (batch, out_features); quantized logits in, probabilities out
  const SoftmaxPartial* partials;  // (batch, parts), each in pieces of 64 columns where the engine is swap-AB
  int parts;                       // column parts per row
};

/// Normalizes a block of columns of a row with one block of threads.
template <class Policy, class U>
class BlockNormalizerSm90 {
  static constexpr Sm90Layout layout = sm90_layout(Policy::spec);
  static constexpr bool swap_ab = Policy::spec.engine == Engine::wgmma_swap_ab;
  static constexpr int part_columns = swap_ab ? softmax_part_columns : layout.tile.n;
  static constexpr int pieces = swap_ab ? softmax_part_columns / 64 : 1;
  static constexpr int vector = 16 / static_cast<int>(sizeof(U));
  static constexpr int vectors = normalize_columns / (normalize_threads * vector);
  using Epilogue = EpilogueSm90<layout, dtype_of<U>>;
  using Total = BlockSoftmaxTotal<normalize_threads / 32, pieces>;

 public:
  using TempStorage = typename Total::TempStorage;

  /// Normalizes at most `count` columns of row `row` from `first` on. All threads of the block call it.
  __device__ __forceinline__ static void apply(const NormalizeSm90Params<U>& p, std::int64_t row,
                                               std::int64_t first, int count, TempStorage& storage) {
    const SoftmaxPartial* partials = p.partials + row * p.parts * pieces;
    U* y = p.y.data + row * p.y.row_stride + first;
    const int columns =
        static_cast<int>(p.y.columns - first < count ? p.y.columns - first : std::int64_t{count});
    const int in_vectors = columns < normalize_columns ? columns / vector * vector : normalize_columns,
              vectored = reinterpret_cast<std::uintptr_t>(y) % 16 == 0 ? in_vectors : 0;
    const auto max_at = [&](int column) {
      return load_partial<pieces>(partials, static_cast<int>((first + column) / part_columns), p.parts).max;
    };

    // Everything is asked for at once: quantized logits, the integer max of their column parts, and the
    // partials of the total.
    uint4 quantized[vectors];
    float part_max[vectors];
#pragma unroll
    for (int v = 0; v < vectors; ++v) {
      const int column = (v * normalize_threads + static_cast<int>(threadIdx.x)) * vector;
      if (column < vectored) {
        quantized[v] = __ldcg(reinterpret_cast<const uint4*>(y + column));
        part_max[v] = max_at(column);
      }
    }
    const SoftmaxTotal total = Total(storage)(partials, p.parts);
#pragma unroll
    for (int v = 0; v < vectors; ++v) {
      const int column = (v * normalize_threads + static_cast<int>(threadIdx.x)) * vector;
      if (column < vectored) {
        *reinterpret_cast<uint4*>(y + column) = Epilogue::normalize(quantized[v], total.factor(part_max[v]));
      }
    }
    for (int column = vectored + static_cast<int>(threadIdx.x); column < columns;
         column += normalize_threads) {
      auto* bits = reinterpret_cast<std::uint16_t*>(y + column);
      *bits = static_cast<std::uint16_t>(Epilogue::normalize_pair(*bits, total.factor(max_at(column))));
    }
  }
};

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

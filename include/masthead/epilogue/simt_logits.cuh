#pragma once
/// The tile end of the SIMT engine.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/gemm/block_gemm.cuh"
#include "masthead/numeric/feature.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Ends a tile with logits in log4 units, or in training mode with x W^T. All threads of the block call it;
/// it synchronizes them once.
template <class Policy_>
struct SimtLogitsEnd {
  using Policy = Policy_;

  /// Writes the tile. The affine of the block's features is folded once, into `shared`, which the GEMM has
  /// left and which has room for tile.n of them.
  template <BlockGemm Gemm, class Params>
  __device__ __forceinline__ static void finish(const Params& p, typename Gemm::Accumulators& sums,
                                                unsigned char* shared, std::int64_t first_row,
                                                std::int64_t first_column) {
    using Sum = typename Gemm::Sum;
    auto* affine = reinterpret_cast<RoundedAffine<Sum>*>(shared);  // (tile.n)
    for (int j = static_cast<int>(threadIdx.x); j < Policy::spec.tile.n; j += Policy::spec.block_threads) {
      AffineTerms terms;
      if (p.mode == Mode::eval && first_column + j < p.logits.columns) {
        terms = affine_terms(load_feature(p.parameters, first_column + j), p.parameters.epsilon, log4e);
      }
      affine[j] = terms.rounded<Sum>();
    }
    __syncthreads();

    const std::int64_t rows = p.logits.rows - first_row, columns = p.logits.columns - first_column;
    Sum* logits = p.logits.data + first_row * p.logits.row_stride + first_column;
    Gemm::for_each(sums, [&](int row, int column, Sum sum) {
      if (row < rows && column < columns) {
        logits[row * p.logits.row_stride + column] =
            fma(sum - affine[column].center, affine[column].multiplier, affine[column].addend);
      }
    });
  }
};

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

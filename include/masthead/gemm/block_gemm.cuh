#pragma once
/// What an engine gives to kernels that multiply one tile per block.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/core/dtype.cuh"
#include "masthead/core/matrix.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::inline MASTHEAD_ARCHITECTURES {

/// The tiled GEMM of one thread block: `Gemm{storage}(x, w, first_row, first_column, sums)` adds a tile of x
/// W^T to the sums that the block's threads hold, and `for_each(sums, visit)` calls visit(row, column, sum)
/// for those of the calling thread, at their position inside the tile. All threads of the block construct and
/// call it; the caller owns the TempStorage, which may be used again when the call returns.
template <class Gemm>
concept BlockGemm = requires(typename Gemm::TempStorage& storage,
                             const Matrix<const typename Gemm::Element>& x, std::int64_t first,
                             typename Gemm::Accumulators& sums,
                             void (*visit)(int, int, typename Gemm::Sum&)) {
  Gemm(storage)(x, x, first, first, sums);
  Gemm::for_each(sums, visit);
};

}  // namespace masthead::inline v0::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

#pragma once
/// The last kernel of the two-pass training path: softmax of float sums under an affine of each column, with
/// the bits that the tiles and quantized logits of the resident training path give.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/core/matrix.hpp"
#include "masthead/epilogue/center.cuh"
#include "masthead/epilogue/fragment_softmax.cuh"
#include "masthead/epilogue/narrow.cuh"
#include "masthead/policy/policy.hpp"
#include "masthead/ptx/grid_dependency.cuh"
#include "masthead/ptx/sm90a.cuh"
#include "masthead/reduce/row_total.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Parameters of normalize_sums_sm90_kernel.
template <class U>
struct NormalizeSumsParams {
  Matrix<const float> sums;    // (batch, out_features); rows start at multiples of 16 bytes
  Matrix<U> y;                 // (batch, out_features), 16-bit
  const AffineColumn* affine;  // (out_features), in log4 units
  const float* center;         // (out_features)
  int parts;                   // column parts per row, of tile_n columns
};

/// Threads of a block, which takes 16 rows.
inline constexpr int normalize_sums_threads = 256;

/// Bytes of dynamic shared memory: the softmax partials of a block's rows.
constexpr std::int64_t normalize_sums_shared_bytes(std::int64_t parts) {
  return WgmmaFragment::warp_rows * parts * static_cast<std::int64_t>(sizeof(SoftmaxPartial));
}

/// What a warp of normalize_sums_sm90_kernel does with a column part of 16 rows, held as a wgmma tile is.
template <Sm90Layout layout, class U>
class SumsPartSm90 {
  using Fragment = WgmmaFragment;
  using Epilogue = EpilogueSm90<layout, dtype_of<U>>;
  static constexpr int blocks = layout.tile.n / 8;

 public:
  struct TempStorage {
    alignas(16) AffineColumn affine[layout.tile.n];  // of a warp: (tile_n)
    alignas(16) float center[layout.tile.n];         // (tile_n)
  };

  /// Loads part `part` of the rows from `row` on, and turns it into distances and softmax partials. All lanes
  /// call it.
  // Features beyond the last get -inf: they can be neither maximum nor part of a sum.
  __device__ __forceinline__ SumsPartSm90(TempStorage& storage, const NormalizeSumsParams<U>& p,
                                          std::int64_t row, int part, int lane)
      : row_(row + lane / 4), column_(std::int64_t{part} * layout.tile.n + first_of(lane)) {
    const std::int64_t first = std::int64_t{part} * layout.tile.n;
    const int features = static_cast<int>(p.y.columns - first < layout.tile.n ? p.y.columns - first
                                                                              : std::int64_t{layout.tile.n});
    left_ = features - first_of(lane);
    __syncwarp();
#pragma unroll
    for (int c = lane; c < layout.tile.n; c += 32) {
      storage.affine[c] = c < features ? p.affine[first + c] : AffineColumn{0.0f, negative_infinity<float>};
      storage.center[c] = c < features ? p.center[first + c] : 0.0f;
    }
    __syncwarp();
    // What lies between a row's end and the next row is not used.
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float* sums = p.sums.data + (row_ + 8 * half) * p.sums.row_stride + column_;
      const int left = row_ + 8 * half < p.y.rows ? left_ : 0;
#pragma unroll
      for (int j = 0; j < blocks; ++j) {
        float2 two = make_float2(0, 0);
        if (8 * j < left) two = __ldcg(reinterpret_cast<const float2*>(sums + 8 * j));
        acc_[Fragment::slot(j, half, 0)] = two.x;
        acc_[Fragment::slot(j, half, 1)] = 8 * j + 1 < left ? two.y : 0.0f;
      }
    }
    subtract_centers<layout>(acc_, storage.center, lane);
    Epilogue::to_softmax(acc_, storage.affine, lane, partial_);
  }

  /// The softmax partial of row lane / 4 + 8 half.
  __device__ const SoftmaxPartial& partial(int half) const { return partial_[half]; }

  /// Stores the probabilities; total[h] is that of row lane / 4 + 8 h.
  __device__ __forceinline__ void store(const Matrix<U>& y, const SoftmaxTotal (&total)[2]) {
    Epilogue::to_exponentials(acc_);
    const bool pairs = reinterpret_cast<std::uintptr_t>(y.data) % 4 == 0 && y.row_stride % 2 == 0;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      if (row_ + 8 * half >= y.rows) continue;
      const float factor = total[half].factor(partial_[half].max);
      auto* target = reinterpret_cast<std::uint16_t*>(y.data + (row_ + 8 * half) * y.row_stride + column_);
#pragma unroll
      for (int j = 0; j < blocks; ++j) {
        const std::uint32_t two = narrow_pair<dtype_of<U>>(acc_[Fragment::slot(j, half, 0)] * factor,
                                                           acc_[Fragment::slot(j, half, 1)] * factor);
        if (pairs && 8 * j + 1 < left_) {
          *reinterpret_cast<std::uint32_t*>(target + 8 * j) = two;
        } else {
          if (8 * j < left_) target[8 * j] = static_cast<std::uint16_t>(two);
          if (8 * j + 1 < left_) target[8 * j + 1] = static_cast<std::uint16_t>(two >> 16);
        }
      }
    }
  }

 private:
  /// The lane's first column of a part; the others are 8, 16, ... further, in pairs.
  __device__ static constexpr int first_of(int lane) { return Fragment::at(lane, 0, 0, 0).column; }
  static_assert(Fragment::at(3, 5, 1, 1).column == Fragment::at(3, 0, 0, 0).column + 8 * 5 + 1);

  typename Epilogue::Accumulators acc_;
  SoftmaxPartial partial_[2];
  std::int64_t row_, column_;  // the lane's first
  int left_;                   // features from the lane's first column on, as far as the part goes
};

/// Normalizes 16 rows per block. Grid: the groups of 16 rows. Shared memory: normalize_sums_shared_bytes.
template <class Policy, class U>
__global__ void __launch_bounds__(normalize_sums_threads)
    normalize_sums_sm90_kernel(const __grid_constant__ NormalizeSumsParams<U> p) {
  if constexpr (ptx::compiled_for_sm90a) {
    constexpr Sm90Layout layout = sm90_layout(Policy::spec);
    using Part = SumsPartSm90<layout, U>;
    constexpr int warps = normalize_sums_threads / 32, rows = WgmmaFragment::warp_rows;
    extern __shared__ __align__(16) unsigned char dynamic[];
    auto* const partials = reinterpret_cast<SoftmaxPartial*>(dynamic);  // (16, parts)
    __shared__ typename Part::TempStorage storage[warps];
    __shared__ SoftmaxTotal totals[rows];
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    const std::int64_t row = std::int64_t{blockIdx.x} * rows;
    ptx::grid_dependency_trigger();
    ptx::grid_dependency_wait();
#pragma unroll 1
    for (int part = warp; part < p.parts; part += warps) {
      const Part sums(storage[warp], p, row, part, lane);
      if (lane % 4 == 0) {
        partials[lane / 4 * p.parts + part] = sums.partial(0);
        partials[(lane / 4 + 8) * p.parts + part] = sums.partial(1);
      }
    }
    __syncthreads();
#pragma unroll 1
    for (int r = warp; r < rows; r += warps) {
      const SoftmaxTotal total = warp_softmax_total(partials + r * p.parts, p.parts, lane);
      if (lane == 0) totals[r] = total;
    }
    __syncthreads();
    // Read and reduced again: a row may have more parts than the block's registers hold.
#pragma unroll 1
    for (int part = warp; part < p.parts; part += warps) {
      Part sums(storage[warp], p, row, part, lane);
      sums.store(p.y, {totals[lane / 4], totals[lane / 4 + 8]});
    }
  } else {
    ptx::not_compiled_for_sm90a();
  }
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

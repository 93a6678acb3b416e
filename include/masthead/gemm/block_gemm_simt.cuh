#pragma once
/// The tiled GEMM of one thread block on the CUDA cores.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/gemm/block_gemm.cuh"
#include "masthead/gemm/loader_simt.cuh"
#include "masthead/policy/policy.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::inline MASTHEAD_ARCHITECTURES {

/// Computes one tile of x W^T, with x (m, k) and W (n, k) both row-major, for a block of `Policy`'s
/// block_threads.
///
/// Each output is one chain of fused multiply-adds in ascending k, so its bits depend on neither the tile's
/// size nor the position in it. `vector_bytes` = 16 needs both matrices' addresses and row strides to be
/// multiples of 16 bytes; sizeof(element) always works. Dtypes: float, double (summed in themselves), half,
/// bfloat16 (summed in float).
///
///     extern __shared__ __align__(16) unsigned char shared[];   // sizeof(Gemm::TempStorage) bytes
///     Gemm gemm(*reinterpret_cast<typename Gemm::TempStorage*>(shared));
///     typename Gemm::Accumulators sums = {};
///     gemm(x, w, first_row, first_column, sums);
///     Gemm::for_each(sums, [&](int row, int column, float& sum) { ... });   // position inside the tile
///
/// All threads of the block must call it; one-dimensional blocks only. The function synchronizes the block
/// before it returns, so `TempStorage` may be reused at once.
template <class Policy, int vector_bytes = 16>
class BlockGemmSimt {
  static constexpr PolicySpec spec = Policy::spec;
  static constexpr detail::SimtLayout layout = detail::simt_layout(spec);
  static constexpr int pitch = layout.row_pitch_bytes();

 public:
  static constexpr detail::SimtFragment fragment = layout.fragment();
  using Element = DeviceElement<spec.dtype>;
  using Sum = Accumulator<Element>;

  /// A thread's sums: `for_each` knows which outputs of the tile these are.
  using Accumulators = Sum[fragment.thread_m][fragment.thread_n];

  struct alignas(16) TempStorage {
    unsigned char stages[spec.stages][layout.stage_bytes()];  // (stage, tile_m + tile_n, tile_k), padded rows
  };

  __device__ explicit BlockGemmSimt(TempStorage& storage) : storage_(storage) {}

  /// Adds to `sums` the products of rows [first_row, first_row + tile.m) of x with rows
  /// [first_column, first_column + tile.n) of w. Outputs beyond either matrix get zeros added.
  __device__ void operator()(const Matrix<const Element>& x, const Matrix<const Element>& w,
                             std::int64_t first_row, std::int64_t first_column, Accumulators& sums) {
    const detail::LoaderSimt<Policy, vector_bytes> load_x(x, first_row), load_w(w, first_column);
    const auto load = [&](int stage, std::int64_t k0) {
      if (k0 < x.columns) {
        load_x.template operator()<spec.tile.m>(storage_.stages[stage], k0);
        load_w.template operator()<spec.tile.n>(storage_.stages[stage] + spec.tile.m * pitch, k0);
      }
      ptx::cp_async_commit();  // an empty group at the end keeps the count of groups in step
    };
    for (int stage = 0; stage < spec.stages - 1; ++stage) load(stage, std::int64_t{stage} * spec.tile.k);
    int read = 0, write = spec.stages - 1;
    for (std::int64_t k0 = 0; k0 < x.columns; k0 += spec.tile.k) {
      ptx::cp_async_wait<spec.stages - 2>();
      __syncthreads();  // this stage has arrived, and everyone has left the one that is loaded next
      load(write, k0 + std::int64_t{spec.stages - 1} * spec.tile.k);
      multiply(storage_.stages[read], sums);
      read = read + 1 == spec.stages ? 0 : read + 1;
      write = write + 1 == spec.stages ? 0 : write + 1;
    }
    ptx::cp_async_wait<0>();
    __syncthreads();
  }

  /// Where this thread's output sums[i][j] lies inside the tile.
  __device__ static detail::Coordinate position(int i, int j) {
    constexpr detail::SimtFragment here =
        fragment;  // a copy: device code cannot take the address of a host constant
    return here.at(static_cast<int>(threadIdx.x), i, j);
  }

  /// Calls visit(row, column, sum) for each of this thread's outputs, at its position inside the tile.
  template <class Visit>
  __device__ static void for_each(Accumulators& sums, Visit visit) {
#pragma unroll
    for (int i = 0; i < fragment.thread_m; ++i) {
#pragma unroll
      for (int j = 0; j < fragment.thread_n; ++j) {
        const detail::Coordinate at = position(i, j);
        visit(at.row, at.column, sums[i][j]);
      }
    }
  }

 private:
  // k is consumed in vectors that one shared-memory read brings: 16 bytes, or 8 bytes of a 16-bit type, whose
  // widened copies would otherwise take too many registers.
  static constexpr int vector = spec.dtype == Dtype::f64 ? 2 : 4;

  // Reads hoisted from later vectors hide their latency, and spill where fewer registers are left: two blocks
  // share a multiprocessor then and hide it for each other.
  static constexpr int vectors_unrolled =
      fragment.thread_m * fragment.thread_n * layout.sum_bytes() > 64 * 4 ? 2 : 1;

  __device__ static void multiply(const unsigned char* stage, Accumulators& sums) {
    const detail::Coordinate origin = position(0, 0);
    const unsigned char* x = stage + origin.row * pitch;
    const unsigned char* w = stage + (spec.tile.m + origin.column) * pitch;
#pragma unroll vectors_unrolled
    for (int k = 0; k < spec.tile.k; k += vector) {
      constexpr int bytes = static_cast<int>(sizeof(Element));
      Sum a[fragment.thread_m][vector];
#pragma unroll
      for (int i = 0; i < fragment.thread_m; ++i)
        read_vector(x + i * detail::SimtFragment::lanes_m * pitch + k * bytes, a[i]);
#pragma unroll
      for (int j = 0; j < fragment.thread_n; ++j) {
        Sum b[vector];
        read_vector(w + j * detail::SimtFragment::lanes_n * pitch + k * bytes, b);
#pragma unroll
        for (int kk = 0; kk < vector; ++kk) {
#pragma unroll
          for (int i = 0; i < fragment.thread_m; ++i) sums[i][j] = fma(a[i][kk], b[kk], sums[i][j]);
        }
      }
    }
  }

  __device__ static void read_vector(const unsigned char* shared, Sum (&out)[vector]) {
    struct alignas(vector * sizeof(Element)) Packed {
      Element element[vector];
    };
    const Packed packed = *reinterpret_cast<const Packed*>(shared);
#pragma unroll
    for (int i = 0; i < vector; ++i) out[i] = widen(packed.element[i]);
  }

  TempStorage& storage_;
};

}  // namespace masthead::inline v0::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

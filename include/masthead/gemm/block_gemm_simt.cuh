#pragma once
/// The tiled GEMM of one thread block on the CUDA cores.

#include <cstdint>

#include "masthead/gemm/loader_simt.cuh"

namespace masthead::inline v0 {

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
/// All threads of the block must call; one-dimensional blocks only. The function synchronises the block
/// before it returns, so `TempStorage` may be reused at once.
template <class Policy, int vector_bytes = 16>
class BlockGemmSimt {
  static constexpr PolicySpec spec = Policy::spec;
  static constexpr int pitch = simt_row_pitch_bytes(spec.row_bytes());

 public:
  static constexpr SimtLayout layout = spec.layout();
  using Element = DeviceElement<spec.dtype>;
  using Sum = Accumulator<Element>;

  /// A thread's part of the tile: `for_each` knows which outputs these are.
  using Accumulators = Sum[layout.thread_m][layout.thread_n];

  struct alignas(16) TempStorage {
    unsigned char stages[spec.stages][spec.stage_bytes()];  // each: (tile.m + tile.n, tile.k), padded rows
  };

  __device__ explicit BlockGemmSimt(TempStorage& storage) : storage_(storage) {}

  /// Adds to `sums` the products of rows [first_row, first_row + tile.m) of x with rows
  /// [first_column, first_column + tile.n) of w. Outputs beyond either matrix get zeros added.
  __device__ void operator()(const Matrix<const Element>& x, const Matrix<const Element>& w,
                             std::int64_t first_row, std::int64_t first_column, Accumulators& sums) {
    const LoaderSimt<Policy, vector_bytes> load_x(x, first_row), load_w(w, first_column);
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
  __device__ static Coordinate position(int i, int j) {
    constexpr SimtLayout here = layout;  // a copy: device code cannot take the address of a host constant
    return here.at(static_cast<int>(threadIdx.x), i, j);
  }

  /// Calls visit(row, column, sum) for each of this thread's outputs, at its position inside the tile.
  template <class Visit>
  __device__ static void for_each(Accumulators& sums, Visit visit) {
#pragma unroll
    for (int i = 0; i < layout.thread_m; ++i) {
#pragma unroll
      for (int j = 0; j < layout.thread_n; ++j) {
        const Coordinate at = position(i, j);
        visit(at.row, at.column, sums[i][j]);
      }
    }
  }

 private:
  // k is consumed in chunks that one shared-memory read brings: 16 bytes, or 8 bytes of a 16-bit type, whose
  // widened copies would otherwise take too many registers.
  static constexpr int chunk = spec.dtype == Dtype::f64 ? 2 : 4;

  // Reads hoisted from later chunks hide their latency, and spill where fewer registers are left: two blocks
  // share a multiprocessor then and hide it for each other.
  static constexpr int chunks_unrolled =
      layout.thread_m * layout.thread_n * spec.accumulator_bytes() > 64 * 4 ? 2 : 1;

  __device__ static void multiply(const unsigned char* stage, Accumulators& sums) {
    const Coordinate origin = position(0, 0);
    const unsigned char* x = stage + origin.row * pitch;
    const unsigned char* w = stage + (spec.tile.m + origin.column) * pitch;
#pragma unroll chunks_unrolled
    for (int k = 0; k < spec.tile.k; k += chunk) {
      constexpr int bytes = static_cast<int>(sizeof(Element));
      Sum a[layout.thread_m][chunk];
#pragma unroll
      for (int i = 0; i < layout.thread_m; ++i)
        read_chunk(x + i * SimtLayout::lanes_m * pitch + k * bytes, a[i]);
#pragma unroll
      for (int j = 0; j < layout.thread_n; ++j) {
        Sum b[chunk];
        read_chunk(w + j * SimtLayout::lanes_n * pitch + k * bytes, b);
#pragma unroll
        for (int kk = 0; kk < chunk; ++kk) {
#pragma unroll
          for (int i = 0; i < layout.thread_m; ++i) sums[i][j] = fma(a[i][kk], b[kk], sums[i][j]);
        }
      }
    }
  }

  __device__ static void read_chunk(const unsigned char* shared, Sum (&out)[chunk]) {
    struct alignas(chunk * sizeof(Element)) Packed {
      Element element[chunk];
    };
    const Packed packed = *reinterpret_cast<const Packed*>(shared);
#pragma unroll
    for (int i = 0; i < chunk; ++i) out[i] = widen(packed.element[i]);
  }

  TempStorage& storage_;
};

}  // namespace masthead::inline v0

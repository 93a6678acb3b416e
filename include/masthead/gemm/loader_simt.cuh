#pragma once
/// Global to shared memory for the SIMT engine.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/core/dtype.cuh"
#include "masthead/core/matrix.hpp"
#include "masthead/policy/simt.hpp"
#include "masthead/ptx/cp_async.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Copies a (rows, tile.k) slice of a K-major operand into a stage, `vector_bytes` at a time: 16 where the
/// matrix's address and row stride allow it, otherwise one element. Rows and k beyond the matrix become zeros
/// and are not read.
template <class Policy, int vector_bytes>
class LoaderSimt {
  static constexpr PolicySpec spec = Policy::spec;
  static constexpr SimtLayout layout = simt_layout(spec);
  using Element = DeviceElement<spec.dtype>;
  static constexpr int elements = vector_bytes / static_cast<int>(sizeof(Element));
  static constexpr int vectors_per_row = layout.row_bytes() / vector_bytes;
  static constexpr int rows_per_pass = spec.block_threads / vectors_per_row;
  static constexpr int pitch = layout.row_pitch_bytes();

 public:
  __device__ LoaderSimt(const Matrix<const Element>& matrix, std::int64_t first_row)
      : matrix_(matrix),
        row_(static_cast<int>(threadIdx.x) / vectors_per_row),
        k_(static_cast<int>(threadIdx.x) % vectors_per_row * elements),
        source_(matrix.data + (first_row + row_) * matrix.row_stride + k_),
        rows_left_(static_cast<int>(matrix.rows - first_row < spec.tile.m + spec.tile.n
                                        ? matrix.rows - first_row
                                        : spec.tile.m + spec.tile.n) -
                   row_) {}

  /// Issues the copies of k in [k0, k0 + tile.k) for `rows` rows of the tile; the caller commits and waits.
  template <int rows>
  __device__ void operator()(unsigned char* stage, std::int64_t k0) const {
    static_assert(rows % rows_per_pass == 0);
    const std::int64_t k_left = matrix_.columns - k0 - k_;
    const int valid = k_left >= elements ? vector_bytes
                      : k_left > 0       ? static_cast<int>(k_left * sizeof(Element))
                                         : 0;
    unsigned char* target = stage + row_ * pitch + k_ * static_cast<int>(sizeof(Element));
#pragma unroll
    for (int pass = 0; pass < rows / rows_per_pass; ++pass) {
      const bool inside = pass * rows_per_pass < rows_left_ && valid > 0;
      const Element* source =
          inside ? source_ + k0 + pass * rows_per_pass * matrix_.row_stride : matrix_.data;
      copy(target + pass * rows_per_pass * pitch, source, inside ? valid : 0);
    }
  }

 private:
  __device__ static void copy(unsigned char* target, const Element* source, int valid) {
    if constexpr (vector_bytes >= 4) {
      ptx::cp_async<vector_bytes>(target, source, valid);
    } else {  // cp.async has no 2-byte form
      *reinterpret_cast<std::uint16_t*>(target) =
          valid > 0 ? *reinterpret_cast<const std::uint16_t*>(source) : std::uint16_t{0};
    }
  }

  Matrix<const Element> matrix_;
  int row_, k_;
  const Element* source_;
  int rows_left_;  // inside the tile, from row_ on
};

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

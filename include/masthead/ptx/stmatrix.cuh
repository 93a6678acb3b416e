#pragma once
/// Storing 8x8 matrices of 16-bit values from a warp's registers (PTX ISA, "stmatrix").

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/core/config.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::ptx {

/// Stores four 8x8 matrices; lane 8 i + r supplies the shared address of row r of matrix i, less `offset`, a
/// multiple of 16. All lanes call it.
template <int offset>
__device__ __forceinline__ void stmatrix_x4(std::uint32_t shared_row, std::uint32_t m0, std::uint32_t m1,
                                            std::uint32_t m2, std::uint32_t m3) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0 + %5], {%1, %2, %3, %4};" ::"r"(shared_row),
               "r"(m0), "r"(m1), "r"(m2), "r"(m3), "n"(offset)
               : "memory");
}

}  // namespace masthead::inline v0::ptx
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

#pragma once
/// Packing x or the weight: each row's scale and its elements in one pass.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/core/dtype.cuh"
#include "masthead/core/parameters.hpp"
#include "masthead/numeric/split.hpp"
#include "masthead/ptx/grid_dependency.cuh"
#include "masthead/ptx/sm90a.cuh"
#include "masthead/tile/packed_layout.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Parameters of pack_operand_kernel.
template <class T>
struct PackParams {
  Matrix<const T> source;  // (rows, columns)
  unsigned char* data;     // (rows, parts, columns), the columns filled up with zeros to 16 bytes
  void* scale;             // (rows)
  std::int64_t row_stride, part_stride;  // bytes
  const int* other_infinite;             // f16x3: the other operand's flag, or null
  int* infinite;                         // f16x3: raised when an element is infinite or NaN; or null
};

inline constexpr int pack_threads = 256;
/// Elements of a row that a thread holds, in vectors of 16 bytes: a row that fits in 256 threads is read
/// once, a longer one twice.
inline constexpr int pack_thread_elements = 32;

/// The elements of one vector of 16 bytes, and their packed form: 4 floats become 4 halves in one part or in
/// each of two, 8 bfloat16 8 e4m3.
template <MathMode math_mode, class T>
struct PackedVector {
  static constexpr int count = 16 / static_cast<int>(sizeof(T));
  static constexpr int held = pack_thread_elements / count;
  static constexpr int target_bytes = part_element_bytes(math_mode);

  __device__ __forceinline__ static float element(const uint4& raw, int i) {
    const std::uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
    if constexpr (sizeof(T) == 4) {
      return __uint_as_float(words[i]);
    } else {
      return __uint_as_float(i % 2 == 0 ? words[i / 2] << 16 : words[i / 2] & 0xffff0000u);
    }
  }

  /// Writes the vector, divided by the row's scale, at column `column` of a row of the target.
  template <bool keep_sign>
  __device__ __forceinline__ static void store(const uint4& raw, const PowerPair& down, unsigned char* row,
                                               std::int64_t part_stride, unsigned column) {
    std::uint32_t packed[2][2] = {};
    if constexpr (math_mode == MathMode::f16x3) {
#pragma unroll
      for (int i = 0; i < 4; i += 2) {
        split_two<keep_sign>(element(raw, i), element(raw, i + 1), down, packed[0][i / 2], packed[1][i / 2]);
      }
    } else if constexpr (math_mode == MathMode::f16) {
#pragma unroll
      for (int i = 0; i < 4; i += 2) packed[0][i / 2] = f16_two(element(raw, i), element(raw, i + 1), down);
    } else {
#pragma unroll
      for (int i = 0; i < 8; i += 2) {
        packed[0][i / 4] |= e4m3_two(element(raw, i), element(raw, i + 1), down) << (16 * (i / 2 % 2));
      }
    }
#pragma unroll
    for (int part = 0; part < parts_of(math_mode); ++part) {
      *reinterpret_cast<uint2*>(row + part * part_stride + std::int64_t{column} * target_bytes) =
          make_uint2(packed[part][0], packed[part][1]);
    }
  }

 private:
  /// Splits two values at a time (numeric/split.hpp): conversions of pairs are one instruction.
  template <bool keep_sign>
  __device__ __forceinline__ static void split_two(float first, float second, const PowerPair& down,
                                                   std::uint32_t& hi, std::uint32_t& lo) {
    const float a = down.times(first), b = down.times(second);
    if constexpr (keep_sign) {
      const HalfPair of_a = split_keeping_sign(first, a), of_b = split_keeping_sign(second, b);
      hi = of_a.hi | std::uint32_t{of_b.hi} << 16;
      lo = of_a.lo | std::uint32_t{of_b.lo} << 16;
    } else {
      const __half2 high = __floats2half2_rn(a, b);
      const float2 rounded = __half22float2(high);
      const __half2 low = __floats2half2_rn(rest(a, rounded.x), rest(b, rounded.y));
      hi = *reinterpret_cast<const std::uint32_t*>(&high);
      lo = *reinterpret_cast<const std::uint32_t*>(&low);
    }
  }
  /// What the high part leaves; of NaN and infinity the smallest number of their sign.
  __device__ __forceinline__ static float rest(float value, float high) {
    return fabsf(value) < 0x1p15f ? value - high : copysignf(0x1p-24f, value);
  }

  __device__ __forceinline__ static std::uint32_t f16_two(float first, float second, const PowerPair& down) {
    const __half2 rounded = __floats2half2_rn(kept_from_zero(first, down.times(first)),
                                              kept_from_zero(second, down.times(second)));
    return *reinterpret_cast<const std::uint32_t*>(&rounded);
  }

  /// Rounds two values to e4m3 at a time, as e4m3_bits does. The instruction saturates; value * 0 + value
  /// makes infinity the NaN it has to become and changes nothing else.
  __device__ __forceinline__ static std::uint32_t e4m3_two(float first, float second, const PowerPair& down) {
    const float a = down.times(first), b = down.times(second);
    return __nv_cvt_float2_to_fp8x2(make_float2(fmaf(a, 0.0f, a), fmaf(b, 0.0f, b)), __NV_SATFINITE,
                                    __NV_E4M3);
  }
};

/// Packs one row: the body of pack_operand_kernel.
template <MathMode math_mode, class T, int row_threads, bool vectors>
__device__ __forceinline__ void pack_row(const PackParams<T>& p) {
  using Vector = PackedVector<math_mode, T>;
  constexpr int warps = pack_threads / 32;
  __shared__ std::uint32_t warp_largest[warps];  // (warp)
  ptx::grid_dependency_wait();
  ptx::grid_dependency_trigger();

  const int thread = static_cast<int>(threadIdx.x) % row_threads;
  const std::int64_t row =
      std::int64_t{blockIdx.x} * (pack_threads / row_threads) + static_cast<int>(threadIdx.x) / row_threads;
  if (row >= p.source.rows) return;  // a whole warp, or nobody
  const T* source = p.source.data + row * p.source.row_stride;
  const auto columns = static_cast<unsigned>(p.source.columns),
             target_columns = static_cast<unsigned>(p.part_stride / Vector::target_bytes);

  uint4 held[Vector::held];
  const auto column_of = [&](unsigned first, int i) {
    return first + static_cast<unsigned>((i * row_threads + thread) * Vector::count);
  };
  const auto load = [&](unsigned first) {
#pragma unroll
    for (int i = 0; i < Vector::held; ++i) {
      const unsigned column = column_of(first, i);
      held[i] = make_uint4(0, 0, 0, 0);
      if constexpr (vectors) {
        if (column < columns) held[i] = *reinterpret_cast<const uint4*>(source + column);
      } else {
        std::uint32_t words[4] = {};
#pragma unroll
        for (int j = 0; j < Vector::count; ++j) {
          if (column + j >= columns) continue;
          if constexpr (sizeof(T) == 4) {
            words[j] = __float_as_uint(source[column + j]);
          } else {
            words[j / 2] |= std::uint32_t{__bfloat16_as_ushort(source[column + j])} << (16 * (j % 2));
          }
        }
        held[i] = make_uint4(words[0], words[1], words[2], words[3]);
      }
    }
  };
  constexpr unsigned round = row_threads * pack_thread_elements;
  const bool held_once = columns <= round;

  // The largest magnitude of the row's elements that `counts` lets through.
  const auto reduce = [&](const auto& counts) {
    std::uint32_t largest = 0;
#pragma unroll 1
    for (unsigned first = 0; first < columns; first += round) {
      if (!held_once) load(first);
#pragma unroll
      for (int i = 0; i < Vector::held; ++i) {
#pragma unroll
        for (int j = 0; j < Vector::count; ++j) {
          largest = (::max)(largest, counts(__float_as_uint(Vector::element(held[i], j)) & 0x7fffffffu));
        }
      }
    }
#pragma unroll
    for (int mask = 16; mask > 0; mask /= 2) {
      largest = (::max)(largest, __shfl_xor_sync(0xffffffffu, largest, mask));
    }
    if constexpr (row_threads > 32) {
      __syncthreads();
      if (threadIdx.x % 32 == 0) warp_largest[threadIdx.x / 32] = largest;
      __syncthreads();
#pragma unroll
      for (int w = 0; w < warps; ++w) largest = (::max)(largest, warp_largest[w]);
    }
    return largest;
  };
  if (held_once) load(0);
  std::uint32_t largest = reduce([](std::uint32_t magnitude) { return magnitude; });
  if (largest >= float_infinity_bits) {
    largest =
        reduce([](std::uint32_t magnitude) { return magnitude < float_infinity_bits ? magnitude : 0u; });
    if (math_mode == MathMode::f16x3 && thread == 0 && p.infinite != nullptr) *p.infinite = 1;
  }
  const int exponent = row_exponent(math_mode, largest);
  if (thread == 0) {
    if constexpr (has_f16_parts(math_mode)) {
      static_cast<PowerPair*>(p.scale)[row] = PowerPair::of(exponent);
    } else {
      static_cast<float*>(p.scale)[row] = PowerPair::of(exponent).times(1.0f);
    }
  }

  const auto store = [&]<bool keep_sign>() {
    const PowerPair down = PowerPair::of(-exponent);
    unsigned char* target = p.data + row * p.row_stride;
#pragma unroll 1
    for (unsigned first = 0; first < columns; first += round) {
      if (!held_once) load(first);
#pragma unroll
      for (int i = 0; i < Vector::held; ++i) {
        const unsigned column = column_of(first, i);
        if (column < target_columns) {
          Vector::template store<keep_sign>(held[i], down, target, p.part_stride, column);
        }
      }
    }
  };
  if constexpr (math_mode == MathMode::f16x3) {
    if (p.other_infinite != nullptr && __ldg(p.other_infinite) != 0) return store.template operator()<true>();
  }
  store.template operator()<false>();
}

/// Packs a row with `row_threads` threads, a warp or the block. Grid: the rows, pack_threads / row_threads
/// per block. `vectors`: source rows start at multiples of 16 bytes and are whole multiples of them.
template <MathMode math_mode, class T, int row_threads, bool vectors>
__global__ void __launch_bounds__(pack_threads, 4)
    pack_operand_kernel(const __grid_constant__ PackParams<T> p) {
  // Packed operands are multiplied by sm_90a alone; older targets convert to e4m3 by code that spills.
  if constexpr (ptx::compiled_for_sm90a) {
    pack_row<math_mode, T, row_threads, vectors>(p);
  } else {
    __trap();
  }
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

#pragma once
/// Reductions of values that the lanes of a warp hold in registers, in a fixed order of shuffles.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Reduces `value` by `operation` over the four lanes of a quad, by shuffles of xor 1, 2; each of them gets
/// the result.
template <class Operation>
__device__ __forceinline__ float over_quad(float value, Operation operation) {
  value = operation(value, __shfl_xor_sync(0xffffffffu, value, 1));
  return operation(value, __shfl_xor_sync(0xffffffffu, value, 2));
}

/// Reduces `value` by `operation` over the warp, by shuffles of xor 1, 2, 4, 8, 16; every lane gets the
/// result.
template <class Operation>
__device__ __forceinline__ float over_warp(float value, Operation operation) {
#pragma unroll
  for (int mask = 1; mask < 32; mask *= 2) {
    value = operation(value, __shfl_xor_sync(0xffffffffu, value, mask));
  }
  return value;
}

/// Reduces values[i] for each i over the lanes that differ in `steps` bits from `first_bit` on, by a
/// butterfly that halves the values a lane carries at every step: a lane ends with the results of count >>
/// steps of them (at least one) in the first places. The tree is the one of shuffles by xor of these bits, in
/// ascending order. merge(step, kept, sent): `kept` with what another lane's `sent` holds.
template <int first_bit, int steps, int count, class Value, class Merge>
__device__ __forceinline__ void butterfly(Value (&values)[count], int lane, const Merge& merge) {
#pragma unroll
  for (int step = 0; step < steps; ++step) {
    const int half = count >> (step + 1);
    const bool upper = (lane >> (first_bit + step)) & 1;
    if (half == 0) values[0] = merge(step, values[0], values[0]);
#pragma unroll
    for (int i = 0; i < count / 2; ++i) {
      if (i >= half) continue;  // a fixed bound: the values must stay in registers
      const Value sent = upper ? values[i] : values[i + half];
      const Value kept = upper ? values[i + half] : values[i];
      values[i] = merge(step, kept, sent);
    }
  }
}

/// The butterfly of floats that `operation` merges two at a time.
template <int first_bit, int steps, int count, class Operation>
__device__ __forceinline__ void butterfly_of(float (&values)[count], int lane, Operation operation) {
  butterfly<first_bit, steps>(values, lane, [&](int step, float kept, float sent) {
    return operation(kept, __shfl_xor_sync(0xffffffffu, sent, (1 << first_bit) << step));
  });
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

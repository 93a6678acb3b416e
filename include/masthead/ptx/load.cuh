#pragma once
/// Loads of global memory with a cache hint (PTX ISA, "ld").

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>
#include <cstring>

#include "masthead/core/config.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::ptx {

/// The address `pointer` has in global memory, as `load_past_l1` takes it.
// NOTES: the compiler would compute it anew for each of several loads under conditions of their own.
__device__ __forceinline__ std::uint64_t global_address(const void* pointer) {
  std::uint64_t address = __cvta_generic_to_global(pointer);
  asm volatile("" : "+l"(address));
  return address;
}

/// The 16 bytes at `address`, a multiple of 16, which L1 does not keep.
// NOTES: cuda::ptx::ld_L1_no_allocate takes 16 bytes as one .b128 register, which the compiler takes apart,
// and waits for, before the next load goes out.
template <class Vector>
__device__ __forceinline__ Vector load_past_l1(std::uint64_t address) {
  static_assert(sizeof(Vector) == 16, "load_past_l1 loads 16 bytes");
  unsigned words[4];
  asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "l"(address)
               : "memory");
  Vector vector;
  std::memcpy(&vector, words, sizeof(vector));
  return vector;
}

}  // namespace masthead::inline v0::ptx
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

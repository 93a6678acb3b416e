#pragma once
/// A fence for the compiler alone.

#include "masthead/core/config.hpp"

namespace masthead::inline v0::ptx {

/// Values that were loaded before are loaded again where they are used after: they are in no register
/// between. Costs no instruction, and orders no memory for other threads.
__device__ __forceinline__ void compiler_fence() { asm volatile("" ::: "memory"); }

}  // namespace masthead::inline v0::ptx

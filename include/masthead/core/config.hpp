#pragma once
/// What every header needs first: the language check, the version and the function qualifiers.

#if !defined(__cplusplus) || __cplusplus < 202002L
#error "masthead needs C++20: compile with -std=c++20 (nvcc 13.0 defaults to C++17)"
#endif

#include "masthead/core/version.hpp"

/// Qualifiers of functions for both sides: index math and numerics run in kernels and in host tests alike;
/// without nvcc the qualifiers vanish.
#if defined(__CUDACC__)
#define MASTHEAD_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define MASTHEAD_HOST_DEVICE inline
#endif

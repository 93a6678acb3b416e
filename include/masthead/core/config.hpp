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

/// What stands around the code of every header that nvcc alone compiles. nvcc hands the host compiler a text
/// of its own, in which a functional cast is a C cast and a dependent array bound of type int meets
/// std::size_t: -Wold-style-cast and -Wsign-conversion say so of every such header, in a user's build too.
#if defined(__CUDACC__) && defined(__GNUC__)
#define MASTHEAD_DEVICE_CODE_BEGIN                                                      \
  _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wold-style-cast\"") \
      _Pragma("GCC diagnostic ignored \"-Wsign-conversion\"")
#define MASTHEAD_DEVICE_CODE_END _Pragma("GCC diagnostic pop")
#else
#define MASTHEAD_DEVICE_CODE_BEGIN
#define MASTHEAD_DEVICE_CODE_END
#endif

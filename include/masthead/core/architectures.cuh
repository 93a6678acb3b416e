#pragma once
/// The inline namespace of all code that names kernels, made from the architectures a source is compiled for.
///
/// Objects that were compiled for different GPUs can then live in one program: each calls its own functions
/// and launches its own kernels, where the linker would otherwise keep one of each. Types that sources of a
/// program exchange (.hpp) are the same in all of them and stay outside.

#if !defined(__CUDACC__)
#error "masthead: headers that end in .cuh are CUDA C++: compile the source with nvcc, as .cu or with -x cu"
#else
#include "masthead/core/config.hpp"
#endif

// clang-format off
#define MASTHEAD_COUNT_ARGUMENTS_(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, count, ...) count
#define MASTHEAD_COUNT_ARGUMENTS(...) MASTHEAD_COUNT_ARGUMENTS_(__VA_ARGS__, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1)
#define MASTHEAD_JOIN_1(a1) sm_##a1
#define MASTHEAD_JOIN_2(a1, a2) sm_##a1##_##a2
#define MASTHEAD_JOIN_3(a1, a2, a3) sm_##a1##_##a2##_##a3
#define MASTHEAD_JOIN_4(a1, a2, a3, a4) sm_##a1##_##a2##_##a3##_##a4
#define MASTHEAD_JOIN_5(a1, a2, a3, a4, a5) sm_##a1##_##a2##_##a3##_##a4##_##a5
#define MASTHEAD_JOIN_6(a1, a2, a3, a4, a5, a6) sm_##a1##_##a2##_##a3##_##a4##_##a5##_##a6
#define MASTHEAD_JOIN_7(a1, a2, a3, a4, a5, a6, a7) sm_##a1##_##a2##_##a3##_##a4##_##a5##_##a6##_##a7
#define MASTHEAD_JOIN_8(a1, a2, a3, a4, a5, a6, a7, a8) sm_##a1##_##a2##_##a3##_##a4##_##a5##_##a6##_##a7##_##a8
#define MASTHEAD_JOIN_9(a1, a2, a3, a4, a5, a6, a7, a8, a9) sm_##a1##_##a2##_##a3##_##a4##_##a5##_##a6##_##a7##_##a8##_##a9
#define MASTHEAD_JOIN_10(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10) sm_##a1##_##a2##_##a3##_##a4##_##a5##_##a6##_##a7##_##a8##_##a9##_##a10
#define MASTHEAD_JOIN_11(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11) sm_##a1##_##a2##_##a3##_##a4##_##a5##_##a6##_##a7##_##a8##_##a9##_##a10##_##a11
#define MASTHEAD_JOIN_12(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12) sm_##a1##_##a2##_##a3##_##a4##_##a5##_##a6##_##a7##_##a8##_##a9##_##a10##_##a11##_##a12
#define MASTHEAD_JOIN_13(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13) sm_##a1##_##a2##_##a3##_##a4##_##a5##_##a6##_##a7##_##a8##_##a9##_##a10##_##a11##_##a12##_##a13
#define MASTHEAD_JOIN_14(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14) sm_##a1##_##a2##_##a3##_##a4##_##a5##_##a6##_##a7##_##a8##_##a9##_##a10##_##a11##_##a12##_##a13##_##a14
#define MASTHEAD_JOIN_15(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15) sm_##a1##_##a2##_##a3##_##a4##_##a5##_##a6##_##a7##_##a8##_##a9##_##a10##_##a11##_##a12##_##a13##_##a14##_##a15
#define MASTHEAD_JOIN_16(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16) sm_##a1##_##a2##_##a3##_##a4##_##a5##_##a6##_##a7##_##a8##_##a9##_##a10##_##a11##_##a12##_##a13##_##a14##_##a15##_##a16
#define MASTHEAD_JOIN__(count, ...) MASTHEAD_JOIN_##count(__VA_ARGS__)
#define MASTHEAD_JOIN_(count, ...) MASTHEAD_JOIN__(count, __VA_ARGS__)
#define MASTHEAD_JOIN(...) MASTHEAD_JOIN_(MASTHEAD_COUNT_ARGUMENTS(__VA_ARGS__), __VA_ARGS__)
// clang-format on

/// The name of the namespace, e.g. sm_800_900 for `-gencode=arch=compute_80,...
/// -gencode=arch=compute_90a,...`: nvcc defines the list, in host and device passes alike.
#if defined(__CUDA_ARCH_LIST__)
#define MASTHEAD_ARCHITECTURES MASTHEAD_JOIN(__CUDA_ARCH_LIST__)
#else
#define MASTHEAD_ARCHITECTURES sm_unknown
#endif

/// Marks the few public functions that branch on whether the code is compiled for sm_90a, which the list does
/// not tell apart from sm_90: they are inlined into every caller, so that no object of a program runs another
/// one's copy. What they call for it is static (an anonymous namespace would not do: nvcc gives it a name,
/// and its functions are merged as others are), and they have no closures, which would be merged.
#define MASTHEAD_THIS_OBJECT __attribute__((always_inline)) inline

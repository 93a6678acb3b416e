#pragma once
/// The innermost loop of the CPU GEMM, compiled for several instruction sets and chosen when it runs.

#include <cstdint>
#include <utility>
#include <vector>

#include "masthead/core/config.hpp"

namespace masthead::inline v0::cpu {

/// A kernel multiplies two packed panels: c(m, n) = Σ_i x_panel[i * rows + m] * w_panel[i * columns + n] over
/// i < k, for m < rows and n < columns, with i ascending from a sum of 0; added to c where `accumulate`.
template <class T>
struct GemmKernel {
  using Multiply = void(const T* x_panel, const T* w_panel, std::int64_t k, T* c, std::int64_t c_stride,
                        bool accumulate);

  const char* name;  ///< the instruction set
  int rows, columns;
  Multiply* multiply;
};

/// Limits of all kernels: `rows` of each divides this; none has more `rows` or more bytes of `columns`.
inline constexpr int gemm_kernel_rows = 12;
inline constexpr int gemm_kernel_column_bytes = 128;

namespace detail {

// Two vectors per row, all sums in registers: the fold expressions are what makes gcc keep them there at
// every level of optimization. A macro, because the target must stand on the very function that has the
// vectors: gcc splits vectors into what the target has before it inlines, so a shared template body would be
// split to 16 bytes.
#define MASTHEAD_GEMM_KERNEL(Name, attribute, vector_bytes, kernel_rows)                                   \
  template <class T, class Vectors = std::make_integer_sequence<int, kernel_rows * 2>>                     \
  struct Name;                                                                                             \
  template <class T, int... i>                                                                             \
  struct Name<T, std::integer_sequence<int, i...>> {                                                       \
    static constexpr int lanes = vector_bytes / sizeof(T);                                                 \
                                                                                                           \
    attribute static void multiply(const T* x_panel, const T* w_panel, std::int64_t k, T* c,               \
                                   std::int64_t c_stride, bool accumulate) {                               \
      typedef T Vector [[gnu::vector_size(vector_bytes), gnu::aligned(sizeof(T)), gnu::may_alias]];        \
      Vector sum[sizeof...(i)] = {};                                                                       \
      for (; k > 0; --k, x_panel += kernel_rows, w_panel += 2 * lanes) {                                   \
        const Vector* w = reinterpret_cast<const Vector*>(w_panel);                                        \
        ((sum[i] += w[i % 2] * x_panel[i / 2]), ...);                                                      \
      }                                                                                                    \
      if (accumulate) ((sum[i] += *reinterpret_cast<Vector*>(c + i / 2 * c_stride + i % 2 * lanes)), ...); \
      ((*reinterpret_cast<Vector*>(c + i / 2 * c_stride + i % 2 * lanes) = sum[i]), ...);                  \
    }                                                                                                      \
                                                                                                           \
    static constexpr GemmKernel<T> named(const char* name) {                                               \
      return {name, kernel_rows, 2 * lanes, multiply};                                                     \
    }                                                                                                      \
  }
MASTHEAD_GEMM_KERNEL(PortableKernel, [[]], 16, 4);
#if defined(__x86_64__)
MASTHEAD_GEMM_KERNEL(Avx2Kernel, [[gnu::target("avx2,fma")]], 32, 6);
MASTHEAD_GEMM_KERNEL(Avx512Kernel, [[gnu::target("avx512f")]], 64, 12);
#endif
#undef MASTHEAD_GEMM_KERNEL

}  // namespace detail

/// The kernels this CPU can run, the fastest first; the last is portable and always there.
template <class T>
std::vector<GemmKernel<T>> gemm_kernels() {
  std::vector<GemmKernel<T>> kernels;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) kernels.push_back(detail::Avx512Kernel<T>::named("avx512f"));
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    kernels.push_back(detail::Avx2Kernel<T>::named("avx2"));
  }
#endif
  kernels.push_back(detail::PortableKernel<T>::named("portable"));
  return kernels;
}

}  // namespace masthead::inline v0::cpu

#pragma once
/// The tiled GEMM on the CPU.

#include <algorithm>
#include <cstdint>

#include "masthead/core/integer.hpp"
#include "masthead/core/parameters.hpp"
#include "masthead/cpu/aligned_buffer.hpp"
#include "masthead/cpu/executor.hpp"
#include "masthead/cpu/gemm_kernel.hpp"
#include "masthead/numeric/rounding.hpp"

namespace masthead::inline v0::cpu {

/// The length of a k-block, whose sum starts from 0. It decides the result's bits, so it is the same for all
/// kernels and shapes.
inline constexpr std::int64_t gemm_k_block = 256;

/// How a GEMM is cut into blocks, and the memory each worker packs its blocks in. It serves any GEMM with at
/// most this many rows, and any with this `k` and these `features`. `A` is the type of sums.
template <class A>
class GemmBlocks {
 public:
  /// The blocks of a GEMM of (batch, k) by (out_features, k). Throws std::bad_alloc.
  GemmBlocks(std::int64_t batch, std::int64_t out_features, std::int64_t k, const Executor& executor,
             const GemmKernel<A>& gemm_kernel = gemm_kernels<A>().front())
      : kernel(gemm_kernel),
        rows(balanced(batch)),
        features(narrowed(masthead::detail::ceil_div(batch, max_rows), out_features, 2 * executor.threads())),
        depth((std::min)(k, gemm_k_block)),
        memory_(executor.threads() * (rows + features) * depth) {}

  /// The packed block of x of a worker: panels of (depth, kernel.rows).
  A* x(int worker) const { return memory_.data() + worker * (rows + features) * depth; }
  /// The packed block of the weight of a worker: panels of (depth, kernel.columns).
  A* weight(int worker) const { return x(worker) + rows * depth; }

  const GemmKernel<A> kernel;
  const std::int64_t rows, features, depth;

 private:
  // 252 KB and 512 KB of float at most: about a core's second-level cache.
  static constexpr std::int64_t max_rows = 252, max_features = 512, min_features = 64;

  /// Rows of blocks of equal size, rather than with a small last one.
  static std::int64_t balanced(std::int64_t batch) {
    const std::int64_t block = masthead::detail::ceil_div(batch, masthead::detail::ceil_div(batch, max_rows));
    return masthead::detail::ceil_div(block, gemm_kernel_rows) * gemm_kernel_rows;
  }

  /// Features per block, few enough that there are `blocks` blocks.
  static std::int64_t narrowed(std::int64_t row_blocks, std::int64_t out_features, std::int64_t blocks) {
    std::int64_t block = max_features;
    while (block > min_features && row_blocks * masthead::detail::ceil_div(out_features, block) < blocks)
      block /= 2;
    return block;
  }

  AlignedBuffer<A> memory_;
};

namespace detail {

/// Packs source(row .. row + rows, k .. k + depth) into panels of `width` rows, each (depth, width) with the
/// rows contiguous; rows past the last are 0.
// Lines of 16 elements at a time: whole cache lines are read, and the part of the panel written stays in L1.
template <class T, class A>
void pack(const Matrix<const T>& source, std::int64_t row, std::int64_t rows, std::int64_t k,
          std::int64_t depth, int width, A* panel) {
  constexpr std::int64_t line = 16;
  for (std::int64_t first = 0; first < rows; first += width, panel += depth * width) {
    const int present = static_cast<int>(std::min<std::int64_t>(width, rows - first));
    for (std::int64_t i = 0; i < depth; i += line) {
      const std::int64_t length = (std::min)(line, depth - i);
      A* const to = panel + i * width;
      for (int r = 0; r < present; ++r) {
        const T* const from = source.data + (row + first + r) * source.row_stride + k + i;
        for (std::int64_t j = 0; j < length; ++j) to[j * width + r] = widen(from[j]);
      }
      for (int r = present; r < width; ++r) {
        for (std::int64_t j = 0; j < length; ++j) to[j * width + r] = A(0);
      }
    }
  }
}

/// Multiplies one packed block of x by one of the weight: c = or += their product over `depth`.
template <class A>
void multiply_blocks(const GemmKernel<A>& kernel, const A* x_block, const A* w_block, std::int64_t depth,
                     const Matrix<A>& c, bool accumulate) {
  for (std::int64_t n = 0; n < c.columns; n += kernel.columns) {
    for (std::int64_t m = 0; m < c.rows; m += kernel.rows) {
      const A* const x_panel = x_block + m * depth;
      const A* const w_panel = w_block + n * depth;
      A* const corner = c.data + m * c.row_stride + n;
      const std::int64_t rows = std::min<std::int64_t>(kernel.rows, c.rows - m);
      const std::int64_t columns = std::min<std::int64_t>(kernel.columns, c.columns - n);
      if (rows == kernel.rows && columns == kernel.columns) {
        kernel.multiply(x_panel, w_panel, depth, corner, c.row_stride, accumulate);
        continue;
      }
      A tile[gemm_kernel_rows * gemm_kernel_column_bytes / sizeof(A)];
      kernel.multiply(x_panel, w_panel, depth, tile, kernel.columns, false);
      for (std::int64_t i = 0; i < rows; ++i) {
        for (std::int64_t j = 0; j < columns; ++j) {
          A& to = corner[i * c.row_stride + j];
          const A sum = tile[i * kernel.columns + j];
          to = accumulate ? to + sum : sum;
        }
      }
    }
  }
}

}  // namespace detail

/// Computes c = x w^T, for x (batch, k), w (features, k) and c (batch, features); 16-bit elements are widened
/// when packed. The arguments are the caller's to check.
///
/// Each output is the sum of its k-blocks, `gemm_k_block` long, in ascending order, each k-block a chain of
/// multiply-adds in ascending k. So its bits do not depend on the batch, on its place in it, on the blocks or
/// on the number of threads. They do depend on the instruction set of the kernel: only some have a fused
/// multiply-add.
template <class T>
void gemm(const Matrix<const T>& x, const Matrix<const T>& w, const Matrix<Accumulator<T>>& c,
          const Executor& executor, const GemmBlocks<Accumulator<T>>& blocks) {
  using A = Accumulator<T>;
  // A task keeps a block of the weight for as many blocks of x as leave work for all threads.
  const std::int64_t tasks_n = masthead::detail::ceil_div(w.rows, blocks.features);
  std::int64_t task_rows = masthead::detail::ceil_div(x.rows, blocks.rows) * blocks.rows;
  while (task_rows > blocks.rows &&
         masthead::detail::ceil_div(x.rows, task_rows) * tasks_n < 2 * executor.threads()) {
    task_rows = masthead::detail::ceil_div(task_rows / 2, blocks.rows) * blocks.rows;
  }
  const std::int64_t tasks_m = masthead::detail::ceil_div(x.rows, task_rows);
  executor.parallel_for(tasks_m * tasks_n, [&](std::int64_t task, int worker) {
    const std::int64_t first_m = task % tasks_m * task_rows, end_m = (std::min)(first_m + task_rows, x.rows);
    const std::int64_t n = task / tasks_m * blocks.features;
    const std::int64_t features = (std::min)(blocks.features, w.rows - n);
    for (std::int64_t k = 0; k < x.columns; k += gemm_k_block) {
      const std::int64_t depth = (std::min)(gemm_k_block, x.columns - k);
      detail::pack(w, n, features, k, depth, blocks.kernel.columns, blocks.weight(worker));
      for (std::int64_t m = first_m; m < end_m; m += blocks.rows) {
        const std::int64_t rows = (std::min)(blocks.rows, end_m - m);
        detail::pack(x, m, rows, k, depth, blocks.kernel.rows, blocks.x(worker));
        detail::multiply_blocks(blocks.kernel, blocks.x(worker), blocks.weight(worker), depth,
                                Matrix<A>(c.data + m * c.row_stride + n, rows, features, c.row_stride),
                                k != 0);
      }
    }
  });
}

}  // namespace masthead::inline v0::cpu

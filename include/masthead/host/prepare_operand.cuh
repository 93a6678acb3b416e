#pragma once
/// Launching the pass that prepares an operand.

#include "masthead/host/launch.cuh"
#include "masthead/kernel/prepare_operand.cuh"

namespace masthead::inline v0 {

/// Queues the pass over `source` that fills `target`, which is PreparedLayout{product, ...}.at(memory);
/// elements of T: float for f16 and f16x3, bfloat16 for e4m3. `other`: the flag of the operand this one will
/// be multiplied with, which is filled already; null for the first of the two, which raises its own.
template <Product product, class T>
void prepare_operand(const Matrix<const T>& source, const PreparedMatrix& target, const int* other,
                     cudaStream_t stream) {
  constexpr std::int64_t vector = 16 / sizeof(T), most = std::int64_t{1} << 31;
  if (source.rows >= most || source.columns >= most) {
    throw Error("prepared operand", detail::shape(source.rows, source.columns),
                "rows and columns must be below 2^31");
  }
  int* flag = nullptr;
  if (product == Product::f16x3 && other == nullptr) {
    flag = const_cast<int*>(target.infinite);
    require_success(cudaMemsetAsync(flag, 0, sizeof(int), stream), "cudaMemsetAsync(infinite)");
  }
  const PrepareParams<T> p{source,
                           static_cast<unsigned char*>(const_cast<void*>(target.data)),
                           const_cast<void*>(target.scale),
                           target.row_stride,
                           target.part_stride,
                           other,
                           flag};
  const bool vectors = source.columns % vector == 0 && source.row_stride % vector == 0 &&
                       reinterpret_cast<std::uintptr_t>(source.data) % 16 == 0;
  const bool warp_a_row = source.columns <= 32 * prepare_held_elements;
  LaunchConfig config{.blocks = warp_a_row ? ceil_div(source.rows, prepare_threads / 32) : source.rows,
                      .block_threads = prepare_threads,
                      .stream = stream,
                      .overlap_previous = true};
  if (warp_a_row) {
    launch("prepare_operand_kernel",
           vectors ? prepare_operand_kernel<product, T, 32, true>
                   : prepare_operand_kernel<product, T, 32, false>,
           config, p);
  } else {
    launch("prepare_operand_kernel",
           vectors ? prepare_operand_kernel<product, T, prepare_threads, true>
                   : prepare_operand_kernel<product, T, prepare_threads, false>,
           config, p);
  }
}

}  // namespace masthead::inline v0

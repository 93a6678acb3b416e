#pragma once
/// Launching the pass that packs an operand.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include "masthead/kernel/pack_operand.cuh"
#include "masthead/launch/device.cuh"
#include "masthead/launch/launch.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Queues the pass over `source` that fills `target`, which is PackedLayout{math_mode, ...}.at(memory). T is
/// float for f16 and f16x3, bfloat16 for e4m3. `other`: the flag of the operand this one will be multiplied
/// with, which is filled already; null for the first of the two, which raises its own.
template <MathMode math_mode, class T>
void pack_operand(const Matrix<const T>& source, const PackedMatrix& target, const int* other,
                  cudaStream_t stream) {
  constexpr std::int64_t vector = 16 / sizeof(T), most = std::int64_t{1} << 31;
  if (source.rows >= most || source.columns >= most) {
    throw Error("packed operand", shape_text(source.rows, source.columns),
                "rows and columns must be below 2^31");
  }
  int* flag = nullptr;
  if (math_mode == MathMode::f16x3 && other == nullptr) {
    flag = const_cast<int*>(target.infinite);
    require_success(cudaMemsetAsync(flag, 0, sizeof(int), stream), "cudaMemsetAsync(infinite)");
  }
  const PackParams<T> p{source,
                        static_cast<unsigned char*>(const_cast<void*>(target.data)),
                        const_cast<void*>(target.scale),
                        target.row_stride,
                        target.part_stride,
                        other,
                        flag};
  const bool vectors = source.columns % vector == 0 && source.row_stride % vector == 0 &&
                       reinterpret_cast<std::uintptr_t>(source.data) % 16 == 0;
  const bool warp_per_row = source.columns <= 32 * pack_thread_elements;
  LaunchConfig config{.blocks = warp_per_row ? ceil_div(source.rows, pack_threads / 32) : source.rows,
                      .block_threads = pack_threads,
                      .stream = stream,
                      .overlap_previous = true};
  if (warp_per_row) {
    launch(
        "pack_operand_kernel",
        vectors ? pack_operand_kernel<math_mode, T, 32, true> : pack_operand_kernel<math_mode, T, 32, false>,
        config, p);
  } else {
    launch("pack_operand_kernel",
           vectors ? pack_operand_kernel<math_mode, T, pack_threads, true>
                   : pack_operand_kernel<math_mode, T, pack_threads, false>,
           config, p);
  }
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

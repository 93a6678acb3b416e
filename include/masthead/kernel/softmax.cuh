#pragma once
/// The row-wise kernel: an affine of each column, then softmax or log-softmax of rows held in registers.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/ptx/grid_dependency.cuh"
#include "masthead/softmax/row_of_any_magnitude.cuh"
#include "masthead/softmax/row_softmax.cuh"
#include "masthead/softmax/softmax_params.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Reads each row once. Grid: a cluster per row, or a block per spec.rows rows; a block takes at most threads
/// * items columns.
template <class In, class Out, class Policy, ColumnAccess access, Output output>
__global__ void __launch_bounds__(Policy::spec.block_threads(),
                                  softmax_blocks_per_multiprocessor<In>(Policy::spec, access, false))
    softmax_kernel(const __grid_constant__ SoftmaxParams<In, Out> p) {
  constexpr SoftmaxSpec spec = Policy::spec;
  using Sum = Accumulator<In>;
  using Softmax = RowSoftmax<Sum, Policy>;
  __shared__ typename Softmax::TempStorage storage;

  // Addresses and the cluster's barrier come before the wait: the previous kernel's end hides them.
  const std::int64_t row = std::int64_t{ptx::cluster_index()} * spec.rows + threadIdx.x / spec.threads;
  auto segment = row_segment<spec.threads, spec.items, access>(p, row);
  Softmax softmax(storage);
  ptx::grid_dependency_wait();
  if (row >= p.x.rows) return;  // a whole warp with a row of its own: no barrier is left waiting
  segment.look_for_centers();
  const PendingElement multiplier = p.template pending_multiplier<access>();
  Sum values[spec.items];
  segment.load(0, values);
  ptx::grid_dependency_trigger();
  const Sum scale = p.scale(multiplier);
  const bool small = softmax.template apply_if_small<output, segment.vector, segment.whole>(
      values, scale, [&](int i) { return segment.inside(0, i); });
  if (!small) return softmax_of_any_magnitude<output, access, Policy>(p, storage);
  segment.store(0, values);
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

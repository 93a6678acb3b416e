#pragma once
/// Launching the row-wise kernels.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "masthead/kernel/softmax.cuh"
#include "masthead/kernel/softmax_streaming.cuh"
#include "masthead/kernel/softmax_vectors.cuh"
#include "masthead/launch/launch.cuh"
#include "masthead/plan/softmax_plan.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Whether a vector, unless it is absent, can be read 16 bytes at a time as `Sum`.
template <class Sum>
bool sums_aligned(const ConstVector& v) {
  return !v.present() || (v.dtype == dtype_of<Sum> && reinterpret_cast<std::uintptr_t>(v.data) % 16 == 0);
}

/// The quickest column access that x, y, multiplier and addend allow.
template <class In, class Out>
ColumnAccess column_access(const SoftmaxParams<In, Out>& p) {
  using Sum = Accumulator<In>;
  constexpr int vector = row_vector_items<In>;
  const bool vectors = p.x.columns % vector == 0 && rows_aligned(p.x, 16) &&
                       rows_aligned(p.y, vector * size_of(dtype_of<Out>));
  if (vectors && p.multiplier.size <= 1 && !p.addend.present()) return ColumnAccess::vectors;
  if (vectors && p.multiplier.size > 1 && sums_aligned<Sum>(p.multiplier) && sums_aligned<Sum>(p.addend)) {
    return ColumnAccess::affine_vectors;
  }
  return ColumnAccess::elements;
}

/// Plans with this policy, these kernels and this access, and launches, as often as the plan's rows per
/// launch ask for.
template <class Policy, SoftmaxKernels kernels, ColumnAccess access, Output output, class In, class Out>
void launch_softmax(SoftmaxParams<In, Out> p, int architecture, cudaStream_t stream) {
  constexpr SoftmaxSpec spec = Policy::spec;
  constexpr bool vectors = softmax_holds_vectors(access, sizeof(In));
  const SoftmaxPlan plan =
      plan_softmax(spec, kernels, access, sizeof(In), p.x.rows, p.x.columns, architecture);
  p.segment = plan.segment;
  if (p.x.rows > plan.rows_per_launch) {
    const SoftmaxParams<In, Out> all = p;
    for (std::int64_t first = 0; first < all.x.rows; first += plan.rows_per_launch) {
      p.x.data = all.x.data + first * all.x.row_stride;
      p.y.data = all.y.data + first * all.y.row_stride;
      p.x.rows = p.y.rows = (std::min)(plan.rows_per_launch, all.x.rows - first);
      launch_softmax<Policy, kernels, access, output>(p, architecture, stream);
    }
    return;
  }
  const LaunchConfig config{.blocks = plan.blocks,
                            .block_threads = plan.block_threads,
                            .stream = stream,
                            .shared_bytes = plan.shared_bytes,
                            .cluster = plan.cluster,
                            .overlap_previous = architecture >= 90};
  switch (plan.kernel) {
    case SoftmaxKernel::registers:
      if constexpr (kernels != SoftmaxKernels::streaming && !vectors) {
        launch("softmax_kernel", softmax_kernel<In, Out, Policy, access, output>, config, p);
      }
      return;
    case SoftmaxKernel::vectors:
      if constexpr (kernels != SoftmaxKernels::streaming && vectors) {
        launch("softmax_vectors_kernel", softmax_vectors_kernel<In, Out, Policy, output>, config, p);
      }
      return;
    case SoftmaxKernel::streaming:
      if constexpr (kernels != SoftmaxKernels::holding) {
        using Streaming = SoftmaxPolicy<spec.threads, spec.items>;
        launch("softmax_streaming_kernel", softmax_streaming_kernel<In, Out, Streaming, access, output>,
               config, p);
      }
      return;
  }
}

/// An Output that is known when the code is compiled: the kernels of the other are not.
template <Output output>
using OutputConstant = std::integral_constant<Output, output>;

template <class Policy, SoftmaxKernels kernels, ColumnAccess access, Output output, class In, class Out>
void launch_softmax(const SoftmaxParams<In, Out>& p, OutputConstant<output>, int architecture,
                    cudaStream_t stream) {
  launch_softmax<Policy, kernels, access, output>(p, architecture, stream);
}
template <class Policy, SoftmaxKernels kernels, ColumnAccess access, class In, class Out>
void launch_softmax(const SoftmaxParams<In, Out>& p, Output output, int architecture, cudaStream_t stream) {
  output == Output::softmax
      ? launch_softmax<Policy, kernels, access, Output::softmax>(p, architecture, stream)
      : launch_softmax<Policy, kernels, access, Output::log_softmax>(p, architecture, stream);
}

/// Calls launch.operator()<access>() with column_access(p).
template <class In, class Out, class Launch>
void with_column_access(const SoftmaxParams<In, Out>& p, const Launch& launch) {
  switch (column_access(p)) {
    case ColumnAccess::vectors:
      return launch.template operator()<ColumnAccess::vectors>();
    case ColumnAccess::affine_vectors:
      return launch.template operator()<ColumnAccess::affine_vectors>();
    case ColumnAccess::elements:
      return launch.template operator()<ColumnAccess::elements>();
  }
}

/// Runs the policy `select_softmax_policy` names. `output` is an Output or an OutputConstant.
template <ColumnAccess access, int index, class In, class Out, class AnyOutput>
void launch_selected_softmax(const SoftmaxParams<In, Out>& p, AnyOutput output, int architecture,
                             cudaStream_t stream) {
  constexpr int bytes = static_cast<int>(sizeof(In));
  constexpr auto& policies = softmax_policies<bytes>;
  constexpr SoftmaxSpec spec = policies[index];
  constexpr bool vectors = softmax_holds_vectors(access, sizeof(In));
  constexpr bool last = index + 1 == static_cast<int>(policies.size());
  if constexpr (!last) {
    constexpr int next = index == 3 && !vectors ? 5 : index + 1;
    if (select_softmax_policy<bytes>(p.x.columns, architecture, vectors) != index) {
      return launch_selected_softmax<access, next>(p, output, architecture, stream);
    }
  }
  launch_softmax<SoftmaxPolicy<spec.threads, spec.items, spec.rows, spec.shared_items, spec.past_l1>,
                 last ? SoftmaxKernels::streaming : SoftmaxKernels::holding, access>(p, output, architecture,
                                                                                     stream);
}

template <class In, class Out, class AnyOutput>
void launch_selected_softmax(const SoftmaxParams<In, Out>& p, AnyOutput output, int architecture,
                             cudaStream_t stream) {
  with_column_access(
      p, [&]<ColumnAccess access>() { launch_selected_softmax<access, 0>(p, output, architecture, stream); });
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

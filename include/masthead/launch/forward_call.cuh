#pragma once
/// One forward pass, and the launches that the paths of several engines share.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>
#include <type_traits>

#include "masthead/epilogue/batch_norm.cuh"
#include "masthead/kernel/batch_affine.cuh"
#include "masthead/kernel/column_statistics.cuh"
#include "masthead/launch/device.cuh"
#include "masthead/launch/launch.cuh"
#include "masthead/launch/softmax.cuh"
#include "masthead/numeric/logit_unit.hpp"
#include "masthead/plan/forward_plan.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// A pass whose arguments have been checked, with what the plan does not hold: pointers.
template <class T, class U>
struct ForwardCall {
  using Sum = Accumulator<T>;

  HeadArguments<T, U> arguments;
  Mode mode;
  cudaStream_t stream;
  int architecture;
  unsigned char* workspace;
  PackedMatrix packed_x, packed_weight;  ///< for math modes that multiply packed operands
  BatchUpdate update;                    ///< training mode

  template <class V>
  V* at(const WorkspaceSlot& slot) const {
    return reinterpret_cast<V*>(workspace + slot.offset);
  }
  /// Where the centers of the sums go, in training mode.
  ColumnCenters<Sum> centers(const ForwardPlan& plan) const {
    auto* const center = at<Sum>(plan.workspace.center);
    return {center, reinterpret_cast<unsigned*>(center + logits_stride(arguments.y.columns))};
  }
  /// Where logits or sums go: y itself where it has room for them.
  Matrix<Sum> sums(const ForwardPlan& plan) const {
    if constexpr (std::is_same_v<U, Sum>) {
      return arguments.y;
    } else {
      return {at<Sum>(plan.workspace.logits), arguments.y.rows, arguments.y.columns,
              logits_stride(arguments.y.columns)};
    }
  }
};

/// A Path that is known when the code is compiled.
template <Path path>
using PathConstant = std::integral_constant<Path, path>;

/// Launches softmax_kernel on sums under an affine of each column, or on logits. `log_softmax`: whether
/// log-softmax is compiled.
template <bool log_softmax, class T, class U>
static void launch_row_softmax(const ForwardPlan& plan, const ForwardCall<T, U>& call,
                               const ConstVector& multiplier = {}, const ConstVector& addend = {},
                               const ColumnCenters<Accumulator<T>>& centers = {}) {
  using Sum = Accumulator<T>;
  const SoftmaxParams<Sum, U> params{.x = call.sums(plan),
                                     .y = call.arguments.y,
                                     .multiplier = multiplier,
                                     .addend = addend,
                                     .centers = centers,
                                     .unit = LogitUnit<Sum>::log4().to_log2,
                                     .segment = 0};
  if constexpr (log_softmax) {
    launch_selected_softmax(params, call.arguments.output, call.architecture, call.stream);
  } else {
    launch_selected_softmax(params, OutputConstant<Output::softmax>(), call.architecture, call.stream);
  }
}

/// Launches column_statistics_kernel.
template <class T, class U>
static void launch_column_statistics(const ForwardPlan& plan, const ForwardCall<T, U>& call) {
  using Sum = Accumulator<T>;
  const auto splits = static_cast<int>(moment_splits(plan.policy, call.arguments.y.rows));
  launch("column_statistics_kernel", column_statistics_kernel<Sum>,
         {.blocks = ceil_div(call.arguments.y.columns, 32) * splits,
          .block_threads = BlockColumnStatistics<Sum>::block_threads,
          .stream = call.stream},
         ColumnStatisticsParams<Sum>{call.sums(plan), call.template at<Moments<Sum>>(plan.workspace.moments),
                                     splits, call.update.batches_tracked, call.centers(plan).any});
}

/// Launches batch_affine_kernel and softmax: what is left of a training pass whose sums and moments
/// are in memory.
template <bool log_softmax, class T, class U>
static void launch_training_end(const ForwardPlan& plan, const ForwardCall<T, U>& call) {
  using Sum = Accumulator<T>;
  const ForwardWorkspace& w = plan.workspace;
  const std::int64_t features = call.arguments.y.columns;
  auto *multiplier = call.template at<Sum>(w.multiplier), *addend = call.template at<Sum>(w.addend);
  const ColumnCenters<Sum> centers = call.centers(plan);
  const auto splits = static_cast<int>(moment_splits(plan.policy, call.arguments.y.rows));
  // Few splits are summed by one thread: a warp of them would wait longer for each other than for memory.
  const int lanes = splits <= 64 ? 1 : 32;
  launch("batch_affine_kernel", batch_affine_kernel<T>,
         {.blocks = ceil_div(features, 128 / lanes),
          .block_threads = 128,
          .stream = call.stream,
          .overlap_previous = call.architecture >= 90},
         BatchAffineParams<T>{call.arguments.parameters, call.template at<Moments<Sum>>(w.moments), splits,
                              lanes, multiplier, addend, centers, call.update});
  launch_row_softmax<log_softmax>(plan, call, ConstVector(multiplier, features),
                                  ConstVector(addend, features), centers);
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

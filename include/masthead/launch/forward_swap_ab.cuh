#pragma once
/// Launching the paths of the swap-AB engine.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/epilogue/swap_ab.cuh"
#include "masthead/epilogue/swap_ab_quantized.cuh"
#include "masthead/epilogue/swap_ab_softmax.cuh"
#include "masthead/kernel/linear_swap_ab_sm90.cuh"
#include "masthead/kernel/normalize_logits_sm90.cuh"
#include "masthead/kernel/normalize_sm90.cuh"
#include "masthead/launch/forward_call.cuh"
#include "masthead/launch/tensor_map.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

// Static: an object that is compiled for sm_90a keeps its own launches beside one for sm_90 (an anonymous
// namespace does not serve, as nvcc gives it a name).

/// Launches linear_swap_ab_sm90_kernel into `y`; `tiles_n` tiles of features, in whole clusters.
template <class TileEnd, class T, class U, class Y>
static void launch_linear_swap_ab(const ForwardPlan& plan, const ForwardCall<T, U>& call, const Matrix<Y>& y,
                                  std::int64_t tiles_n) {
  constexpr PolicySpec spec = TileEnd::Policy::spec;
  const auto& [x, parameters, whole_y, output] = call.arguments;
  LinearSwapAbParams<T, Y> p{};
  p.x = make_tensor_map("x", x, spec.tile.m, spec.math_mode);
  p.w = make_tensor_map("weight", parameters.weight, spec.tile.n, spec.math_mode);
  p.y = y;
  p.parameters = parameters;
  p.partials = call.template at<SoftmaxPartial>(plan.workspace.partials);
  p.mode = call.mode;
  p.k_steps = static_cast<int>(ceil_div(x.columns, spec.tile.k));
  p.m_blocks = static_cast<int>(ceil_div(x.rows, spec.tile.m));
  p.tiles_n = static_cast<int>(tiles_n);
  launch("linear_swap_ab_sm90_kernel", &linear_swap_ab_sm90_kernel<TileEnd>,
         {.blocks = std::int64_t{p.m_blocks} * p.tiles_n,
          .block_threads = spec.block_threads,
          .stream = call.stream,
          .shared_bytes = shared_bytes(spec),
          .cluster = plan.cluster,
          .overlap_previous = true},
         p);
}

/// Launches the GEMM for logits, or in training mode sums, which go where the plan puts them.
template <class Policy, Path, class T, class U>
static void launch_linear(EngineConstant<Engine::wgmma_swap_ab>, const ForwardPlan& plan,
                          const ForwardCall<T, U>& call) {
  launch_linear_swap_ab<SwapAbLogitsEnd<Policy>>(plan, call, call.sums(plan),
                                                 ceil_div(call.arguments.y.columns, Policy::spec.tile.n));
}

template <class Policy, bool, class T, class U>
static void launch_path(EngineConstant<Engine::wgmma_swap_ab>, PathConstant<Path::one_cluster>,
                        const ForwardPlan& plan, const ForwardCall<T, U>& call) {
  launch_linear_swap_ab<SwapAbSoftmaxEnd<Policy, U>>(plan, call, call.arguments.y,
                                                     ceil_div(call.arguments.y.columns, Policy::spec.tile.n));
}

template <class Policy, bool, class T, class U>
static void launch_path(EngineConstant<Engine::wgmma_swap_ab>, PathConstant<Path::two_pass>,
                        const ForwardPlan& plan, const ForwardCall<T, U>& call) {
  const Matrix<U>& y = call.arguments.y;
  const std::int64_t parts = softmax_parts(y.columns);
  launch_linear_swap_ab<SwapAbQuantizedEnd<Policy, U>>(plan, call, y, parts * plan.cluster);
  launch("normalize_sm90_kernel", &normalize_sm90_kernel<Policy, U>,
         {.blocks = y.rows * normalize_blocks(y.columns),
          .block_threads = normalize_threads,
          .stream = call.stream,
          .overlap_previous = true},
         NormalizeSm90Params<U>{y, call.template at<SoftmaxPartial>(plan.workspace.partials),
                                static_cast<int>(parts)});
}

/// Launches the row-blocks path, in which no blocks wait for others, as those of a cluster do; clusters also
/// leave multiprocessors idle.
template <class Policy, bool, class T, class U>
static void launch_path(EngineConstant<Engine::wgmma_swap_ab> engine, PathConstant<Path::row_blocks>,
                        const ForwardPlan& plan, const ForwardCall<T, U>& call) {
  const Matrix<U>& y = call.arguments.y;
  launch_linear<Policy, Path::row_blocks>(engine, plan, call);
  launch("normalize_logits_sm90_kernel",
         y.columns <= NormalizeLogits::columns / 2 ? &normalize_logits_sm90_kernel<U, 2>
                                                   : &normalize_logits_sm90_kernel<U, 4>,
         {.blocks = y.rows,
          .block_threads = NormalizeLogits::threads,
          .stream = call.stream,
          .overlap_previous = true},
         NormalizeLogitsParams<U>{call.sums(plan), y});
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

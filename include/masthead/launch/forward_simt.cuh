#pragma once
/// Launching the GEMM kernel of the SIMT engine.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include "masthead/epilogue/simt_logits.cuh"
#include "masthead/kernel/linear_simt.cuh"
#include "masthead/launch/forward_call.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Launches linear_simt_kernel for logits, or in training mode sums, which go where the plan puts them.
template <class Policy, Path, class T, class U>
static void launch_linear(EngineConstant<Engine::simt>, const ForwardPlan& plan,
                          const ForwardCall<T, U>& call) {
  using TileEnd = SimtLogitsEnd<Policy>;
  constexpr SimtLayout layout = simt_layout(Policy::spec);
  const auto& [x, parameters, y, output] = call.arguments;
  const Raster raster{ceil_div(y.rows, layout.tile.m), ceil_div(y.columns, layout.tile.n)};
  const bool vectors = rows_aligned(x, 16) && rows_aligned(parameters.weight, 16);
  launch("linear_simt_kernel",
         vectors ? linear_simt_kernel<TileEnd, 16> : linear_simt_kernel<TileEnd, layout.element_bytes()>,
         {.blocks = raster.size(),
          .block_threads = layout.block_threads,
          .stream = call.stream,
          .shared_bytes = layout.shared_bytes()},
         LinearSimtParams<T>{x, parameters, call.sums(plan), call.mode, raster});
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

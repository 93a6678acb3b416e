#pragma once
/// Launching the paths of the wgmma engine.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>
#include <type_traits>

#include "masthead/epilogue/logits.cuh"
#include "masthead/epilogue/moments.cuh"
#include "masthead/epilogue/quantized_softmax.cuh"
#include "masthead/epilogue/staged_softmax.cuh"
#include "masthead/kernel/batch_affine_sm90.cuh"
#include "masthead/kernel/begin_overlap_sm90.cuh"
#include "masthead/kernel/linear_overlapped_sm90.cuh"
#include "masthead/kernel/linear_resident_sm90.cuh"
#include "masthead/kernel/linear_training_sm90.cuh"
#include "masthead/kernel/linear_two_pass_sm90.cuh"
#include "masthead/kernel/normalize_rest_sm90.cuh"
#include "masthead/kernel/normalize_sm90.cuh"
#include "masthead/kernel/normalize_sums_sm90.cuh"
#include "masthead/launch/forward_call.cuh"
#include "masthead/launch/pack_operand.cuh"
#include "masthead/launch/tensor_map.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

// Static: an object that is compiled for sm_90a keeps its own launches beside one for sm_90 (an anonymous
// namespace does not serve, as nvcc gives it a name).

/// Parameters of a GEMM kernel that writes `y`: everything but the schedule. Packs x first where the math
/// mode asks for it.
template <class Policy, class Schedule, class T, class U, class Y>
static LinearSm90Params<T, Y, Schedule> linear_sm90_params(const ForwardPlan& plan,
                                                           const ForwardCall<T, U>& call,
                                                           const Matrix<Y>& y) {
  constexpr PolicySpec spec = Policy::spec;
  constexpr Sm90Layout layout = sm90_layout(spec);
  const auto& [x, parameters, whole_y, output] = call.arguments;
  LinearSm90Params<T, Y, Schedule> p{};
  if constexpr (is_packed(spec.math_mode)) {
    PackedMatrix packed = call.packed_x;
    if constexpr (spec.dtype != Dtype::e4m3) {
      packed =
          PackedLayout{spec.math_mode, x.rows, x.columns}.at(call.workspace + plan.workspace.packed_x.offset);
    }
    p.x = make_tensor_map("x", packed, spec.math_mode, layout.parts(), spec.tile.m);
    p.w = make_tensor_map("weight", call.packed_weight, spec.math_mode, 1, layout.w_slice_rows());
    p.x_scale = packed.scale;
    p.w_scale = call.packed_weight.scale;
    if constexpr (spec.dtype != Dtype::e4m3) {
      pack_operand<spec.math_mode>(x, packed, call.packed_weight.infinite, call.stream);
    }
  } else {
    p.x = make_tensor_map("x", x, spec.tile.m, spec.math_mode);
    p.w = make_tensor_map("weight", parameters.weight, layout.w_slice_rows(), spec.math_mode);
  }
  p.y.matrix = y;
  p.y.by_tma = is_tensor_map(y);
  if (p.y.by_tma) p.y.map = make_tensor_map("y", y, WgmmaFragment::warp_rows);
  p.parameters = parameters;
  p.partials = call.template at<SoftmaxPartial>(plan.workspace.partials);
  p.k_steps = static_cast<int>(ceil_div(x.columns, spec.tile.k));
  p.moments = call.template at<Moments<float>>(plan.workspace.moments);
  if (call.mode == Mode::training) p.any_center = call.centers(plan).any;
  p.tile_moments = call.template at<ColumnMoment>(plan.workspace.moments);
  p.update = call.update;
  return p;
}

/// The grid of a GEMM kernel of `clusters` clusters.
template <class Policy>
static LaunchConfig linear_sm90_config(int clusters, int shared_bytes, cudaStream_t stream) {
  constexpr PolicySpec spec = Policy::spec;
  return {.blocks = std::int64_t{clusters} * spec.cluster_m,
          .block_threads = spec.block_threads,
          .stream = stream,
          .shared_bytes = shared_bytes,
          .cluster = spec.cluster_m,
          .overlap_previous = true};
}

/// Launches linear_two_pass_sm90_kernel into `y`.
template <class TileEnd, class T, class U>
static void launch_linear_two_pass(const ForwardPlan& plan, const ForwardCall<T, U>& call,
                                   const Matrix<typename TileEnd::Output>& y) {
  auto p = linear_sm90_params<typename TileEnd::Policy, PersistentSchedule>(plan, call, y);
  p.schedule = plan.persistent;
  launch("linear_two_pass_sm90_kernel", &linear_two_pass_sm90_kernel<TileEnd>,
         linear_sm90_config<typename TileEnd::Policy>(plan.persistent.clusters,
                                                      TileEnd::layout.shared_bytes(), call.stream),
         p);
}

/// Launches a kernel whose blocks are all resident at the same time.
template <class Policy, class Kernel, class T, class U>
static void launch_resident(const char* name, Kernel kernel, const ForwardPlan& plan,
                            const ForwardCall<T, U>& call) {
  auto p = linear_sm90_params<Policy, ResidentSchedule>(plan, call, call.arguments.y);
  p.schedule = plan.resident;
  LaunchConfig config = linear_sm90_config<Policy>(plan.resident.clusters(),
                                                   sm90_layout(Policy::spec).shared_bytes(), call.stream);
  config.cooperative = true;
  launch(name, kernel, config, p);
}

template <class Policy, bool, class T, class U>
static void launch_path(EngineConstant<Engine::wgmma>, PathConstant<Path::resident>, const ForwardPlan& plan,
                        const ForwardCall<T, U>& call) {
  launch_resident<Policy>("linear_resident_sm90_kernel", &linear_resident_sm90_kernel<Policy, U>, plan, call);
}

template <class Policy, bool, class T, class U>
static void launch_path(EngineConstant<Engine::wgmma>, PathConstant<Path::two_pass>, const ForwardPlan& plan,
                        const ForwardCall<T, U>& call) {
  const Matrix<U>& y = call.arguments.y;
  launch_linear_two_pass<QuantizedSoftmaxEnd<Policy, U>>(plan, call, y);
  launch("normalize_sm90_kernel", &normalize_sm90_kernel<Policy, U>,
         {.blocks = y.rows * normalize_blocks(y.columns),
          .block_threads = normalize_threads,
          .stream = call.stream,
          .overlap_previous = true},
         NormalizeSm90Params<U>{y, call.template at<SoftmaxPartial>(plan.workspace.partials),
                                plan.persistent.grid.tiles_n});
}

/// Launches the overlapped path. Its second kernel normalizes the rows that are complete under the mainloop
/// of later tiles: their second pass over memory takes no time of its own. That needs the first kernel, and a
/// y that TMA can store.
template <class Policy, bool, class T, class U>
static void launch_path(EngineConstant<Engine::wgmma>, PathConstant<Path::overlapped>,
                        const ForwardPlan& plan, const ForwardCall<T, U>& call) {
  const Matrix<U>& y = call.arguments.y;
  const OverlapSections& overlap = plan.overlap;
  auto* const progress = call.template at<SectionProgress>(plan.workspace.overlap);
  auto* const affine = reinterpret_cast<AffineColumn*>(progress + OverlapSections::most);
  auto* const center = reinterpret_cast<float*>(affine + y.columns);
  launch("begin_overlap_sm90_kernel", &begin_overlap_sm90_kernel<T>,
         {.blocks = ceil_div(y.columns, begin_overlap_threads),
          .block_threads = begin_overlap_threads,
          .stream = call.stream,
          .overlap_previous = true},
         BeginOverlapSm90Params<T>{call.arguments.parameters, affine, center, progress, overlap.count()});
  auto p = linear_sm90_params<Policy, PersistentSchedule>(plan, call, y);
  p.schedule = plan.persistent;
  p.overlap = overlap;
  p.tasks = plan.tasks;
  p.progress = progress;
  p.affine = affine;
  p.center = center;
  launch("linear_overlapped_sm90_kernel", &linear_overlapped_sm90_kernel<StagedSoftmaxEnd<Policy, U>>,
         linear_sm90_config<Policy>(plan.persistent.clusters, sm90_layout(Policy::spec).shared_bytes(),
                                    call.stream),
         p);
  launch("normalize_rest_sm90_kernel", &normalize_rest_sm90_kernel<Policy, U>,
         {.blocks = (y.rows - overlap.rows()) * plan.tasks.blocks,
          .block_threads = normalize_threads,
          .stream = call.stream,
          .overlap_previous = true},
         NormalizeSm90Params<U>{y, p.partials, plan.persistent.grid.tiles_n}, overlap, plan.tasks,
         static_cast<const SectionProgress*>(progress));
}

template <class Policy, bool, class T, class U>
static void launch_path(EngineConstant<Engine::wgmma>, PathConstant<Path::resident_training>,
                        const ForwardPlan& plan, const ForwardCall<T, U>& call) {
  launch_resident<Policy>("linear_training_sm90_kernel", &linear_training_sm90_kernel<Policy, U>, plan, call);
}

/// Launches the two-pass training path. The affine lies where the training path has its multiplier and its
/// addend.
template <class Policy, bool, class T, class U>
static void launch_path(EngineConstant<Engine::wgmma>, PathConstant<Path::two_pass_training>,
                        const ForwardPlan& plan, const ForwardCall<T, U>& call) {
  static_assert(sizeof(AffineColumn) == 2 * sizeof(float));
  const Matrix<U>& y = call.arguments.y;
  const Matrix<float> sums = call.sums(plan);
  auto* const affine = call.template at<AffineColumn>(plan.workspace.multiplier);
  float* const center = call.centers(plan).center;
  launch_linear_two_pass<MomentsEnd<Policy>>(plan, call, sums);
  launch("batch_affine_sm90_kernel", &batch_affine_sm90_kernel<Policy>,
         {.blocks = ceil_div(y.columns, batch_affine_sm90_threads),
          .block_threads = batch_affine_sm90_threads,
          .stream = call.stream,
          .overlap_previous = true},
         BatchAffineSm90Params<T>{call.arguments.parameters,
                                  call.template at<Moments<float>>(plan.workspace.moments),
                                  static_cast<int>(y.rows), affine, center, call.update});
  const int parts = plan.persistent.grid.tiles_n;
  launch("normalize_sums_sm90_kernel", &normalize_sums_sm90_kernel<Policy, U>,
         {.blocks = ceil_div(y.rows, WgmmaFragment::warp_rows),
          .block_threads = normalize_sums_threads,
          .stream = call.stream,
          .shared_bytes = static_cast<int>(normalize_sums_shared_bytes(parts)),
          .overlap_previous = true},
         NormalizeSumsParams<U>{sums, y, affine, center, parts});
}

/// Launches the GEMM for logits, or in training mode for sums and the moments of their columns.
template <class Policy, Path path, class T, class U>
static void launch_linear(EngineConstant<Engine::wgmma>, const ForwardPlan& plan,
                          const ForwardCall<T, U>& call) {
  using TileEnd = std::conditional_t<path == Path::training, MomentsEnd<Policy>, LogitsEnd<Policy>>;
  launch_linear_two_pass<TileEnd>(plan, call, call.sums(plan));
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

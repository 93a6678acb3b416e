#pragma once
/// The plan of a forward pass: the one place that decides which kernels run.
///
/// A plan is made from a policy, the shape of the problem and what the device at hand holds, by constexpr
/// functions that run on any machine. `Head`, the entries with an explicit policy, workspace_bytes, tests and
/// benchmarks read it; launching follows it and decides nothing.

#include <algorithm>
#include <array>
#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>

#include "masthead/core/checks.hpp"
#include "masthead/plan/path.hpp"
#include "masthead/plan/workspace.hpp"
#include "masthead/policy/select.hpp"
#include "masthead/tile/cluster_schedule.hpp"

namespace masthead::inline v0 {

/// What a device, or the part of it that a stream has, holds at once.
struct DeviceLimits {
  int architecture = 0;  ///< 10 * major + minor of the compute capability
  int multiprocessors = 0;
  int shared_bytes_per_block = 0;    ///< with opt-in
  std::array<int, 4> clusters = {};  ///< resident ones of 1, 2, 4 and 8 blocks, one block per multiprocessor

  /// The number of resident clusters of `size` blocks, at most 8; sizes between powers of two count as the
  /// next one.
  constexpr int resident_clusters(int size) const {
    return clusters[size <= 1 ? 0 : size == 2 ? 1 : size <= 4 ? 2 : 3];
  }
  friend constexpr bool operator==(const DeviceLimits&, const DeviceLimits&) = default;
};

/// The plan of a forward pass: what runs, in order, where it stores what, and what it needs of the device.
struct ForwardPlan {
  PolicySpec policy{};
  Path path = Path::logits;
  /// The first `kernel_count`, in the order of their launches, named as in folder kernel/.
  std::array<std::string_view, 5> kernels = {};
  int kernel_count = 0;
  ForwardWorkspace workspace;
  std::int64_t rows = 0;     ///< of the batch that the launches take; eval mode repeats them for the rest
  int shared_bytes = 0;      ///< of a block of the GEMM kernel, at most
  int cluster = 1;           ///< blocks of a cluster of the GEMM kernel
  bool cooperative = false;  ///< all blocks of the GEMM kernel must be resident at the same time
  // Of the wgmma engine:
  detail::ResidentSchedule resident{};      ///< of the resident paths
  detail::PersistentSchedule persistent{};  ///< of the others
  detail::OverlapSections overlap{};        ///< of the overlapped path
  detail::NormalizeTasks tasks{};           ///< of the overlapped path

  constexpr void add(std::string_view kernel) { kernels[static_cast<std::size_t>(kernel_count++)] = kernel; }
};

/// Two plans are equal when the same kernels run on the same workspace; schedules follow from policy and
/// shape.
constexpr bool operator==(const ForwardPlan& a, const ForwardPlan& b) {
  return a.policy == b.policy && a.path == b.path && a.kernel_count == b.kernel_count &&
         a.kernels == b.kernels && a.workspace.bytes == b.workspace.bytes &&
         a.persistent.clusters == b.persistent.clusters && a.resident.columns == b.resident.columns;
}

namespace detail {

/// Ends a plan that no device, or not this one, can follow. Throws Error.
__attribute__((__noreturn__)) inline void refuse_plan(const std::string& argument, const std::string& value,
                                                      const std::string& rule) {
  throw Error(argument, value, rule);
}

/// Refuses what TMA cannot address. Throws Error.
constexpr void refuse_beyond_tma(const PolicySpec& spec, const ForwardShape& shape) {
  const auto refuse_if_beyond = [&](const char* argument, std::int64_t extent) {
    if (extent > most_tma_extent) {
      refuse_plan(argument, std::to_string(extent),
                  "must be at most " + std::to_string(most_tma_extent) + " for " + to_string(spec));
    }
  };
  refuse_if_beyond("x.rows", shape.batch);
  refuse_if_beyond("x.columns", shape.in_features);
  refuse_if_beyond("weight.rows", shape.out_features);
}

/// The grid of tiles of y. Throws Error for 2^30 tiles or more: 31 bits must count them.
constexpr ClusterGrid cluster_grid(const PolicySpec& spec, const ForwardShape& shape) {
  const auto tiles =
      checked_product(ceil_div(shape.batch, static_cast<std::int64_t>(spec.tile.m) * spec.cluster_m),
                      ceil_div(shape.out_features, static_cast<std::int64_t>(spec.tile.n)));
  if (!tiles || *tiles >= static_cast<std::int64_t>(1) << 30) {
    refuse_plan("y.shape", shape_text(shape.batch, shape.out_features),
                "must be fewer than 2^30 tiles of " + to_string(spec));
  }
  return ClusterGrid::of(shape.batch, shape.out_features, spec.tile.m, spec.tile.n, spec.cluster_m);
}

/// Throws Error where the device runs no cluster of the plan's size.
constexpr void refuse_without_cluster(const ForwardPlan& plan, const DeviceLimits& limits) {
  if (limits.resident_clusters(plan.cluster) < 1) {
    refuse_plan("policy", to_string(plan.policy),
                "must fit on the device: it runs no cluster of this policy");
  }
}

/// The schedule of all tiles on chip at once, on as few clusters as that takes; columns = 0 when they do not
/// fit, or when two kernels are quicker.
// A small y is read again from L2 in less time than a cooperative launch and its grid barrier take (128 x
// 1024 -> 512: 7.9 against 9.4 us, 1024 x 8192 -> 8192: 207.3 against 204.5 us).
constexpr ResidentSchedule resident_schedule(const PolicySpec& spec, const ClusterGrid& grid, int clusters) {
  if (static_cast<std::int64_t>(grid.size()) * spec.cluster_m * spec.tile.m * spec.tile.n < 4 << 20)
    return {grid, 0};
  return ResidentSchedule::of(grid, clusters, resident_tiles);
}

/// Clusters of `size` blocks, one block per multiprocessor, that the largest sm_90 holds. A training pass
/// that would be resident there has the bits of the resident path wherever it runs.
constexpr int largest_resident_clusters(int size) { return 132 / size; }

/// Whether a training pass has the bits of the resident path: it is that of `spec` on the largest sm_90.
constexpr bool trains_resident(const PolicySpec& spec, const ForwardShape& shape, const ClusterGrid& grid) {
  return shape.y == spec.dtype && !is_packed(spec.math_mode) && sm90_layout(spec).stashes_sums() &&
         resident_schedule(spec, grid, largest_resident_clusters(spec.cluster_m)).columns != 0;
}

/// Whether a kernel of `spec` can normalize rows under the mainloop: a warp's vectors must lie in one column
/// part of the row.
constexpr bool can_overlap(const PolicySpec& spec) {
  return spec.engine == Engine::wgmma && spec.math_mode == MathMode::plain && spec.tile.n == 32 * 8;
}

/// Turns of the mainloop that the lower half of the last band takes after the rest, in which its upper half
/// is normalized; 0: it is not.
constexpr int turns_to_normalize(const PolicySpec& spec, const ForwardShape& shape,
                                 const PersistentSchedule& schedule, const NormalizeTasks& tasks) {
  constexpr std::int64_t bytes_per_step = 1280;  // that a block normalizes while it multiplies a slice of k
  const int m_blocks = (schedule.grid.m_blocks - 1) % schedule.raster_m_blocks + 1,
            upper = (m_blocks + 1) / 2;
  const std::int64_t rows = static_cast<std::int64_t>(upper) * spec.cluster_m * spec.tile.m,
                     blocks = static_cast<std::int64_t>(schedule.clusters) * spec.cluster_m;
  const auto turns =
      static_cast<int>(ceil_div(rows * shape.out_features * size_of(shape.y),
                                blocks * ceil_div(shape.in_features, spec.tile.k) * bytes_per_step));
  if (!tasks.whole_rows) return turns;
  // A warp that is behind with a long row keeps its block: all the time there is, or none.
  const auto all = static_cast<int>(static_cast<std::int64_t>(m_blocks - upper) * schedule.grid.tiles_n /
                                    schedule.clusters);
  return turns <= all ? all + 2 : 0;
}

/// Takes the overlapped path if it has rows to normalize under the mainloop of later tiles.
constexpr bool plan_overlap(ForwardPlan& plan, const ForwardShape& shape) {
  const PolicySpec& spec = plan.policy;
  if (!can_overlap(spec) || !shape.y_by_tma || !overlaps_normalization(shape.batch, shape.out_features))
    return false;
  PersistentSchedule schedule = plan.persistent;
  const auto tasks = NormalizeTasks::of(shape.out_features, normalize_columns);
  if (const int turns = turns_to_normalize(spec, shape, schedule, tasks); turns > 0)
    schedule.split_last_band(turns);
  const auto overlap = OverlapSections::of(schedule, spec.tile.m, spec.cluster_m);
  if (overlap.count() == 0) return false;
  plan.persistent = schedule;
  plan.overlap = overlap;
  plan.tasks = tasks;
  return true;
}

/// Takes the path that any engine has: logits or sums go to memory.
template <Engine engine>
constexpr void plan_path(EngineConstant<engine>, ForwardPlan& plan, const ForwardShape& shape,
                         const DeviceLimits&) {
  plan.path = shape.mode == Mode::training ? Path::training : Path::logits;
}

constexpr void plan_path(EngineConstant<Engine::wgmma>, ForwardPlan& plan, const ForwardShape& shape,
                         const DeviceLimits& limits) {
  const PolicySpec& spec = plan.policy;
  refuse_beyond_tma(spec, shape);
  const ClusterGrid grid = cluster_grid(spec, shape);
  plan.cluster = spec.cluster_m;
  refuse_without_cluster(plan, limits);
  const int clusters = limits.resident_clusters(plan.cluster);
  plan.persistent = {grid, (std::min)(clusters, grid.size())};
  const bool narrow_softmax = size_of(shape.y) == 2 && shape.output == Output::softmax;
  const bool training = shape.mode == Mode::training;
  const bool resident_bits = narrow_softmax && (!training || trains_resident(spec, shape, grid));
  if (resident_bits) plan.resident = resident_schedule(spec, grid, clusters);
  plan.cooperative = plan.resident.columns != 0;
  if (training) {
    plan.path = plan.cooperative ? Path::resident_training
                : resident_bits  ? Path::two_pass_training
                                 : Path::training;
  } else if (!narrow_softmax) {
    plan.path = Path::logits;
  } else if (plan.cooperative) {
    plan.path = Path::resident;
  } else {
    plan.path = plan_overlap(plan, shape) ? Path::overlapped : Path::two_pass;
  }
}

constexpr void plan_path(EngineConstant<Engine::wgmma_swap_ab>, ForwardPlan& plan, const ForwardShape& shape,
                         const DeviceLimits& limits) {
  const PolicySpec& spec = plan.policy;
  refuse_beyond_tma(spec, shape);
  (void)cluster_grid(spec, shape);
  const std::int64_t tiles_n = ceil_div(shape.out_features, static_cast<std::int64_t>(spec.tile.n));
  if (shape.mode == Mode::training) {
    plan.path = Path::training;
  } else if (fits_one_cluster(spec, shape)) {
    plan.path = Path::one_cluster;
    plan.cluster = static_cast<int>(tiles_n);
  } else if (shape.output != Output::softmax || size_of(shape.y) != 2) {
    plan.path = Path::logits;
  } else if (keeps_quantized_logits(spec, shape)) {
    plan.path = Path::two_pass;
    plan.cluster = softmax_part_columns / spec.tile.n;
  } else {
    plan.path = Path::row_blocks;
  }
  refuse_without_cluster(plan, limits);
}

/// The kernels of a path, in order.
constexpr void add_kernels(ForwardPlan& plan) {
  const auto add = [&](auto... kernels) { (plan.add(kernels), ...); };
  if (is_packed(plan.policy.math_mode) && plan.policy.dtype != Dtype::e4m3) add("pack_operand");
  with_engine(plan.policy.engine, [&]<Engine engine>(EngineConstant<engine>) {
    using Traits = EngineTraits<engine>;
    switch (plan.path) {
      case Path::logits:
        return add(Traits::linear_kernel, "softmax");
      case Path::training:
        add(Traits::linear_kernel);
        if (!Traits::takes_moments) add("column_statistics");
        return add("batch_affine", "softmax");
      case Path::two_pass:
        return add(Traits::linear_kernel, "normalize");
      case Path::overlapped:
        return add("begin_overlap", "linear_overlapped", "normalize_rest");
      case Path::resident:
        return add("linear_resident");
      case Path::resident_training:
        return add("linear_training");
      case Path::two_pass_training:
        return add(Traits::linear_kernel, "batch_affine_sm90", "normalize_sums");
      case Path::one_cluster:
        return add(Traits::linear_kernel);
      case Path::row_blocks:
        return add(Traits::linear_kernel, "normalize_logits");
    }
  });
}

/// Leaves only the slots that the path uses.
constexpr void drop_unused_slots(ForwardPlan& plan) {
  ForwardWorkspace& w = plan.workspace;
  switch (plan.path) {
    case Path::logits:
    case Path::training:
    case Path::two_pass_training:
    case Path::row_blocks:
      w.partials = w.overlap = {};
      return;
    case Path::resident:
    case Path::two_pass:
      w.logits = w.overlap = {};
      return;
    case Path::overlapped:
      w.logits = {};
      return;
    case Path::resident_training:
      w.logits = w.overlap = w.multiplier = w.addend = w.center = {};
      return;
    case Path::one_cluster:
      return;
  }
}

}  // namespace detail

/// The plan of a pass over `shape` with `spec` on a device of these `limits`. In eval mode that is the plan
/// of the first most_rows_at_once rows; rows beyond are passes behind it. Throws Error where a size does not
/// fit in 63 bits, y has 2^30 tiles or more, TMA cannot address an operand that it would load, or the device
/// does not run one block of the policy.
constexpr ForwardPlan plan_forward(const PolicySpec& spec, ForwardShape shape, const DeviceLimits& limits) {
  if (shape.mode == Mode::eval) shape.batch = (std::min)(shape.batch, detail::most_rows_at_once);
  ForwardPlan plan;
  plan.policy = spec;
  plan.rows = shape.batch;
  plan.shared_bytes = detail::shared_bytes(spec);
  if (plan.shared_bytes > limits.shared_bytes_per_block) {
    detail::refuse_plan("policy", to_string(spec),
                        "needs " + std::to_string(plan.shared_bytes) +
                            " bytes of shared memory a block, this device has " +
                            std::to_string(limits.shared_bytes_per_block));
  }
  plan.workspace = detail::plan_workspace(spec, shape);
  detail::with_engine(spec.engine, [&]<Engine engine>(detail::EngineConstant<engine> constant) {
    detail::plan_path(constant, plan, shape, limits);
  });
  detail::add_kernels(plan);
  detail::drop_unused_slots(plan);
  return plan;
}

/// Prints policy, path, kernels, what the device must hold, and the workspace, a line each.
inline std::ostream& operator<<(std::ostream& out, const ForwardPlan& plan) {
  out << "policy     " << plan.policy << "\npath       " << plan.path << "\nkernels    ";
  for (int i = 0; i < plan.kernel_count; ++i) {
    out << (i == 0 ? "" : " -> ") << plan.kernels[static_cast<std::size_t>(i)];
  }
  out << "\ndevice     " << plan.shared_bytes << " bytes of shared memory per block, clusters of "
      << plan.cluster << (plan.cooperative ? ", all resident at once" : "") << "\nworkspace  "
      << plan.workspace.bytes << " bytes";
  const auto slot = [&](const char* name, const WorkspaceSlot& s) {
    if (s.bytes > 0) out << "\n  " << name << " at " << s.offset << ", " << s.bytes << " bytes";
  };
  const ForwardWorkspace& w = plan.workspace;
  slot("packed x", w.packed_x);
  slot("logits", w.logits);
  slot("softmax partials", w.partials);
  slot("overlap", w.overlap);
  slot("moments", w.moments);
  slot("multiplier", w.multiplier);
  slot("addend", w.addend);
  slot("center", w.center);
  return out << '\n';
}

namespace detail {

/// What a caller asks of a policy at most: kernels for more are not compiled.
struct ForwardUse {
  bool log_softmax = true;
  FeatureRange features = {};
};

/// Whether plan_forward can come to `path`, with y of dtype `y` in `mode`.
constexpr bool may_take(Path path, const PolicySpec& spec, Dtype y, Mode mode, const ForwardUse& use) {
  const bool narrow = size_of(y) == 2, training = mode == Mode::training, eval = !training;
  const bool wgmma = spec.engine == Engine::wgmma, swap_ab = spec.engine == Engine::wgmma_swap_ab;
  // Features of rows that never leave one cluster, unless their logarithm is asked for.
  const std::int64_t one_cluster = swap_ab ? sm90_swap_ab_layout(spec).cluster_features() : 0;
  switch (path) {
    case Path::logits:
      return eval && (!(wgmma || swap_ab) || use.log_softmax || (!narrow && use.features.most > one_cluster));
    case Path::training:
      return training;
    case Path::two_pass:
      return eval && narrow && (wgmma || (swap_ab && use.features.most > NormalizeLogits::columns));
    case Path::overlapped:
      return wgmma && eval && narrow && can_overlap(spec);
    case Path::resident:
      return wgmma && eval && narrow;
    case Path::resident_training:
    case Path::two_pass_training:
      return wgmma && training && narrow && y == spec.dtype && !is_packed(spec.math_mode) &&
             sm90_layout(spec).stashes_sums();
    case Path::one_cluster:
      return swap_ab && eval && use.features.least <= one_cluster;
    case Path::row_blocks:
      return swap_ab && eval && narrow && use.features.most > one_cluster;
  }
  return false;
}

}  // namespace detail

}  // namespace masthead::inline v0

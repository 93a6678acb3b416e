#pragma once
/// Launching the Hopper kernels: what they ask for, tensor maps, schedules, co-residency.

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "masthead/host/linear_softmax_cluster_sm90.cuh"
#include "masthead/kernel/finalise_sm90.cuh"
#include "masthead/kernel/linear_softmax_cooperative_sm90.cuh"
#include "masthead/kernel/linear_softmax_early_sm90.cuh"
#include "masthead/kernel/linear_softmax_sm90.cuh"
#include "masthead/kernel/linear_softmax_training_sm90.cuh"
#include "masthead/policy.hpp"

namespace masthead::inline v0 {

/// What TMA asks of the operands beyond `check(arguments, mode)`.
template <class T>
Reason check_sm90(const Matrix<const T>& x, const Matrix<const T>& weight) {
  if (Reason reason = check_tensor_map("x", x)) return reason;
  return check_tensor_map("weight", weight);
}

/// Whether a wgmma policy can run on `device` with the code at hand. Throws Error only for a broken context.
// A kernel body compiled for another target than sm_90a declares static shared memory.
template <class Policy>
Reason check_compiled_for_sm90a(const Device& device) {
  if (device.architecture != 90) {
    return Error("device.architecture", "sm_" + std::to_string(device.architecture),
                 "must be sm_90 for " + to_string(Policy::spec));
  }
  // A property of the code, the same on every sm_90: asked for once.
  static const std::size_t static_shared_bytes = [] {
    cudaFuncAttributes attributes{};
    require_success(cudaFuncGetAttributes(&attributes, sm90a_probe_kernel<>),
                    "cudaFuncGetAttributes(sm90a_probe_kernel)");
    return attributes.sharedSizeBytes;
  }();
  if (static_shared_bytes != 0) {
    return Error("policy", to_string(Policy::spec),
                 "must be compiled for sm_90a (-gencode=arch=compute_90a,code=sm_90a)");
  }
  return {};
}

/// Whether it is worth to finalise rows under the mainloop of later tiles. A small y is read again from L2 in
/// little time; with long rows W is read twice, which fewer rows do not hide.
// 4096 x 8192 -> 8192 with and without: 831 and 853 us, 1024 x 4096 -> 128256: 1768 and 1842.
constexpr bool finalises_early_sm90(std::int64_t batch, std::int64_t out_features) {
  constexpr std::int64_t elements = 24 << 20;
  return batch >=
         (FinaliseUnits::of(out_features, finalise_columns).whole_rows ? 1024 : elements / out_features);
}

/// Bytes of what finalising rows early needs: the progress of the sections and the folded affine.
constexpr std::int64_t early_bytes_sm90(std::int64_t out_features) {
  return EarlySections::most * static_cast<std::int64_t>(sizeof(SectionProgress)) +
         out_features * static_cast<std::int64_t>(sizeof(AffineColumn));
}

/// Bytes of the row statistics of a 16-bit y, and behind them of what finalising rows early needs; nothing
/// when they do not fit in 63 bits.
constexpr std::optional<std::int64_t> partials_bytes_sm90(const PolicySpec& spec, std::int64_t batch,
                                                          std::int64_t out_features) {
  const std::int64_t parts = spec.engine == Engine::wgmma_transposed
                                 ? transposed_parts(out_features) * (transposed_part_columns / 64)
                                 : ceil_div(out_features, spec.tile.n);
  const auto partials = checked_product(batch, parts, sizeof(RowPartial));
  if (!partials || spec.engine != Engine::wgmma || !finalises_early_sm90(batch, out_features))
    return partials;
  const std::int64_t early = early_bytes_sm90(out_features);
  if (*partials > INT64_MAX - early) return {};
  return *partials + early;
}

/// Parts that the moments of the columns of `batch` rows come in.
constexpr std::int64_t moment_splits_sm90(const PolicySpec& spec, std::int64_t batch) {
  return ceil_div(batch, spec.tile.m);
}

/// The launches of one forward pass on the Hopper engine. The arguments have been checked, check_sm90
/// included.
template <class Policy, class T>
class LinearSoftmaxSm90 {
  static constexpr PolicySpec spec = Policy::spec;
  static constexpr bool prepared = is_prepared(spec.product);

 public:
  /// x and the weight as the product multiplies them.
  using Operand = std::conditional_t<prepared, PreparedMatrix, Matrix<const T>>;

  /// Of `parameters` the vectors are read. Throws Error when the problem has more tiles than 31 bits count.
  LinearSoftmaxSm90(const Operand& x, const Operand& weight, const Parameters<T>& parameters,
                    const Device& device, cudaStream_t stream)
      : x_(x), weight_(weight), parameters_(parameters), stream_(stream), device_(device.ordinal) {
    const auto tiles = checked_product(ceil_div(x.rows, std::int64_t{spec.tile.m} * spec.cluster_m),
                                       ceil_div(parameters.out_features(), std::int64_t{spec.tile.n}));
    if (!tiles || *tiles >= std::int64_t{1} << 30) {
      throw Error("y.shape", detail::shape(x.rows, parameters.out_features()),
                  "must be fewer than 2^30 tiles of " + to_string(spec));
    }
    grid_ = ClusterGrid::of(x.rows, parameters.out_features(), spec.tile.m, spec.tile.n, spec.cluster_m);
  }

  /// Logits in log2 units in `y`.
  void logits(const Matrix<float>& y) const { general<Mode::eval>(params<PersistentSchedule>(y, nullptr)); }

  /// Training mode: x W^T in `y`, and the moments of its columns by tile, (moment_splits_sm90(...),
  /// out_features); counts the batch.
  void sums(const Matrix<float>& y, Moments<float>* moments, const BatchUpdate& update) const {
    auto p = params<PersistentSchedule>(y, nullptr);
    p.moments = moments;
    p.update = update;
    general<Mode::training>(p);
  }

  /// softmax in a 16-bit `y`: in one kernel that stores y once, where all tiles fit on the device at the same
  /// time, else in two, or three where rows are finalised early. The choice does not change a bit. `partials`
  /// holds partials_bytes_sm90(...) bytes.
  template <class U>
  void softmax(const Matrix<U>& y, RowPartial* partials) const {
    constexpr auto resident = &linear_softmax_cooperative_sm90_kernel<Policy, U>;
    if (const auto schedule = resident_schedule<resident>("linear_softmax_cooperative_sm90");
        schedule.columns != 0) {
      auto p = params<ResidentSchedule>(y, partials);
      p.schedule = schedule;
      launch_resident("linear_softmax_cooperative_sm90_kernel", resident, p);
      return;
    }
    if constexpr (finalises_early<U>) {
      if (finalises_early_sm90(y.rows, y.columns) && is_tensor_map(y)) {
        PersistentSchedule schedule = early_schedule<U>();
        const auto units = FinaliseUnits::of(y.columns, finalise_columns);
        if (const int turns = turns_to_finalise(y, schedule, units); turns > 0) {
          schedule.split_last_band(turns);
        }
        const auto early = EarlySections::of(schedule, spec.tile.m, spec.cluster_m);
        if (early.count() > 0) return softmax_early(y, partials, schedule, early, units);
      }
    }
    general<Mode::eval>(params<PersistentSchedule>(y, partials));
    launch("finalise_sm90_kernel", &finalise_sm90_kernel<Policy, U>,
           {.blocks = y.rows * finalise_blocks(y.columns),
            .block_threads = finalise_threads,
            .stream = stream_,
            .overlap_previous = true},
           FinaliseSm90Params<U>{y, partials, grid_.tiles_n});
  }

  /// Whether there is a kernel that finalises rows early.
  template <class U>
  static constexpr bool finalises_early = sizeof(U) == 2 && EarlyFinaliserSm90<spec.sm90(), U>::available;

  /// The tiles of y on all clusters of that kernel that the device holds at once.
  template <class U>
  PersistentSchedule early_schedule() const {
    constexpr auto kernel = &linear_softmax_early_sm90_kernel<Policy, U>;
    return {grid_, std::min(resident_clusters<kernel>("linear_softmax_early_sm90"), grid_.size())};
  }

  /// softmax in a 16-bit `y` that is a tensor map, in three kernels. The second finalises the `early` rows,
  /// the ones that `schedule` completes early: their second pass over memory takes no time of its own. That
  /// needs the first, and early_bytes_sm90(...) behind the partials.
  template <class U>
  void softmax_early(const Matrix<U>& y, RowPartial* partials, const PersistentSchedule& schedule,
                     const EarlySections& early, const FinaliseUnits& units) const {
    auto* const progress = reinterpret_cast<SectionProgress*>(partials + y.rows * grid_.tiles_n);
    auto* const affine = reinterpret_cast<AffineColumn*>(progress + EarlySections::most);
    launch("begin_sections_sm90_kernel", &begin_sections_sm90_kernel<T>,
           {.blocks = ceil_div(y.columns, begin_sections_threads),
            .block_threads = begin_sections_threads,
            .stream = stream_,
            .overlap_previous = true},
           BeginSectionsSm90Params<T>{parameters_, affine, progress, early.count()});
    auto p = params<PersistentSchedule>(y, partials);
    p.schedule = schedule;
    p.early = early;
    p.units = units;
    p.progress = progress;
    p.affine = affine;
    launch("linear_softmax_early_sm90_kernel", &linear_softmax_early_sm90_kernel<Policy, U>,
           config(schedule.clusters), p);
    launch("finalise_rest_sm90_kernel", &finalise_rest_sm90_kernel<Policy, U>,
           {.blocks = (y.rows - early.rows()) * units.blocks,
            .block_threads = finalise_threads,
            .stream = stream_,
            .overlap_previous = true},
           FinaliseSm90Params<U>{y, partials, grid_.tiles_n}, early, units,
           static_cast<const SectionProgress*>(progress));
  }

  /// Training mode's softmax in a 16-bit `y` in one kernel, where all tiles fit on the device at the same
  /// time and their sums on chip; else false, and nothing is done.
  bool softmax_training(const Matrix<T>& y, RowPartial* partials, ColumnMoment* moments,
                        const BatchUpdate& update) const {
    if constexpr (!spec.sm90().parks_sums()) {
      return false;
    } else {
      constexpr auto resident = &linear_softmax_training_sm90_kernel<Policy, T>;
      const auto schedule = resident_schedule<resident>("linear_softmax_training_sm90");
      if (schedule.columns == 0) return false;
      auto p = params<ResidentSchedule>(y, partials);
      p.schedule = schedule;
      p.tile_moments = moments;
      p.update = update;
      launch_resident("linear_softmax_training_sm90_kernel", resident, p);
      return true;
    }
  }

 private:
  /// Everything but the schedule.
  template <class Schedule, class U>
  LinearSoftmaxSm90Params<T, U, Schedule> params(const Matrix<U>& y, RowPartial* partials) const {
    LinearSoftmaxSm90Params<T, U, Schedule> p{};
    constexpr Sm90Layout layout = spec.sm90();
    if constexpr (prepared) {
      p.x = make_tensor_map("x", x_, spec.product, layout.parts(), spec.tile.m);
      p.w = make_tensor_map("weight", weight_, spec.product, 1, layout.w_slice_rows());
      p.x_scale = x_.scale;
      p.w_scale = weight_.scale;
    } else {
      p.x = make_tensor_map("x", x_, spec.tile.m, spec.product);
      p.w = make_tensor_map("weight", weight_, layout.w_slice_rows(), spec.product);
    }
    p.y.matrix = y;
    p.y.by_tma = is_tensor_map(y);
    if (p.y.by_tma) p.y.map = make_tensor_map("y", y, WgmmaFragment::warp_rows);
    p.parameters = parameters_;
    p.partials = partials;
    p.k_steps = static_cast<int>(ceil_div(x_.columns, spec.tile.k));
    return p;
  }

  /// columns = 0: the tiles do not fit, or two kernels are quicker.
  // A small y is read again from L2 in less time than a cooperative launch and its meeting take (128 x 1024
  // -> 512: 7.9 against 9.4 us, 1024 x 8192 -> 8192: 207.3 against 204.5 us).
  template <auto kernel>
  ResidentSchedule resident_schedule(const char* name) const {
    if (std::int64_t{grid_.size()} * spec.cluster_m * spec.tile.m * spec.tile.n < 4 << 20) return {grid_, 0};
    return ResidentSchedule::of(grid_, resident_clusters<kernel>(name), resident_tiles);
  }

  template <class Kernel, class Params>
  void launch_resident(const char* name, Kernel kernel, const Params& p) const {
    LaunchConfig cooperative = config(p.schedule.clusters());
    cooperative.cooperative = true;
    launch(name, kernel, cooperative, p);
  }

  /// Turns of the mainloop that the lower half of the last band takes after the rest, in which its upper half
  /// is finalised; 0: it is not.
  template <class U>
  int turns_to_finalise(const Matrix<U>& y, const PersistentSchedule& schedule,
                        const FinaliseUnits& units) const {
    constexpr std::int64_t bytes_a_step = 1280;  // that a block finalises while it multiplies a slice of k
    const int groups = (grid_.groups_m - 1) % schedule.raster_groups + 1, upper = (groups + 1) / 2;
    const std::int64_t rows = std::int64_t{upper} * spec.cluster_m * spec.tile.m,
                       blocks = std::int64_t{schedule.clusters} * spec.cluster_m;
    const auto turns = static_cast<int>(ceil_div(rows * y.columns * static_cast<std::int64_t>(sizeof(U)),
                                                 blocks * ceil_div(x_.columns, spec.tile.k) * bytes_a_step));
    if (!units.whole_rows) return turns;
    // A warp that is behind with a long row keeps its block: all the time there is, or none.
    const auto all = static_cast<int>(std::int64_t{groups - upper} * grid_.tiles_n / schedule.clusters);
    return turns <= all ? all + 2 : 0;
  }

  template <Mode mode, class U>
  void general(LinearSoftmaxSm90Params<T, U, PersistentSchedule> p) const {
    constexpr auto kernel = &linear_softmax_sm90_kernel<Policy, U, mode>;
    constexpr int shared_bytes = linear_softmax_sm90_layout<Policy, U>.shared_bytes();
    p.schedule = {grid_,
                  std::min(resident_clusters<kernel, shared_bytes>("linear_softmax_sm90"), grid_.size())};
    launch("linear_softmax_sm90_kernel", kernel, config(p.schedule.clusters, shared_bytes), p);
  }

  LaunchConfig config(int clusters, int shared_bytes = spec.shared_bytes()) const {
    return {.blocks = std::int64_t{clusters} * spec.cluster_m,
            .block_threads = spec.block_threads,
            .stream = stream_,
            .shared_bytes = shared_bytes,
            .cluster = spec.cluster_m,
            .overlap_previous = true};
  }

  /// Clusters of `kernel` that the current device (or MIG slice) runs at the same time. Throws Error when it
  /// does not run one.
  template <auto kernel, int shared_bytes = spec.shared_bytes()>
  int resident_clusters(const char* name) const {
    static PerDevice known;
    return static_cast<int>(known.get(device_, [&]() -> std::int64_t {
      allow_shared_bytes(name, kernel, shared_bytes);
      cudaLaunchAttribute attribute;
      attribute.id = cudaLaunchAttributeClusterDimension;
      attribute.val.clusterDim.x = static_cast<unsigned>(spec.cluster_m);
      attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
      cudaLaunchConfig_t config{};
      config.gridDim = dim3(static_cast<unsigned>(spec.cluster_m));
      config.blockDim = dim3(static_cast<unsigned>(spec.block_threads));
      config.dynamicSmemBytes = static_cast<std::size_t>(shared_bytes);
      config.attrs = &attribute;
      config.numAttrs = 1;
      int clusters = 0;
      require_success(cudaOccupancyMaxActiveClusters(&clusters, kernel, &config),
                      [&] { return std::string("cudaOccupancyMaxActiveClusters(") + name + ")"; });
      if (clusters == 0) {
        throw Error("policy", to_string(spec), "must fit on the device: it runs no cluster of this policy");
      }
      return clusters;
    }));
  }

  Operand x_, weight_;
  Parameters<T> parameters_;
  cudaStream_t stream_;
  int device_;
  ClusterGrid grid_{};
};

}  // namespace masthead::inline v0

#pragma once
/// Launching the transposed Hopper kernels.

#include <cstdint>

#include "masthead/host/tensor_map.cuh"
#include "masthead/kernel/finalise_logits_sm90.cuh"
#include "masthead/kernel/finalise_sm90.cuh"
#include "masthead/kernel/linear_softmax_cluster_sm90.cuh"
#include "masthead/policy.hpp"

namespace masthead::inline v0 {

/// Parts of a row that the transposed engine codes.
constexpr std::int64_t transposed_parts(std::int64_t out_features) {
  return ceil_div(out_features, transposed_part_columns);
}

/// The launches of one forward pass on the transposed Hopper engine. The arguments have been checked,
/// check_sm90 included.
template <class Policy, class T>
class LinearSoftmaxClusterSm90 {
  static constexpr PolicySpec spec = Policy::spec;
  static constexpr Sm90TransposedLayout layout = spec.sm90_transposed();

 public:
  /// Throws Error when the problem has more tiles than a grid has blocks.
  LinearSoftmaxClusterSm90(const Matrix<const T>& x, const Parameters<T>& parameters, cudaStream_t stream)
      : x_(x), parameters_(parameters), stream_(stream) {
    const std::int64_t groups = ceil_div(x.rows, spec.tile.m),
                       tiles_n = ceil_div(parameters.out_features(), spec.tile.n);
    const auto tiles = checked_product(groups, tiles_n);
    if (!tiles || *tiles >= std::int64_t{1} << 30) {
      throw Error("y.shape", detail::shape(x.rows, parameters.out_features()),
                  "must be fewer than 2^30 tiles of " + to_string(spec));
    }
    groups_ = static_cast<int>(groups);
    tiles_n_ = static_cast<int>(tiles_n);
  }

  /// Logits in log2 units in `y`.
  void logits(const Matrix<float>& y) const { run<ClusterEnd::logits>(y, Mode::eval, 1, tiles_n_, nullptr); }
  /// Training mode: x W^T in `y`.
  void sums(const Matrix<float>& y) const {
    run<ClusterEnd::logits>(y, Mode::training, 1, tiles_n_, nullptr);
  }

  /// softmax in `y`, in one kernel without a workspace, for rows of at most layout.cluster_features().
  template <class U>
  void softmax(const Matrix<U>& y) const {
    run<ClusterEnd::softmax>(y, Mode::eval, tiles_n_, tiles_n_, nullptr);
  }

  /// softmax in a 16-bit `y` of at most FinaliseLogits::columns, in two kernels: no blocks wait for others,
  /// as those of a cluster do, which also leaves multiprocessors idle. `logits_of_y` has y's shape.
  void softmax(const Matrix<T>& y, const Matrix<float>& logits_of_y) const {
    logits(logits_of_y);
    launch("finalise_logits_sm90_kernel",
           y.columns <= FinaliseLogits::columns / 2 ? &finalise_logits_sm90_kernel<T, 2>
                                                    : &finalise_logits_sm90_kernel<T, 4>,
           {.blocks = y.rows,
            .block_threads = FinaliseLogits::threads,
            .stream = stream_,
            .overlap_previous = true},
           FinaliseLogitsParams<T>{logits_of_y, y});
  }

  /// softmax in a 16-bit `y` of any width, in two kernels. `partials` holds partials_bytes_sm90(...) bytes.
  void softmax(const Matrix<T>& y, RowPartial* partials) const {
    constexpr int cluster = transposed_part_columns / spec.tile.n;
    const auto parts = static_cast<int>(transposed_parts(y.columns));
    run<ClusterEnd::codes>(y, Mode::eval, cluster, parts * cluster, partials);
    launch("finalise_sm90_kernel", &finalise_sm90_kernel<Policy, T>,
           {.blocks = y.rows * finalise_blocks(y.columns),
            .block_threads = finalise_threads,
            .stream = stream_,
            .overlap_previous = true},
           FinaliseSm90Params<T>{y, partials, parts});
  }

 private:
  template <ClusterEnd end, class U>
  void run(const Matrix<U>& y, Mode mode, int cluster, int tiles_n, RowPartial* partials) const {
    LinearSoftmaxClusterParams<T, U> p{};
    p.x = make_tensor_map("x", x_, spec.tile.m, spec.product);
    p.w = make_tensor_map("weight", parameters_.weight, spec.tile.n, spec.product);
    p.y = y;
    p.parameters = parameters_;
    p.partials = partials;
    p.mode = mode;
    p.k_steps = static_cast<int>(ceil_div(x_.columns, spec.tile.k));
    p.groups = groups_;
    p.tiles_n = tiles_n;
    launch("linear_softmax_cluster_sm90_kernel", &linear_softmax_cluster_sm90_kernel<Policy, end, U>,
           {.blocks = std::int64_t{groups_} * tiles_n,
            .block_threads = spec.block_threads,
            .stream = stream_,
            .shared_bytes = spec.shared_bytes(),
            .cluster = cluster,
            .overlap_previous = true},
           p);
  }

  Matrix<const T> x_;
  Parameters<T> parameters_;
  cudaStream_t stream_;
  int groups_, tiles_n_;
};

}  // namespace masthead::inline v0

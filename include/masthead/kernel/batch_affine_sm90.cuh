#pragma once
/// The second kernel of the two-pass training path: the affine of each feature, with the bits that the
/// resident training path gives.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "masthead/epilogue/batch_norm.cuh"
#include "masthead/numeric/softmax_state.hpp"
#include "masthead/policy/policy.hpp"
#include "masthead/ptx/grid_dependency.cuh"
#include "masthead/reduce/column_moments.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

inline constexpr int batch_affine_sm90_threads = 128;

/// Parameters of batch_affine_sm90_kernel.
template <class T>
struct BatchAffineSm90Params {
  Parameters<T> parameters;
  const Moments<float>* moments;  // (tiles of rows, out_features)
  int rows;                       // of the batch
  AffineColumn* affine;           // (out_features), out
  float* center;                  // (out_features), out
  BatchUpdate update;
};

/// Turns the moments of the tiles into the affine of the raw sums, and updates the running statistics. One
/// thread per feature. The sums are those of the resident training path, in its order.
template <class Policy>
__global__ void __launch_bounds__(batch_affine_sm90_threads) batch_affine_sm90_kernel(
    const __grid_constant__ BatchAffineSm90Params<DeviceElement<Policy::spec.dtype>> p) {
  // A tile's moments without their count, which follows from its place.
  static_assert(sizeof(Moments<float>) == 2 * sizeof(ColumnMoment) &&
                offsetof(Moments<float>, mean) == sizeof(ColumnMoment) &&
                offsetof(Moments<float>, m2) == sizeof(ColumnMoment) + sizeof(float));
  const std::int64_t n = std::int64_t{blockIdx.x} * batch_affine_sm90_threads + threadIdx.x,
                     features = p.parameters.weight.rows;
  ptx::grid_dependency_trigger();
  ptx::grid_dependency_wait();
  if (n >= features) return;
  const BatchSlope slope = BatchSlope::of(p.parameters, n);
  const ColumnMoment* tiles[] = {reinterpret_cast<const ColumnMoment*>(p.moments + n) + 1};
  Moments<double> total[1];
  batch_moments<Policy::spec.tile.m, 8>(tiles, 2 * features, p.rows, total);
  const RoundedAffine<float> affine =
      slope.template affine<float>(total[0], p.parameters.epsilon).template rounded<float>();
  p.affine[n] = {affine.multiplier, affine.addend};
  p.center[n] = affine.center;
  if (p.update.running_mean.data != nullptr) {
    update_running(p.update, p.parameters, n, total[0], p.update.factor(0));
  }
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

#pragma once
/// What the moments of a training batch give: the affine of each feature and its running statistics.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>
#include <type_traits>

#include "masthead/numeric/feature.cuh"
#include "masthead/numeric/moments.hpp"
#include "masthead/ptx/reciprocal.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// What a training batch updates.
struct BatchUpdate {
  MutableVector running_mean, running_var;
  double momentum;                // of the moving averages; negative: 1 / batches_tracked
  std::int64_t* batches_tracked;  // null, or the counter

  /// The momentum of this batch; `batches_tracked` still lacks `missing` (0 or 1) batches.
  __device__ double factor(int missing) const {
    return momentum < 0 ? 1.0 / static_cast<double>(*batches_tracked + missing) : momentum;
  }
};

/// What turns the moments of a batch into the affine of a feature's raw sums, in log4 units. The bias of the
/// linear layer shifts sum and mean alike and cancels.
struct BatchSlope {
  double multiplier;  ///< scale * gamma
  double addend;      ///< scale * beta

  template <class T>
  __device__ static BatchSlope of(const Parameters<T>& parameters, std::int64_t n) {
    const PendingElement gamma = PendingElement::load(parameters.gamma, n),
                         beta = PendingElement::load(parameters.beta, n),
                         scale = PendingElement::load(parameters.scale, n);
    const double factor = log4e * scale.value(1.0);
    return {factor * gamma.value(1.0), factor * beta.value(0.0)};
  }

  /// The affine of sums in `Sum`, whose moments over the batch are `batch`.
  template <class Sum>
  __device__ AffineTerms affine(const Moments<double>& batch, double epsilon) const {
    const double variance = batch.m2 * ptx::reciprocal(static_cast<Sum>(batch.count)),
                 slope = multiplier * inverse_root<Sum>(variance + epsilon);
    return {slope, addend - batch.mean * slope, batch.mean, 0, addend};
  }

 private:
  /// 1 / sqrt(value). Of a variance in float, one Newton step to 44 bits: the slow paths of a division and of
  /// a square root are calls, which spill what the caller holds.
  template <class Sum>
  __device__ static double inverse_root(double value) {
    if constexpr (std::is_same_v<Sum, double>) {
      return 1 / sqrt(value);
    } else {
      const double root = rsqrtf(static_cast<float>(value));
      const double better = fma(0.5 * root, fma(-value * root, root, 1.0), root);
      return isnan(better) ? root : better;  // of 0 and infinity
    }
  }
};

/// Moves the running statistics of feature n, which must be present, towards this batch's by `factor`.
template <class T>
__device__ void update_running(const BatchUpdate& update, const Parameters<T>& parameters, std::int64_t n,
                               const Moments<double>& batch, double factor) {
  const double bias = load_feature(parameters, n).bias;
  store_feature(
      update.running_mean, n,
      running_update(load_feature(ConstVector(update.running_mean), n, 0.0), batch.mean + bias, factor));
  store_feature(update.running_var, n,
                running_update(load_feature(ConstVector(update.running_var), n, 1.0),
                               batch.unbiased_variance(), factor));
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

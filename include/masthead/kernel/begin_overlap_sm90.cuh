#pragma once
/// The kernel ahead of the GEMM of the overlapped path.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/numeric/affine.hpp"
#include "masthead/numeric/feature.cuh"
#include "masthead/ptx/grid_dependency.cuh"
#include "masthead/tile/overlap_sections.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Parameters of begin_overlap_sm90_kernel.
template <class T>
struct BeginOverlapSm90Params {
  Parameters<T> parameters;
  AffineColumn* affine;       // (out_features), out
  float* center;              // (out_features), out
  SectionProgress* progress;  // (sections), out
  int sections;
};

inline constexpr int begin_overlap_threads = 128;

/// Zeroes the progress of the overlapped sections and folds the affine, for which the producers of the GEMM
/// then have no time. One thread per feature.
template <class T>
__global__ void __launch_bounds__(begin_overlap_threads)
    begin_overlap_sm90_kernel(const __grid_constant__ BeginOverlapSm90Params<T> p) {
  ptx::grid_dependency_trigger();
  ptx::grid_dependency_wait();
  const std::int64_t n = std::int64_t{blockIdx.x} * begin_overlap_threads + threadIdx.x;
  if (n < p.sections) p.progress[n] = {};
  if (n >= p.parameters.weight.rows) return;
  const auto affine = affine_terms(PendingFeature::load(p.parameters, n).value(), p.parameters.epsilon, log4e)
                          .template rounded<float>();
  p.affine[n] = {affine.multiplier, affine.addend};
  p.center[n] = affine.center;
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

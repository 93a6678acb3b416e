#pragma once
/// Which of the shipped policies a problem takes.

#include <cstdint>
#include <optional>

#include "masthead/policy/policy.hpp"

namespace masthead::inline v0 {

/// The policy `Head` runs (batch, in_features) -> out_features with on `architecture` (10 * major + minor).
/// `wgmma`: whether the code is compiled for sm_90a, and (bf16, fp16, tf32) x and the weight have addresses
/// and row strides that are multiples of 16 bytes. `training`: in training mode, where the wgmma engine takes
/// column statistics. fp8 has no other engine: its policy is the same everywhere.
///
/// Engines round differently, so the engine depends on everything but the batch, and so does the way a wgmma
/// engine gets from logits to softmax: exactly in one cluster, or by quantized logits relative to the integer
/// max of column parts of a fixed width. What else is left to the batch cannot change a result's bits: SIMT
/// policies sum every output in ascending k, and the wgmma engines agree where they quantize column parts of
/// 256 columns.
constexpr PolicySpec select_policy(Precision precision, int architecture, std::int64_t batch,
                                   std::int64_t in_features, std::int64_t out_features, bool wgmma = true,
                                   bool training = false) {
  const detail::PolicyProblem problem{.precision = precision,
                                      .architecture = architecture,
                                      .batch = batch,
                                      .in_features = in_features,
                                      .out_features = out_features,
                                      .wgmma = wgmma,
                                      .training = training};
  std::optional<PolicySpec> selected;
  for (const Engine engine : detail::engines) {
    if (selected) break;
    selected = detail::with_engine(engine, [&]<Engine e>(detail::EngineConstant<e>) {
      return detail::EngineTraits<e>::select(problem);
    });
  }
  return *selected;  // The SIMT engine takes every problem.
}

namespace detail {

/// The out_features that `select_policy` picks a policy for: paths of the policy that serve others need not
/// be compiled for a Head.
constexpr FeatureRange selected_features(const PolicySpec& policy) {
  return with_engine(policy.engine, [&]<Engine engine>(EngineConstant<engine>) {
    return EngineTraits<engine>::selected_features(policy);
  });
}

}  // namespace detail

}  // namespace masthead::inline v0

#pragma once
/// The cases' runners, which are instantiated in a source each: they compile many kernels.

#include <cuda_runtime.h>

#include "fingerprint/cases.hpp"
#include "fingerprint/outcome.hpp"
#include "masthead/core/dtype.hpp"
#include "masthead/core/precision.hpp"

namespace benchmark {

class Arena;

/// Runs a case of a head; head_<precision>.cu has the instance.
template <masthead::Precision precision>
Outcome run_head(const HeadCase& of, Arena& arena, cudaStream_t stream);

/// Runs a case of scale_softmax; softmax_<dtype of x>.cu has the instances.
template <masthead::Dtype x, masthead::Dtype y>
Outcome run_softmax(const SoftmaxCase& of, Arena& arena, cudaStream_t stream);

}  // namespace benchmark

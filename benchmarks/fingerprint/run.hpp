#pragma once
/// The cases' runners, which are instantiated in a source each: they compile many kernels.

#include <cuda_runtime.h>

#include "fingerprint/cases.hpp"
#include "fingerprint/outcome.hpp"
#include "masthead/dtype.hpp"

namespace benchmark {

class Arena;

/// Of head_<precision>.cu.
template <masthead::Precision precision>
Outcome run_head(const HeadCase& of, Arena& arena, cudaStream_t stream);

/// Of softmax_<dtype of x>.cu.
template <masthead::Dtype x, masthead::Dtype y>
Outcome run_softmax(const SoftmaxCase& of, Arena& arena, cudaStream_t stream);

}  // namespace benchmark

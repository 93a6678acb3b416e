#include "fingerprint/run_head.cuh"

namespace benchmark {

template Outcome run_head<masthead::Precision::fp32_ieee>(const HeadCase&, Arena&, cudaStream_t);

}  // namespace benchmark

#include "fingerprint/run_head.cuh"

namespace benchmark {

template Outcome run_head<masthead::Precision::tf32>(const HeadCase&, Arena&, cudaStream_t);

}  // namespace benchmark

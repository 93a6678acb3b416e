#include "fingerprint/run_softmax.cuh"

namespace benchmark {

template Outcome run_softmax<masthead::Dtype::f64, masthead::Dtype::f64>(const SoftmaxCase&, Arena&,
                                                                         cudaStream_t);

}  // namespace benchmark

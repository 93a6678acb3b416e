#include "fingerprint/run_softmax.cuh"

namespace benchmark {

template Outcome run_softmax<masthead::Dtype::f16, masthead::Dtype::f16>(const SoftmaxCase&, Arena&,
                                                                         cudaStream_t);
template Outcome run_softmax<masthead::Dtype::f16, masthead::Dtype::f32>(const SoftmaxCase&, Arena&,
                                                                         cudaStream_t);

}  // namespace benchmark

#include "softmax_of_sums.cuh"

namespace masthead {

template void detail::launch_selected_softmax(const SoftmaxParams<double, double>&, SoftmaxOnly,
                                              const Device&, cudaStream_t);

}  // namespace masthead

#include "softmax_of_sums.cuh"

namespace masthead {

template void detail::launch_selected_softmax(const detail::SoftmaxParams<float, __half>&, SoftmaxOnly,
                                              int architecture, cudaStream_t);

}  // namespace masthead

// Kernels whose launch bounds depend on the architecture: ptxas warns of bounds that it cannot hold, which is
// an error here.
#include "masthead/core/dtype.cuh"
#include "masthead/scale_softmax.cuh"

namespace masthead {

template void scale_softmax<Output::softmax>(const Matrix<const double>&, const ConstVector&,
                                             const Matrix<double>&, cudaStream_t);
template void scale_softmax<Output::softmax>(const Matrix<const float>&, const ConstVector&,
                                             const Matrix<float>&, cudaStream_t);
template void scale_softmax<Output::softmax>(const Matrix<const __nv_bfloat16>&, const ConstVector&,
                                             const Matrix<__nv_bfloat16>&, cudaStream_t);

}  // namespace masthead

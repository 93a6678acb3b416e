// Every kernel the library launches, by explicit instantiation of the entries that launch them, so that ptxas
// reports on each (ptxas_report.py) and every template body is compiled under PyTorch's macros.
#include "masthead/core/dtype.cuh"
#include "masthead/masthead.cuh"

namespace masthead {

template void scale_softmax(const Matrix<const double>&, const ConstVector&, const Matrix<double>&, Output,
                            cudaStream_t);
template void scale_softmax(const Matrix<const float>&, const ConstVector&, const Matrix<float>&, Output,
                            cudaStream_t);
template void scale_softmax(const Matrix<const __half>&, const ConstVector&, const Matrix<__half>&, Output,
                            cudaStream_t);
template void scale_softmax(const Matrix<const __half>&, const ConstVector&, const Matrix<float>&, Output,
                            cudaStream_t);
template void scale_softmax(const Matrix<const __nv_bfloat16>&, const ConstVector&,
                            const Matrix<__nv_bfloat16>&, Output, cudaStream_t);
template void scale_softmax(const Matrix<const __nv_bfloat16>&, const ConstVector&, const Matrix<float>&,
                            Output, cudaStream_t);

template void fold_batch_norm(const Parameters<double>&, const Matrix<double>&, const MutableVector&,
                              cudaStream_t);
template void fold_batch_norm(const Parameters<float>&, const Matrix<float>&, const MutableVector&,
                              cudaStream_t);
template void fold_batch_norm(const Parameters<__half>&, const Matrix<__half>&, const MutableVector&,
                              cudaStream_t);
template void fold_batch_norm(const Parameters<__nv_bfloat16>&, const Matrix<__nv_bfloat16>&,
                              const MutableVector&, cudaStream_t);

template class Head<Precision::fp64>;
template class Head<Precision::fp32_ieee>;
template class Head<Precision::fp32>;
template class Head<Precision::tf32>;
template class Head<Precision::fp16_scaled>;
template class Head<Precision::fp16>;
template class Head<Precision::bf16>;
template class Head<Precision::fp8>;

using ReadyPolicy = PolicyFor<detail::shipped_wgmma(MathMode::e4m3, Dtype::e4m3).m128>;
template void linear_batch_norm_softmax<ReadyPolicy>(const QuantizedArguments<__nv_bfloat16>&,
                                                     const Workspace&, cudaStream_t);
template void linear_batch_norm_softmax<ReadyPolicy>(const QuantizedArguments<float>&, const Workspace&,
                                                     cudaStream_t);
template void linear_batch_norm_softmax_training<ReadyPolicy>(const QuantizedArguments<__nv_bfloat16>&,
                                                              const RunningStatistics&, const Workspace&,
                                                              cudaStream_t);

}  // namespace masthead

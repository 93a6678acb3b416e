// Every kernel the library launches, by explicit instantiation of the entries that launch them, so that ptxas
// reports on each (ptxas_report.py) and every template body is compiled under PyTorch's macros.
#include "masthead/dtype.cuh"
#include "masthead/fold_batch_norm.cuh"
#include "masthead/head.cuh"
#include "masthead/softmax/scale_softmax.cuh"

namespace masthead::inline v0 {

template void scale_softmax(const Matrix<const double>&, const ConstVector&, const Matrix<double>&,
                            cudaStream_t, Output);
template void scale_softmax(const Matrix<const float>&, const ConstVector&, const Matrix<float>&,
                            cudaStream_t, Output);
template void scale_softmax(const Matrix<const __half>&, const ConstVector&, const Matrix<__half>&,
                            cudaStream_t, Output);
template void scale_softmax(const Matrix<const __half>&, const ConstVector&, const Matrix<float>&,
                            cudaStream_t, Output);
template void scale_softmax(const Matrix<const __nv_bfloat16>&, const ConstVector&,
                            const Matrix<__nv_bfloat16>&, cudaStream_t, Output);
template void scale_softmax(const Matrix<const __nv_bfloat16>&, const ConstVector&, const Matrix<float>&,
                            cudaStream_t, Output);

template void fold_batch_norm(const Parameters<double>&, const Matrix<double>&, const MutableVector&,
                              cudaStream_t);
template void fold_batch_norm(const Parameters<float>&, const Matrix<float>&, const MutableVector&,
                              cudaStream_t);
template void fold_batch_norm(const Parameters<__half>&, const Matrix<__half>&, const MutableVector&,
                              cudaStream_t);
template void fold_batch_norm(const Parameters<__nv_bfloat16>&, const Matrix<__nv_bfloat16>&,
                              const MutableVector&, cudaStream_t);

template void Head<Precision::fp64>::forward(const Matrix<const double>&, const Matrix<double>&,
                                             const Workspace&, cudaStream_t, Output) const;
template void Head<Precision::fp64>::forward_training(const Matrix<const double>&, const Matrix<double>&,
                                                      const RunningStatistics&, const Workspace&,
                                                      cudaStream_t, Output) const;
template void Head<Precision::fp32_ieee>::forward(const Matrix<const float>&, const Matrix<float>&,
                                                  const Workspace&, cudaStream_t, Output) const;
template void Head<Precision::fp32_ieee>::forward_training(const Matrix<const float>&, const Matrix<float>&,
                                                           const RunningStatistics&, const Workspace&,
                                                           cudaStream_t, Output) const;
template void Head<Precision::fp32>::forward(const Matrix<const float>&, const Matrix<float>&,
                                             const Workspace&, cudaStream_t, Output) const;
template void Head<Precision::fp32>::forward_training(const Matrix<const float>&, const Matrix<float>&,
                                                      const RunningStatistics&, const Workspace&,
                                                      cudaStream_t, Output) const;
template void Head<Precision::tf32>::forward(const Matrix<const float>&, const Matrix<float>&,
                                             const Workspace&, cudaStream_t, Output) const;
template void Head<Precision::tf32>::forward_training(const Matrix<const float>&, const Matrix<float>&,
                                                      const RunningStatistics&, const Workspace&,
                                                      cudaStream_t, Output) const;
template void Head<Precision::fp16_scaled>::forward(const Matrix<const float>&, const Matrix<float>&,
                                                    const Workspace&, cudaStream_t, Output) const;
template void Head<Precision::fp16_scaled>::forward_training(const Matrix<const float>&, const Matrix<float>&,
                                                             const RunningStatistics&, const Workspace&,
                                                             cudaStream_t, Output) const;
template void Head<Precision::fp16>::forward(const Matrix<const __half>&, const Matrix<__half>&,
                                             const Workspace&, cudaStream_t, Output) const;
template void Head<Precision::fp16>::forward_training(const Matrix<const __half>&, const Matrix<__half>&,
                                                      const RunningStatistics&, const Workspace&,
                                                      cudaStream_t, Output) const;
template void Head<Precision::fp16>::forward(const Matrix<const __half>&, const Matrix<float>&,
                                             const Workspace&, cudaStream_t, Output) const;
template void Head<Precision::fp16>::forward_training(const Matrix<const __half>&, const Matrix<float>&,
                                                      const RunningStatistics&, const Workspace&,
                                                      cudaStream_t, Output) const;
template void Head<Precision::bf16>::forward(const Matrix<const __nv_bfloat16>&, const Matrix<__nv_bfloat16>&,
                                             const Workspace&, cudaStream_t, Output) const;
template void Head<Precision::bf16>::forward_training(const Matrix<const __nv_bfloat16>&,
                                                      const Matrix<__nv_bfloat16>&, const RunningStatistics&,
                                                      const Workspace&, cudaStream_t, Output) const;
template void Head<Precision::bf16>::forward(const Matrix<const __nv_bfloat16>&, const Matrix<float>&,
                                             const Workspace&, cudaStream_t, Output) const;
template void Head<Precision::bf16>::forward_training(const Matrix<const __nv_bfloat16>&,
                                                      const Matrix<float>&, const RunningStatistics&,
                                                      const Workspace&, cudaStream_t, Output) const;

template void Head<Precision::fp8>::forward(const Matrix<const __nv_bfloat16>&, const Matrix<__nv_bfloat16>&,
                                            const Workspace&, cudaStream_t, Output) const;
template void Head<Precision::fp8>::forward_training(const Matrix<const __nv_bfloat16>&,
                                                     const Matrix<__nv_bfloat16>&, const RunningStatistics&,
                                                     const Workspace&, cudaStream_t, Output) const;
template void Head<Precision::fp8>::forward(const Matrix<const __nv_bfloat16>&, const Matrix<float>&,
                                            const Workspace&, cudaStream_t, Output) const;
template void Head<Precision::fp8>::forward_training(const Matrix<const __nv_bfloat16>&, const Matrix<float>&,
                                                     const RunningStatistics&, const Workspace&, cudaStream_t,
                                                     Output) const;

using ReadyPolicy = PolicyFor<shipped_product_policies(Product::e4m3, Dtype::e4m3).tall>;
template void linear_batch_norm_softmax<ReadyPolicy>(const QuantisedArguments<__nv_bfloat16>&,
                                                     const Workspace&, cudaStream_t);
template void linear_batch_norm_softmax<ReadyPolicy>(const QuantisedArguments<float>&, const Workspace&,
                                                     cudaStream_t);
template void linear_batch_norm_softmax_training<ReadyPolicy>(const QuantisedArguments<__nv_bfloat16>&,
                                                              const RunningStatistics&, const Workspace&,
                                                              cudaStream_t);

}  // namespace masthead::inline v0

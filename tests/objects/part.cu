// Compiled for several architectures by objects.py, each time to the same names: what the linker or the
// loader can confuse, it confuses.
#include "part.hpp"

#include <cuda_bf16.h>

#include "masthead/head.cuh"
#include "masthead/scale_softmax.cuh"

using namespace masthead;

namespace {

/// Managed memory that keeps `values` as T.
template <class T>
struct Memory {
  T* data = nullptr;

  explicit Memory(const std::vector<float>& values) {
    require_success(cudaMallocManaged(&data, values.size() * sizeof(T)), "cudaMallocManaged");
    for (std::size_t i = 0; i < values.size(); ++i) {
      if constexpr (sizeof(T) == 2) {
        data[i] = __float2bfloat16_rn(values[i]);
      } else {
        data[i] = values[i];
      }
    }
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() { cudaFree(data); }
};

}  // namespace

#if defined(PLANTED)
/// What objects.py must find: an inline function that names a kernel of the wgmma engine.
inline const void* planted() {
  return reinterpret_cast<const void*>(
      &detail::normalize_sm90_kernel<PolicyFor<detail::shipped_wgmma(MathMode::plain, Dtype::bf16).m128>,
                                     __nv_bfloat16>);
}
extern "C" const void* names_a_kernel() { return planted(); }
#else

extern "C" void run_part(PartRun& run) {
  int devices = 0;
  run.gpu = cudaGetDeviceCount(&devices) == cudaSuccess && devices > 0;
  if (!run.gpu) return;
  const std::vector<float> zeros(static_cast<std::size_t>(run.out_features)),
      ones(static_cast<std::size_t>(run.out_features), 1.0f);
  const Memory<__nv_bfloat16> x(run.x), weight(run.weight);
  const Memory<float> mean(zeros), var(ones), rows(run.rows), softmax(run.rows);
  const Memory<__nv_bfloat16> narrow(
      std::vector<float>(static_cast<std::size_t>(run.batch) * static_cast<std::size_t>(run.out_features)));
  cudaStream_t stream = nullptr;
  require_success(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  const Parameters<__nv_bfloat16> parameters{.weight = {weight.data, run.out_features, run.in_features},
                                             .running_mean = {mean.data, run.out_features},
                                             .running_var = {var.data, run.out_features},
                                             .epsilon = 0};
  const Head<Precision::bf16, HeadParts{.log_softmax = false}> head(parameters, stream);
  run.policy = to_string(head.policy(run.batch));
  for (int i = 0; i < 5; ++i) {
    head.forward({x.data, run.batch, run.in_features}, {narrow.data, run.batch, run.out_features}, stream);
  }
  scale_softmax<Output::softmax>(Matrix<const float>(rows.data, 2, run.columns), ConstVector{},
                                 Matrix<float>(softmax.data, 2, run.columns), stream);
  require_success(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  run.y.clear();
  for (std::size_t i = 0; i < run.x.size() / static_cast<std::size_t>(run.in_features) *
                                  static_cast<std::size_t>(run.out_features);
       ++i) {
    run.y.push_back(__bfloat162float(narrow.data[i]));
  }
  run.softmax.assign(softmax.data, softmax.data + run.rows.size());
  require_success(cudaStreamDestroy(stream), "cudaStreamDestroy");
}

extern "C" void fail_in_part() { require_success(cudaErrorInvalidValue, "a call"); }
#endif

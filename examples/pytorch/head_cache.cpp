#include "head_cache.hpp"

#include <ATen/ops/zeros.h>

#include <string>

#include "masthead/core/error.hpp"

namespace masthead_pytorch {

namespace mh = masthead;

namespace {

void succeed(cudaError_t status, const char* call) {
  if (status != cudaSuccess)
    throw mh::Error(call, cudaGetErrorName(status), cudaGetErrorString(status), status);
}

bool is_capturing(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  succeed(cudaStreamIsCapturing(stream, &status), "cudaStreamIsCapturing");
  return status != cudaStreamCaptureStatusNone;
}

bool same(const mh::ConstVector& a, const mh::ConstVector& b) {
  return a.data == b.data && a.dtype == b.dtype && a.size == b.size;
}
bool same(const InputMatrix& a, const InputMatrix& b) {
  return a.data == b.data && a.dtype == b.dtype && a.rows == b.rows && a.columns == b.columns &&
         a.row_stride == b.row_stride;
}

/// Elements that the starts of rows are a multiple of: 16 bytes where TMA reads the matrix itself.
std::int64_t alignment(mh::Precision precision) {
  const std::int64_t bytes = mh::size_of(mh::operand_dtype(precision));
  return bytes == 2 || precision == mh::Precision::tf32 ? 16 / bytes : 1;
}

}  // namespace

mh::Dtype dtype_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kDouble:
      return mh::Dtype::f64;
    case at::kFloat:
      return mh::Dtype::f32;
    case at::kHalf:
      return mh::Dtype::f16;
    case at::kBFloat16:
      return mh::Dtype::bf16;
    default:
      throw mh::Error("dtype", std::string(c10::toString(tensor.scalar_type())),
                      "must be float64, float32, float16 or bfloat16");
  }
}

bool is_readable(mh::Precision precision, const at::Tensor& matrix) {
  const std::int64_t elements = alignment(precision);
  return matrix.stride(1) == 1 && matrix.stride(0) >= matrix.size(1) && matrix.size(1) % elements == 0 &&
         matrix.stride(0) % elements == 0 &&
         matrix.stride(0) < (std::int64_t{1} << 40) / matrix.element_size() &&
         reinterpret_cast<std::uintptr_t>(matrix.const_data_ptr()) %
                 static_cast<std::uintptr_t>(elements * matrix.element_size()) ==
             0;
}

at::Tensor readable_copy(mh::Precision precision, const at::Tensor& matrix) {
  const std::int64_t elements = alignment(precision), columns = matrix.size(1);
  at::Tensor copy =
      at::zeros({matrix.size(0), (columns + elements - 1) / elements * elements}, matrix.options());
  copy.narrow(1, 0, columns).copy_(matrix);
  return copy;
}

InputMatrix input_matrix(const at::Tensor& matrix) {
  return {matrix.const_data_ptr(), dtype_of(matrix), matrix.size(0), matrix.size(1), matrix.stride(0)};
}

CachedHead::CachedHead(const HeadKey& key, const at::Tensor& weight, const HeadParameters& parameters,
                       cudaStream_t stream)
    : parameters_(parameters) {
  HeadParameters read = parameters;
  if (!is_readable(key.precision, weight)) {
    copy_ = readable_copy(key.precision, weight);
    read.weight = input_matrix(copy_);
  }
  const bool capturing = is_capturing(stream);
  head_ = make_head(key.precision, key.y, read, stream);
  if (copy_.defined() || head_->is_packed()) {
    succeed(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cudaEventCreateWithFlags");
    made(weight, stream, capturing);
  }
}

CachedHead::~CachedHead() {
  if (event_ != nullptr) cudaEventDestroy(event_);
}

bool CachedHead::matches(const HeadParameters& p) const {
  const HeadParameters& q = parameters_;
  return same(p.weight, q.weight) && same(p.bias, q.bias) && same(p.gamma, q.gamma) && same(p.beta, q.beta) &&
         same(p.running_mean, q.running_mean) && same(p.running_var, q.running_var) &&
         same(p.scale, q.scale) && p.epsilon == q.epsilon;
}

const AnyHead& CachedHead::current(const at::Tensor& weight, cudaStream_t stream, bool refresh) {
  if (event_ == nullptr) return *head_;
  const std::lock_guard lock(mutex_);
  const bool capturing = is_capturing(stream);
  const bool stale = made_by_graphs_ || !version_.counter || version_ != version_of(weight);
  if (stale || (capturing && refresh)) {
    if (copy_.defined()) copy_.narrow(1, 0, weight.size(1)).copy_(weight);
    head_->update(stream);
    made(weight, stream, capturing);
  } else if (stream != stream_ && !capturing) {
    succeed(cudaStreamWaitEvent(stream, event_), "cudaStreamWaitEvent");
  }
  return *head_;
}

void CachedHead::made(const at::Tensor& weight, cudaStream_t stream, bool capturing) {
  version_ = version_of(weight);
  made_by_graphs_ = made_by_graphs_ || capturing;
  stream_ = stream;
  if (!capturing) succeed(cudaEventRecord(event_, stream), "cudaEventRecord");
}

CachedHead::Version CachedHead::version_of(const at::Tensor& weight) {
  const std::int64_t epoch = HeadCache::instance().epoch();
  if (weight.is_inference()) return {std::nullopt, epoch};
  return {weight._version(), epoch};
}

HeadCache& HeadCache::instance() {
  static HeadCache& cache = *new HeadCache;
  return cache;
}

std::shared_ptr<CachedHead> HeadCache::find(const HeadKey& key, const at::Tensor& weight,
                                            const HeadParameters& parameters, cudaStream_t stream) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(key);
  if (found != entries_.end() && found->second.head->matches(parameters) &&
      found->second.storage._unsafe_get_target() == weight.storage().unsafeGetStorageImpl() &&
      !found->second.storage.expired()) {
    return found->second.head;
  }
  std::erase_if(entries_, [](const auto& entry) { return entry.second.storage.expired(); });
  auto head = std::make_shared<CachedHead>(key, weight, parameters, stream);
  entries_.insert_or_assign(key, Entry{weight.storage().getWeakStorageImpl(), head});
  return head;
}

void HeadCache::weights_changed() {
  ++epoch_;
  const std::lock_guard lock(mutex_);
  std::erase_if(entries_, [](const auto& entry) { return entry.second.storage.expired(); });
}

}  // namespace masthead_pytorch

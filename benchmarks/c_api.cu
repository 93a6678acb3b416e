/// The library behind C functions, for programs in other languages: benchmarks/*.py load it with ctypes.
///
/// Every function returns 0, or 1 with what went wrong in `error`, a buffer of `error_bytes` (cut to fit,
/// ends with a zero byte). Nothing synchronizes. dtypes are masthead::Dtype as numbers: 0 f64, 1 f32, 2 f16,
/// 3 bf16. Matrices are row-major without gaps, on the current device.

#include <algorithm>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>

#include "masthead/core/dtype.cuh"
#include "masthead/head.cuh"
#include "masthead/scale_softmax.cuh"

namespace mh = masthead;

// The types in the C functions' signatures: in an unnamed namespace they would hide those functions.

/// A Head of any precision.
struct AnyHead {
  virtual ~AnyHead() = default;
  virtual std::int64_t workspace_bytes(std::int64_t batch, mh::Mode mode) const = 0;
  virtual void forward(const void* x, void* y, std::int64_t batch, mh::Workspace workspace,
                       cudaStream_t stream) const = 0;
  virtual void forward_training(const void* x, void* y, std::int64_t batch,
                                const mh::RunningStatistics& running, mh::Workspace workspace,
                                cudaStream_t stream) const = 0;
};

/// What a head is made of. All vectors have out_features elements of `vector_dtype`, null ones are absent;
/// `scale` has one.
struct HeadDescription {
  std::int64_t in_features, out_features;
  const void *weight, *bias, *gamma, *beta, *running_mean, *running_var, *scale;
  double epsilon;
  int vector_dtype;
};

namespace {

void copy_text(const std::string& text, char* to, std::int64_t bytes) {
  if (bytes < 1) return;
  const std::size_t length = std::min(text.size(), static_cast<std::size_t>(bytes - 1));
  std::copy_n(text.begin(), length, to);
  to[length] = '\0';
}

/// Runs `body`; an exception must not cross into C.
template <class Body>
int guarded(char* error, std::int64_t error_bytes, const Body& body) {
  try {
    body();
    return 0;
  } catch (const std::exception& exception) {
    copy_text(exception.what(), error, error_bytes);
  } catch (...) {
    copy_text("unknown exception", error, error_bytes);
  }
  return 1;
}

/// Calls body.operator()<dtype>() for the dtype with this number.
template <class Body>
void with_dtype(int dtype, const Body& body) {
  switch (dtype) {
    case 0:
      return body.template operator()<mh::Dtype::f64>();
    case 1:
      return body.template operator()<mh::Dtype::f32>();
    case 2:
      return body.template operator()<mh::Dtype::f16>();
    case 3:
      return body.template operator()<mh::Dtype::bf16>();
    default:
      throw mh::Error("dtype", dtype, "must be 0 (f64), 1 (f32), 2 (f16) or 3 (bf16)");
  }
}

template <mh::Precision P>
class TypedHead : public AnyHead {
 public:
  using Element = mh::DeviceElement<mh::operand_dtype(P)>;

  TypedHead(const mh::Parameters<Element>& parameters, cudaStream_t stream)
      : in_features_(parameters.in_features()),
        out_features_(parameters.out_features()),
        head_(parameters, stream) {}

  std::int64_t workspace_bytes(std::int64_t batch, mh::Mode mode) const override {
    return head_.workspace_bytes(batch, {.mode = mode});
  }
  void forward(const void* x, void* y, std::int64_t batch, mh::Workspace workspace,
               cudaStream_t stream) const override {
    head_.forward(input(x, batch), output(y, batch), {.workspace = workspace}, stream);
  }
  void forward_training(const void* x, void* y, std::int64_t batch, const mh::RunningStatistics& running,
                        mh::Workspace workspace, cudaStream_t stream) const override {
    head_.forward_training(input(x, batch), output(y, batch), {.workspace = workspace, .running = running},
                           stream);
  }

 private:
  mh::Matrix<const Element> input(const void* x, std::int64_t batch) const {
    return {static_cast<const Element*>(x), batch, in_features_};
  }
  mh::Matrix<Element> output(void* y, std::int64_t batch) const {
    return {static_cast<Element*>(y), batch, out_features_};
  }

  std::int64_t in_features_, out_features_;
  mh::Head<P> head_;
};

mh::ConstVector vector(const void* data, int dtype, std::int64_t size) {
  return data == nullptr ? mh::ConstVector() : mh::ConstVector(data, static_cast<mh::Dtype>(dtype), size);
}

template <mh::Precision P>
std::unique_ptr<AnyHead> make_head(const HeadDescription& d, cudaStream_t stream) {
  using Element = typename TypedHead<P>::Element;
  const std::int64_t n = d.out_features;
  const int dtype = d.vector_dtype;
  return std::make_unique<TypedHead<P>>(
      mh::Parameters<Element>{.weight = {static_cast<const Element*>(d.weight), n, d.in_features},
                              .bias = vector(d.bias, dtype, n),
                              .gamma = vector(d.gamma, dtype, n),
                              .beta = vector(d.beta, dtype, n),
                              .running_mean = vector(d.running_mean, dtype, n),
                              .running_var = vector(d.running_var, dtype, n),
                              .scale = vector(d.scale, dtype, 1),
                              .epsilon = d.epsilon},
      stream);
}

}  // namespace

extern "C" {

/// y = softmax(scale * x, dim=1). x, y: (rows, columns) of `dtype`; scale: one element of it, or null for 1.
int masthead_scale_softmax(int dtype, const void* x, const void* scale, void* y, std::int64_t rows,
                           std::int64_t columns, cudaStream_t stream, char* error, std::int64_t error_bytes) {
  return guarded(error, error_bytes, [&] {
    with_dtype(dtype, [&]<mh::Dtype D>() {
      using T = mh::DeviceElement<D>;
      mh::scale_softmax(mh::Matrix<const T>(static_cast<const T*>(x), rows, columns), vector(scale, dtype, 1),
                        mh::Matrix<T>(static_cast<T*>(y), rows, columns), stream);
    });
  });
}

/// Makes a head in `*head`, of the default precision of `dtype`; masthead_head_destroy ends it. The tensors
/// stay the caller's and must outlive it.
int masthead_head_create(int dtype, const HeadDescription* description, cudaStream_t stream, AnyHead** head,
                         char* error, std::int64_t error_bytes) {
  return guarded(error, error_bytes, [&] {
    with_dtype(dtype, [&]<mh::Dtype D>() {
      using enum mh::Dtype;
      constexpr mh::Precision precision = D == f64   ? mh::Precision::fp64
                                          : D == f32 ? mh::Precision::fp32
                                          : D == f16 ? mh::Precision::fp16
                                                     : mh::Precision::bf16;
      *head = make_head<precision>(*description, stream).release();
    });
  });
}

/// Bytes of workspace a pass of this batch needs, in `*bytes`.
int masthead_head_workspace_bytes(const AnyHead* head, std::int64_t batch, bool training, std::int64_t* bytes,
                                  char* error, std::int64_t error_bytes) {
  return guarded(error, error_bytes, [&] {
    *bytes = head->workspace_bytes(batch, training ? mh::Mode::training : mh::Mode::eval);
  });
}

/// Eval mode. x: (batch, in_features), y: (batch, out_features) of the head's dtype.
int masthead_head_forward(const AnyHead* head, const void* x, void* y, std::int64_t batch, void* workspace,
                          std::int64_t workspace_bytes, cudaStream_t stream, char* error,
                          std::int64_t error_bytes) {
  return guarded(error, error_bytes, [&] {
    head->forward(x, y, batch, {workspace, workspace_bytes}, stream);
  });
}

/// Training mode; updates running_mean and running_var, out_features elements of `vector_dtype` each.
int masthead_head_forward_training(const AnyHead* head, const void* x, void* y, std::int64_t batch,
                                   void* running_mean, void* running_var, int vector_dtype,
                                   std::int64_t out_features, double momentum, void* workspace,
                                   std::int64_t workspace_bytes, cudaStream_t stream, char* error,
                                   std::int64_t error_bytes) {
  return guarded(error, error_bytes, [&] {
    const auto dtype = static_cast<mh::Dtype>(vector_dtype);
    const mh::RunningStatistics running{.mean = {running_mean, dtype, out_features},
                                        .var = {running_var, dtype, out_features},
                                        .momentum = momentum};
    head->forward_training(x, y, batch, running, {workspace, workspace_bytes}, stream);
  });
}

void masthead_head_destroy(AnyHead* head) { delete head; }

}  // extern "C"

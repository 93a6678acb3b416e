/// The head on a GPU, through masthead::Head.

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "backend.hpp"
#include "masthead/core/dtype.cuh"
#include "masthead/head.cuh"
#include "plan.hpp"

namespace model_head {
namespace {

using masthead::require_success;

class Stream {
 public:
  Stream() {
    require_success(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  }
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  operator cudaStream_t() const { return stream_; }
  void synchronize() const { require_success(cudaStreamSynchronize(stream_), "cudaStreamSynchronize"); }

 private:
  cudaStream_t stream_ = nullptr;
};

class Event {
 public:
  Event() { require_success(cudaEventCreate(&event_), "cudaEventCreate"); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(cudaStream_t stream) const {
    require_success(cudaEventRecord(event_, stream), "cudaEventRecord");
  }

  /// Milliseconds on the device from `start` to this event, once it is reached.
  double since(const Event& start) const {
    float milliseconds = 0;
    require_success(cudaEventSynchronize(event_), "cudaEventSynchronize");
    require_success(cudaEventElapsedTime(&milliseconds, start.event_, event_), "cudaEventElapsedTime");
    return milliseconds;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

/// Elements in device memory.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::size_t size) : size_(size) {
    require_success(cudaMalloc(&data_, size * sizeof(T)), "cudaMalloc");
  }

  /// A copy of `values`, whose type is `T` or its twin without CUDA; done when this returns.
  template <class Host>
  DeviceArray(const std::vector<Host>& values, const Stream& stream) : DeviceArray(values.size()) {
    static_assert(sizeof(Host) == sizeof(T));
    require_success(cudaMemcpyAsync(data_, values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice, stream),
                    "cudaMemcpyAsync");
    stream.synchronize();
  }

  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::int64_t size() const { return static_cast<std::int64_t>(size_); }

  /// `count` elements from `first` on.
  std::vector<T> read(std::int64_t first, std::int64_t count, const Stream& stream) const {
    std::vector<T> values(static_cast<std::size_t>(count));
    require_success(cudaMemcpyAsync(values.data(), data_ + first, values.size() * sizeof(T),
                                    cudaMemcpyDeviceToHost, stream),
                    "cudaMemcpyAsync");
    stream.synchronize();
    return values;
  }

 private:
  T* data_ = nullptr;
  std::size_t size_;
};

std::string device_name() {
  int device = 0;
  cudaDeviceProp properties{};
  require_success(cudaGetDevice(&device), "cudaGetDevice");
  require_success(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  return std::string(properties.name) + ", sm_" + std::to_string(properties.major) +
         std::to_string(properties.minor);
}

template <masthead::Precision precision>
class DeviceBackend final : public Backend {
  static constexpr masthead::Dtype dtype = masthead::operand_dtype(precision);
  using Element = masthead::DeviceElement<dtype>;
  using HostElement = masthead::HostElement<dtype>;
  using Result = masthead::Accumulator<Element>;

 public:
  DeviceBackend(const Problem& problem, const Settings& settings)
      : shape_(problem.shape),
        settings_(settings),
        x_(to_elements<HostElement>(problem.x), stream_),
        weight_(to_elements<HostElement>(problem.weight), stream_),
        bias_(problem.bias, stream_),
        gamma_(problem.gamma, stream_),
        beta_(problem.beta, stream_),
        mean_(problem.running_mean, stream_),
        var_(problem.running_var, stream_),
        scale_(problem.scale, stream_),
        y_(static_cast<std::size_t>(shape_.batch * shape_.out_features)),
        head_(parameters(problem.epsilon), stream_),
        workspace_(static_cast<std::size_t>(head_.workspace_bytes(
            {x_.data(), shape_.batch, shape_.in_features},
            {.mode = settings.mode, .output = settings.output, .y = masthead::dtype_of<Result>}))) {}

  std::string device() const override { return device_name(); }

  std::string policy() const override { return to_string(head_.policy(shape_.batch)); }

  double forward() override {
    const masthead::Matrix<const Element> x(x_.data(), shape_.batch, shape_.in_features);
    const masthead::Matrix<Result> y(y_.data(), shape_.batch, shape_.out_features);
    masthead::ForwardOptions options{.output = settings_.output,
                                     .workspace = masthead::Workspace{workspace_.data(), workspace_.size()}};
    start_.record(stream_);
    if (settings_.mode == masthead::Mode::eval) {
      head_.forward(x, y, options, stream_);
    } else {
      options.running = {.mean = {mean_.data(), mean_.size()}, .var = {var_.data(), var_.size()}};
      head_.forward_training(x, y, options, stream_);
    }
    stop_.record(stream_);
    return stop_.since(start_);
  }

  std::vector<double> read_rows(const std::vector<std::int64_t>& rows) const override {
    std::vector<double> values;
    for (const std::int64_t row : rows) {
      const std::vector<Result> y = y_.read(row * shape_.out_features, shape_.out_features, stream_);
      values.insert(values.end(), y.begin(), y.end());
    }
    return values;
  }

  Statistics read_running() const override {
    return {mean_.read(0, mean_.size(), stream_), var_.read(0, var_.size(), stream_)};
  }

 private:
  masthead::Parameters<Element> parameters(double epsilon) const {
    return {.weight = {weight_.data(), shape_.out_features, shape_.in_features},
            .bias = {bias_.data(), bias_.size()},
            .gamma = {gamma_.data(), gamma_.size()},
            .beta = {beta_.data(), beta_.size()},
            .running_mean = {mean_.data(), mean_.size()},
            .running_var = {var_.data(), var_.size()},
            .scale = {scale_.data(), scale_.size()},
            .epsilon = epsilon};
  }

  Shape shape_;
  Settings settings_;
  Stream stream_;
  Event start_, stop_;
  DeviceArray<Element> x_, weight_;
  DeviceArray<float> bias_, gamma_, beta_, mean_, var_, scale_;
  DeviceArray<Result> y_;
  masthead::Head<precision> head_;
  DeviceArray<std::byte> workspace_;
};

/// The plan of a head whose parameters are memory that nothing was written to: it depends on no value.
template <masthead::Precision precision>
masthead::ForwardPlan plan_of_head(const Shape& shape, const Settings& settings, masthead::Dtype y) {
  using Element = typename masthead::Head<precision>::Element;
  const Stream stream;
  const DeviceArray<Element> x(static_cast<std::size_t>(shape.batch * shape.in_features));
  const DeviceArray<Element> weight(static_cast<std::size_t>(shape.out_features * shape.in_features));
  const DeviceArray<float> vector(static_cast<std::size_t>(shape.out_features));
  const masthead::Head<precision> head({.weight = {weight.data(), shape.out_features, shape.in_features},
                                        .running_mean = {vector.data(), vector.size()},
                                        .running_var = {vector.data(), vector.size()}},
                                       stream);
  return head.plan({x.data(), shape.batch, shape.in_features},
                   {.mode = settings.mode, .output = settings.output, .y = y}, is_whole_vectors(shape, y));
}

}  // namespace

std::optional<std::string> why_no_gpu() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) return cudaGetErrorString(status);
  if (count == 0) return "no CUDA device";
  return {};
}

std::unique_ptr<Backend> make_device_backend(const Problem& problem, const Settings& settings) {
  return make_backend<DeviceBackend>(problem, settings);
}

Planner gpu_planner(const Shape& shape, const Settings& settings) {
  return {device_name(), [shape, settings](masthead::Dtype y) {
            return with_precision(settings.precision, [&]<masthead::Precision precision>() {
              return plan_of_head<precision>(shape, settings, y);
            });
          }};
}

}  // namespace model_head

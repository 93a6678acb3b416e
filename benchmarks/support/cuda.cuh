#pragma once
/// The check of every CUDA call, and owners of device memory, events and streams.

#include <cuda_runtime.h>

#include <cstdint>
#include <source_location>
#include <stdexcept>
#include <string>
#include <utility>

namespace benchmark {

/// Throws with the place of the call unless `code` is success.
inline void succeed(cudaError_t code, std::source_location where = std::source_location::current()) {
  if (code == cudaSuccess) return;
  throw std::runtime_error(std::string(where.file_name()) + ":" + std::to_string(where.line()) + ": " +
                           cudaGetErrorName(code) + ": " + cudaGetErrorString(code));
}

/// Device memory of `size` elements, freed with its owner. Not initialized.
template <class T>
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  explicit DeviceBuffer(std::int64_t size) : size_(size) {
    succeed(cudaMalloc(reinterpret_cast<void**>(&data_), static_cast<std::size_t>(bytes())));
  }
  DeviceBuffer(DeviceBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  DeviceBuffer& operator=(DeviceBuffer other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~DeviceBuffer() { (void)cudaFree(data_); }

  T* data() const { return data_; }
  std::int64_t size() const { return size_; }
  std::int64_t bytes() const { return size_ * static_cast<std::int64_t>(sizeof(T)); }

 private:
  T* data_ = nullptr;
  std::int64_t size_ = 0;
};

class Stream {
 public:
  Stream() { succeed(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() { (void)cudaStreamDestroy(stream_); }
  operator cudaStream_t() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

class Event {
 public:
  Event() { succeed(cudaEventCreate(&event_)); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() { (void)cudaEventDestroy(event_); }
  void record(cudaStream_t stream) { succeed(cudaEventRecord(event_, stream)); }

  /// Time from `start` to this event, once this one has happened. Synchronizes with it.
  double microseconds_since(const Event& start) const {
    float milliseconds = 0;
    succeed(cudaEventSynchronize(event_));
    succeed(cudaEventElapsedTime(&milliseconds, start.event_, event_));
    return 1e3 * milliseconds;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

/// One-dimensional launch of a kernel that takes exactly `arguments`.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), std::int64_t blocks, int threads, cudaStream_t stream,
            Arguments... arguments) {
  cudaLaunchConfig_t configuration = {};
  configuration.gridDim = dim3(static_cast<unsigned>(blocks));
  configuration.blockDim = dim3(static_cast<unsigned>(threads));
  configuration.stream = stream;
  succeed(cudaLaunchKernelEx(&configuration, kernel, static_cast<Parameters>(arguments)...));
}

inline int device_attribute(cudaDeviceAttr attribute) {
  int device = 0, value = 0;
  succeed(cudaGetDevice(&device));
  succeed(cudaDeviceGetAttribute(&value, attribute, device));
  return value;
}

inline bool has_device() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
}

}  // namespace benchmark

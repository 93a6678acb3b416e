#pragma once
/// Launching kernels and asking the device, with errors that carry values.

#include <cuda_runtime.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

#include "masthead/checks.hpp"
#include "masthead/host/driver.cuh"

namespace masthead::inline v0 {

/// A positive number per device that never changes while the process lives, asked for once by whoever comes
/// first; two that come at once both ask, and get the same.
class PerDevice {
 public:
  template <class Ask>
  std::int64_t get(int ordinal, const Ask& ask) {
    if (ordinal >= static_cast<int>(known_.size())) return ask();
    std::atomic<std::int64_t>& known = known_[static_cast<std::size_t>(ordinal)];
    std::int64_t value = known.load(std::memory_order_relaxed);
    if (value == 0) known.store(value = ask(), std::memory_order_relaxed);
    return value;
  }

 private:
  std::array<std::atomic<std::int64_t>, 64> known_{};
};

/// What entries need to know of the current device.
struct Device {
  int ordinal;
  int architecture;          ///< 10 * major + minor of the compute capability
  int max_shared_per_block;  ///< bytes, with opt-in
  bool capturing;            ///< the stream of the call is being captured into a graph

  /// Throws Error when there is no current device, or one older than sm_75.
  static Device current(cudaStream_t stream) {
    Device device{};
    cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
    require_success(cudaStreamIsCapturing(stream, &capture), "cudaStreamIsCapturing(stream)");
    device.capturing = capture != cudaStreamCaptureStatusNone;
    require_success(cudaGetDevice(&device.ordinal), "cudaGetDevice()");
    const auto get = [&](cudaDeviceAttr attribute) {
      int value = 0;
      require_success(cudaDeviceGetAttribute(&value, attribute, device.ordinal),
                      [&] { return "cudaDeviceGetAttribute(" + std::to_string(attribute) + ")"; });
      return value;
    };
    static PerDevice architecture, shared;
    device.architecture = static_cast<int>(architecture.get(device.ordinal, [&] {
      return 10 * get(cudaDevAttrComputeCapabilityMajor) + get(cudaDevAttrComputeCapabilityMinor);
    }));
    device.max_shared_per_block = static_cast<int>(
        shared.get(device.ordinal, [&] { return get(cudaDevAttrMaxSharedMemoryPerBlockOptin); }));
    if (device.architecture < 75) {
      throw Error("device.architecture", "sm_" + std::to_string(device.architecture),
                  "must be at least sm_75");
    }
    return device;
  }
};

/// Nothing when `pointer` can be dereferenced by kernels on `device`; null is no pointer and passes.
inline Reason check_device_pointer(const char* argument, const void* pointer, const Device& device) {
  if (pointer == nullptr) return {};
  cudaPointerAttributes attributes{};
  require_success(cudaPointerGetAttributes(&attributes, pointer),
                  [&] { return std::string("cudaPointerGetAttributes(") + argument + ")"; });
  if (attributes.type == cudaMemoryTypeUnregistered && device.capturing) {
    return {};  // memory that the graph allocates itself has an address, but no attributes yet
  }
  const auto name = [&] { return std::string(argument); };
  if (attributes.type == cudaMemoryTypeUnregistered || attributes.devicePointer == nullptr) {
    return Error(name() + ".data", detail::address(pointer),
                 "must be device memory, is pageable host memory");
  }
  if (attributes.type == cudaMemoryTypeDevice && attributes.device != device.ordinal) {
    return Error(name() + ".data", "memory of device " + std::to_string(attributes.device),
                 "must be memory of the current device, " + std::to_string(device.ordinal));
  }
  return {};
}

template <class T>
Reason check_device_pointers(const Parameters<T>& p, const Device& device) {
  if (Reason reason = check_device_pointer("weight", p.weight.data, device)) return reason;
  if (Reason reason = check_device_pointer("bias", p.bias.data, device)) return reason;
  if (Reason reason = check_device_pointer("gamma", p.gamma.data, device)) return reason;
  if (Reason reason = check_device_pointer("beta", p.beta.data, device)) return reason;
  if (Reason reason = check_device_pointer("running_mean", p.running_mean.data, device)) return reason;
  if (Reason reason = check_device_pointer("running_var", p.running_var.data, device)) return reason;
  return check_device_pointer("scale", p.scale.data, device);
}

/// The shape of a launch on `stream`.
struct LaunchConfig {
  std::int64_t blocks;
  int block_threads;
  cudaStream_t stream;
  int shared_bytes = 0;  ///< dynamic
  int cluster = 1;       ///< blocks a cluster; more than 1 needs sm_90
  bool overlap_previous =
      false;                 ///< programmatic dependent launch: the kernel calls ptx::grid_dependency_wait
  bool cooperative = false;  ///< all blocks at the same time, or the launch is refused
};

/// Launches `kernel` and throws Error if the launch is refused. A pending error of the caller's neither fails
/// it nor is cleared: the code thrown is that of this launch alone. Never synchronises.
template <class... Params>
void launch(const char* name, void (*kernel)(Params...), const LaunchConfig& config,
            const Params&... params) {
  if (config.blocks > 2147483647) {
    throw Error(std::string(name) + ".blocks", config.blocks, "a grid holds at most 2^31 - 1 blocks");
  }
  allow_shared_bytes(name, kernel, config.shared_bytes);
  cudaLaunchAttribute attributes[3];
  unsigned count = 0;
  if (config.cluster > 1) {
    attributes[count].id = cudaLaunchAttributeClusterDimension;
    attributes[count].val.clusterDim.x = static_cast<unsigned>(config.cluster);
    attributes[count].val.clusterDim.y = 1;
    attributes[count++].val.clusterDim.z = 1;
  }
  if (config.overlap_previous) {
    attributes[count].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[count++].val.programmaticStreamSerializationAllowed = 1;
  }
  if (config.cooperative) {
    attributes[count].id = cudaLaunchAttributeCooperative;
    attributes[count++].val.cooperative = 1;
  }
  cudaLaunchConfig_t launch_config{};
  launch_config.gridDim = dim3(static_cast<unsigned>(config.blocks));
  launch_config.blockDim = dim3(static_cast<unsigned>(config.block_threads));
  launch_config.dynamicSmemBytes = static_cast<std::size_t>(config.shared_bytes);
  launch_config.stream = config.stream;
  launch_config.attrs = attributes;
  launch_config.numAttrs = count;
  require_success(cudaLaunchKernelEx(&launch_config, kernel, Params(params)...), [&] {
    return std::string(name) + "<<<" + std::to_string(config.blocks) + ", " +
           std::to_string(config.block_threads) + ", " + std::to_string(config.shared_bytes) + ">>>";
  });
}

/// A stream-ordered allocation for one call: freed, in stream order, when it leaves the scope.
class StreamBuffer {
 public:
  /// Throws Error if the memory is not to be had; zero bytes allocate nothing.
  StreamBuffer(std::int64_t bytes, cudaStream_t stream) : stream_(stream), bytes_(bytes) {
    if (bytes > 0) {
      require_success(cudaMallocAsync(&data_, static_cast<std::size_t>(bytes), stream),
                      [&] { return "cudaMallocAsync(" + std::to_string(bytes) + " bytes)"; });
    }
  }
  StreamBuffer(const StreamBuffer&) = delete;
  StreamBuffer& operator=(const StreamBuffer&) = delete;
  ~StreamBuffer() {
    if (data_ != nullptr) cudaFreeAsync(data_, stream_);
  }

  Workspace workspace() const { return {data_, bytes_}; }

 private:
  cudaStream_t stream_;
  std::int64_t bytes_;
  void* data_ = nullptr;
};

}  // namespace masthead::inline v0

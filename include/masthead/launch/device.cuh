#pragma once
/// What entries need to know of the device, and whether pointers are its memory.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cuda_runtime.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

#include "masthead/core/checks.hpp"
#include "masthead/kernel/probe_sm90a.cuh"
#include "masthead/launch/driver.cuh"
#include "masthead/plan/forward_plan.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

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
  bool capturing;  ///< the stream of the call is being captured into a graph
  DeviceLimits limits;

  /// The device that is current, for a call on `stream`. Throws Error when there is none, or one older than
  /// sm_75.
  static Device current(cudaStream_t stream) {
    Device device{};
    cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
    require_success(cudaStreamIsCapturing(stream, &capture), "cudaStreamIsCapturing(stream)");
    device.capturing = capture != cudaStreamCaptureStatusNone;
    require_success(cudaGetDevice(&device.ordinal), "cudaGetDevice()");
    const int ordinal = device.ordinal;
    static PerDevice architecture, shared, multiprocessors;
    DeviceLimits& limits = device.limits;
    limits.architecture = static_cast<int>(architecture.get(ordinal, [&] {
      return 10 * attribute(cudaDevAttrComputeCapabilityMajor, ordinal) +
             attribute(cudaDevAttrComputeCapabilityMinor, ordinal);
    }));
    limits.shared_bytes_per_block = static_cast<int>(
        shared.get(ordinal, [&] { return attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, ordinal); }));
    limits.multiprocessors = static_cast<int>(
        multiprocessors.get(ordinal, [&] { return attribute(cudaDevAttrMultiProcessorCount, ordinal); }));
    if (limits.architecture < 75) {
      throw Error("device.architecture", "sm_" + std::to_string(limits.architecture),
                  "must be at least sm_75");
    }
    if (limits.architecture == 90) {
      static PerDevice clusters[4];
      for (int i = 0; i < 4; ++i) {
        limits.clusters[static_cast<std::size_t>(i)] = static_cast<int>(clusters[i].get(
            ordinal, [&] { return resident_clusters(1 << i, limits.shared_bytes_per_block); }));
      }
    }
    return device;
  }

 private:
  static int attribute(cudaDeviceAttr attribute, int ordinal) {
    int value = 0;
    require_success(cudaDeviceGetAttribute(&value, attribute, ordinal),
                    [&] { return "cudaDeviceGetAttribute(" + std::to_string(attribute) + ")"; });
    return value;
  }

  /// Clusters of `size` blocks that the device (or MIG slice) holds at once, of blocks that take all of a
  /// multiprocessor's shared memory.
  static int resident_clusters(int size, int shared_bytes) {
    allow_shared_bytes("sm90a_probe_kernel", &sm90a_probe_kernel<>, shared_bytes - 1024);
    cudaLaunchAttribute attribute;
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim.x = static_cast<unsigned>(size);
    attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(static_cast<unsigned>(size));
    config.blockDim = dim3(384);
    config.dynamicSmemBytes = static_cast<std::size_t>(shared_bytes - 1024);
    config.attrs = &attribute;
    config.numAttrs = 1;
    int clusters = 0;
    require_success(cudaOccupancyMaxActiveClusters(&clusters, &sm90a_probe_kernel<>, &config),
                    [&] { return "cudaOccupancyMaxActiveClusters(" + std::to_string(size) + " blocks)"; });
    return clusters;
  }
};

/// Checks a pointer: nothing when `pointer` can be dereferenced by kernels on `device`; null is no pointer
/// and passes.
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
    return Error(name() + ".data", address(pointer), "must be device memory, is pageable host memory");
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

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

#pragma once
/// What entries need to know of the device, and whether pointers are its memory.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "masthead/core/checks.hpp"
#include "masthead/kernel/probe_sm90a.cuh"
#include "masthead/launch/compiled_code.cuh"
#include "masthead/launch/context.cuh"
#include "masthead/launch/driver.cuh"
#include "masthead/plan/forward_plan.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

struct Device;

template <int = 0>
static Device device_of(cudaStream_t stream);

/// What entries need to know of the current device.
struct Device {
  int ordinal = 0;
  bool capturing = false;  ///< the stream of the call is being captured into a graph
  DeviceLimits limits;     ///< of the context that the stream belongs to
  /// 10 * major + minor: the features that the kernels of this object use on the device, which are fewer than
  /// it has where they come from PTX of an older architecture.
  int code_architecture = 0;
  bool compiled_for_sm90a = false;  ///< kernels of the wgmma engines have a body

  /// What row-wise kernels are planned for: less than sm_90 where the context runs no cluster of as many
  /// blocks as may share a row. Long rows are then streamed by one block, and their last bits may differ.
  int row_architecture() const {
    return limits.resident_clusters(8) > 0 ? code_architecture : (std::min)(code_architecture, 89);
  }

  /// The device that is current, for a call on `stream`. Throws Error when there is none, or one older than
  /// sm_75, or this object has no code for it.
  MASTHEAD_THIS_OBJECT static Device current(cudaStream_t stream);
};

inline int device_attribute(cudaDeviceAttr attribute, int ordinal) {
  int value = 0;
  require_success(cudaDeviceGetAttribute(&value, attribute, ordinal),
                  [&] { return "cudaDeviceGetAttribute(" + std::to_string(attribute) + ")"; });
  return value;
}

/// Clusters of `size` blocks that the context of `stream` holds at once, of blocks that take all of a
/// multiprocessor's shared memory.
template <int = 0>
static int resident_clusters(int size, int shared_bytes, cudaStream_t stream) {
  allow_shared_bytes("sm90a_probe_kernel", &sm90a_probe_kernel<>, shared_bytes - 1024);
  cudaLaunchAttribute attribute;
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim.x = static_cast<unsigned>(size);
  attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(size));
  config.blockDim = dim3(384);
  config.dynamicSmemBytes = static_cast<std::size_t>(shared_bytes - 1024);
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  int clusters = 0;
  require_success(cudaOccupancyMaxActiveClusters(&clusters, &sm90a_probe_kernel<>, &config),
                  [&] { return "cudaOccupancyMaxActiveClusters(" + std::to_string(size) + " blocks)"; });
  return clusters;
}

/// Asks for the limits of the context that `stream` belongs to, on the current device.
// The occupancy may be that of the whole device: no more clusters than the context's multiprocessors hold are
// counted.
template <int = 0>
static DeviceLimits ask_limits(int ordinal, const StreamContext& context, const CompiledCode& code,
                               cudaStream_t stream) {
  DeviceLimits limits;
  limits.architecture = 10 * device_attribute(cudaDevAttrComputeCapabilityMajor, ordinal) +
                        device_attribute(cudaDevAttrComputeCapabilityMinor, ordinal);
  limits.shared_bytes_per_block = device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, ordinal);
  limits.multiprocessors =
      multiprocessors_of(context, device_attribute(cudaDevAttrMultiProcessorCount, ordinal));
  if (limits.architecture != 90 || code.architecture < 90) return limits;
  for (int i = 0; i < 4; ++i) {
    limits.clusters[static_cast<std::size_t>(i)] = (std::min)(
        resident_clusters(1 << i, limits.shared_bytes_per_block, stream), limits.multiprocessors >> i);
  }
  return limits;
}

/// The device that is current, for a call on `stream`.
// Static, as the probe kernel's answers are those of this object.
template <int>
static Device device_of(cudaStream_t stream) {
  Device device;
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  require_success(cudaStreamIsCapturing(stream, &capture), "cudaStreamIsCapturing(stream)");
  device.capturing = capture != cudaStreamCaptureStatusNone;
  require_success(cudaGetDevice(&device.ordinal), "cudaGetDevice()");
  const CompiledCode code = compiled_code(device.ordinal);
  const StreamContext context = context_of(stream);
  static PerContext<DeviceLimits> limits;
  device.limits =
      limits.get(device.ordinal, context, [&] { return ask_limits(device.ordinal, context, code, stream); });
  device.code_architecture = (std::min)(code.architecture, device.limits.architecture);
  device.compiled_for_sm90a = code.for_sm90a;
  if (device.limits.architecture < 75) {
    throw Error("device.architecture", "sm_" + std::to_string(device.limits.architecture),
                "must be at least sm_75");
  }
  return device;
}

MASTHEAD_THIS_OBJECT Device Device::current(cudaStream_t stream) { return device_of(stream); }

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

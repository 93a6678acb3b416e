#pragma once
/// The packed weight, in memory of its own.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cuda.h>
#include <cudaTypedefs.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "masthead/launch/pack_operand.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// Bytes of a packed operand. Throws Error when they do not fit in 63 bits.
inline std::int64_t packed_bytes(const std::string& name, const PackedLayout& layout) {
  const auto bytes = layout.bytes();
  if (!bytes) {
    throw Error(name, shape_text(layout.rows, layout.columns),
                "the size in bytes of its packed form must fit in 63 bits");
  }
  return *bytes;
}

/// Functions of the driver that give stream-ordered memory back. Those of the runtime would leave an error
/// pending that no caller made, where the process ends.
struct FreeFunctions {
  PFN_cuMemFreeAsync_v11020 free_async = driver_function<PFN_cuMemFreeAsync_v11020>("cuMemFreeAsync", 11020);
  PFN_cuCtxSynchronize_v2000 synchronize =
      driver_function<PFN_cuCtxSynchronize_v2000>("cuCtxSynchronize", 2000);

  static const FreeFunctions& get() {
    static const FreeFunctions functions;
    return functions;
  }
};

/// Gives `memory` of device `ordinal` back, once the device's work is done. Where the driver is gone, so is
/// the memory. FreeFunctions::get() has been called before.
// The stream that the memory was made on may have been destroyed, and any call with its handle, even one that
// asks whether it exists, is undefined (CUDA 13.0 follows a dangling pointer). So no order of streams is to
// be had, and the destructor waits, as cudaFree does. A capture of another stream goes on meanwhile.
inline void give_back(void* memory, int ordinal) noexcept {
  const FreeFunctions& driver = FreeFunctions::get();
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  const bool exchanged = cudaThreadExchangeStreamCaptureMode(&mode) == cudaSuccess;
  int current = -1;
  const bool other = cudaGetDevice(&current) == cudaSuccess && current != ordinal;
  if (other) cudaSetDevice(ordinal);
  CUresult done = driver.synchronize();
  if (done == CUDA_ERROR_INVALID_CONTEXT && cudaSetDevice(ordinal) == cudaSuccess) {
    done = driver.synchronize();  // no context was current in this thread yet
  }
  if (done == CUDA_SUCCESS) driver.free_async(reinterpret_cast<CUdeviceptr>(memory), CU_STREAM_PER_THREAD);
  if (other) cudaSetDevice(current);
  if (exchanged) cudaThreadExchangeStreamCaptureMode(&mode);
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES

namespace masthead::inline v0::inline MASTHEAD_ARCHITECTURES {

/// Owns a stream-ordered allocation that holds a weight packed for a math mode; move-only, and empty once it
/// has been moved from. The destructor waits for the device's work, on whatever stream, and gives the memory
/// back; the stream that it was made on may have been destroyed before.
class PackedWeight {
 public:
  /// A PackedWeight that owns nothing.
  PackedWeight() = default;

  /// Queues allocation and packing of `weight` on `stream`. Throws Error if the memory is not to be had, and
  /// during capture: memory that a graph allocates lives and dies with a launch of it.
  template <MathMode math_mode, class T>
  static PackedWeight of(const Matrix<T>& weight, const detail::Device& device, cudaStream_t stream) {
    if (device.capturing) {
      throw Error("stream", "being captured", "must not be: a Head that packs its weight keeps the memory");
    }
    (void)detail::FreeFunctions::get();
    PackedWeight packed;
    packed.layout_ = {math_mode, weight.rows, weight.columns};
    packed.ordinal_ = device.ordinal;
    const std::int64_t bytes = detail::packed_bytes("weight", packed.layout_);
    require_success(cudaMallocAsync(&packed.memory_, static_cast<std::size_t>(bytes), stream),
                    "cudaMallocAsync(" + std::to_string(bytes) + " bytes)");
    packed.update<math_mode>(weight, stream);
    return packed;
  }
  PackedWeight(PackedWeight&& other) noexcept
      : layout_(other.layout_), ordinal_(other.ordinal_), memory_(std::exchange(other.memory_, nullptr)) {}
  PackedWeight& operator=(PackedWeight&& other) noexcept {
    if (this == &other) return *this;
    const PackedWeight old = (std::move)(*this);
    layout_ = other.layout_;
    ordinal_ = other.ordinal_;
    memory_ = std::exchange(other.memory_, nullptr);
    return *this;
  }
  ~PackedWeight() {
    if (memory_ != nullptr) detail::give_back(memory_, ordinal_);
  }

  /// Queues the packing of `weight` anew. Can be captured. Throws Error when it owns nothing.
  template <MathMode math_mode, class T>
  void update(const Matrix<T>& weight, cudaStream_t stream) {
    if (memory_ == nullptr) {
      throw Error("packed weight", "none", "must be made, and not be moved from, before it is updated");
    }
    detail::pack_operand<math_mode>(Matrix<const T>(weight), view(), nullptr, stream);
  }

  detail::PackedMatrix view() const { return layout_.at(memory_); }

 private:
  detail::PackedLayout layout_{};
  int ordinal_ = 0;
  void* memory_ = nullptr;
};

}  // namespace masthead::inline v0::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

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
/// pending that no caller made, where the stream is gone or the process ends.
struct FreeFunctions {
  PFN_cuMemFreeAsync_v11020 free_async = driver_function<PFN_cuMemFreeAsync_v11020>("cuMemFreeAsync", 11020);
  PFN_cuMemFree_v3020 free = driver_function<PFN_cuMemFree_v3020>("cuMemFree", 3020);
  PFN_cuCtxSynchronize_v2000 synchronize =
      driver_function<PFN_cuCtxSynchronize_v2000>("cuCtxSynchronize", 2000);

  static const FreeFunctions& get() {
    static const FreeFunctions functions;
    return functions;
  }
};

/// Gives `memory` back in the order of `stream`. Where the stream has been destroyed, waits for the context's
/// work: that of the stream may still read the memory. Where the driver is gone, so is the memory.
/// FreeFunctions::get() has been called before.
inline void give_back(void* memory, cudaStream_t stream) noexcept {
  const FreeFunctions& driver = FreeFunctions::get();
  const auto address = reinterpret_cast<CUdeviceptr>(memory);
  const CUresult freed = driver.free_async(address, stream);
  if (freed == CUDA_SUCCESS || freed == CUDA_ERROR_DEINITIALIZED) return;
  if (freed == CUDA_ERROR_INVALID_CONTEXT && cudaFreeAsync(memory, stream) == cudaSuccess) {
    return;  // no context was current in this thread: the runtime makes one so
  }
  if (driver.synchronize() == CUDA_SUCCESS) driver.free(address);
}

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES

namespace masthead::inline v0::inline MASTHEAD_ARCHITECTURES {

/// Owns a stream-ordered allocation that holds a weight packed for a math mode; move-only, and empty once it
/// has been moved from. The memory is given back in the order of the stream it was made on: work on other
/// streams must be done with it. Where that stream has been destroyed by then, the destructor waits for the
/// current context's work.
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
    packed.stream_ = stream;
    const std::int64_t bytes = detail::packed_bytes("weight", packed.layout_);
    require_success(cudaMallocAsync(&packed.memory_, static_cast<std::size_t>(bytes), stream),
                    "cudaMallocAsync(" + std::to_string(bytes) + " bytes)");
    packed.update<math_mode>(weight, stream);
    return packed;
  }
  PackedWeight(PackedWeight&& other) noexcept
      : layout_(other.layout_), stream_(other.stream_), memory_(std::exchange(other.memory_, nullptr)) {}
  PackedWeight& operator=(PackedWeight&& other) noexcept {
    if (this == &other) return *this;
    const PackedWeight old = (std::move)(*this);
    layout_ = other.layout_;
    stream_ = other.stream_;
    memory_ = std::exchange(other.memory_, nullptr);
    return *this;
  }
  ~PackedWeight() {
    if (memory_ != nullptr) detail::give_back(memory_, stream_);
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
  cudaStream_t stream_ = nullptr;
  void* memory_ = nullptr;
};

}  // namespace masthead::inline v0::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

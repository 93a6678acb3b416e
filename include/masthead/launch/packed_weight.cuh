#pragma once
/// The packed weight, in memory of its own.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

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

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES

namespace masthead::inline v0::inline MASTHEAD_ARCHITECTURES {

/// Owns a stream-ordered allocation that holds a weight packed for a math mode; move-only. The memory is
/// given back in the order of the stream it was made on, which must still exist then: work on other streams
/// must be done with it.
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
    std::swap(layout_, other.layout_);
    std::swap(stream_, other.stream_);
    std::swap(memory_, other.memory_);
    return *this;
  }
  ~PackedWeight() {
    if (memory_ != nullptr) cudaFreeAsync(memory_, stream_);
  }

  /// Queues the packing of `weight` anew. Can be captured.
  template <MathMode math_mode, class T>
  void update(const Matrix<T>& weight, cudaStream_t stream) {
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

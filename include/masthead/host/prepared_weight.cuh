#pragma once
/// The weight in the form a product multiplies, in memory of its own.

#include <string>
#include <utility>

#include "masthead/host/prepare_operand.cuh"

namespace masthead::inline v0 {

/// Bytes of a prepared operand. Throws Error when they do not fit in 63 bits.
inline std::int64_t prepared_bytes(const std::string& name, const PreparedLayout& layout) {
  const auto bytes = layout.bytes();
  if (!bytes) {
    throw Error(name, detail::shape(layout.rows, layout.columns),
                "the size in bytes of its prepared form must fit in 63 bits");
  }
  return *bytes;
}

/// Owns a stream-ordered allocation that holds `weight` prepared for `product`; move-only. The memory is
/// given back in the order of the stream it was made on, which must still exist then: work on other streams
/// must be done with it.
class PreparedWeight {
 public:
  /// Owns nothing.
  PreparedWeight() = default;

  /// Queues allocation and preparation. Throws Error if the memory is not to be had, and during capture:
  /// memory that a graph allocates lives and dies with a launch of it.
  template <Product product, class T>
  static PreparedWeight of(const Matrix<const T>& weight, const Device& device, cudaStream_t stream) {
    if (device.capturing) {
      throw Error("stream", "being captured",
                  "must not be: a Head that prepares its weight keeps the memory");
    }
    PreparedWeight prepared;
    prepared.layout_ = {product, weight.rows, weight.columns};
    prepared.stream_ = stream;
    const std::int64_t bytes = prepared_bytes("weight", prepared.layout_);
    require_success(cudaMallocAsync(&prepared.memory_, static_cast<std::size_t>(bytes), stream),
                    "cudaMallocAsync(" + std::to_string(bytes) + " bytes)");
    prepared.update<product>(weight, stream);
    return prepared;
  }
  PreparedWeight(PreparedWeight&& other) noexcept
      : layout_(other.layout_), stream_(other.stream_), memory_(std::exchange(other.memory_, nullptr)) {}
  PreparedWeight& operator=(PreparedWeight&& other) noexcept {
    std::swap(layout_, other.layout_);
    std::swap(stream_, other.stream_);
    std::swap(memory_, other.memory_);
    return *this;
  }
  ~PreparedWeight() {
    if (memory_ != nullptr) cudaFreeAsync(memory_, stream_);
  }

  /// Queues the preparation anew. Capturable.
  template <Product product, class T>
  void update(const Matrix<const T>& weight, cudaStream_t stream) {
    prepare_operand<product>(weight, view(), nullptr, stream);
  }

  PreparedMatrix view() const { return layout_.at(memory_); }

 private:
  PreparedLayout layout_{};
  cudaStream_t stream_ = nullptr;
  void* memory_ = nullptr;
};

}  // namespace masthead::inline v0

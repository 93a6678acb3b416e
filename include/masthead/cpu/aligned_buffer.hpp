#pragma once
/// Uninitialized memory of the CPU entries' own.

#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>

#include "masthead/core/config.hpp"

namespace masthead::inline v0::cpu {

/// Memory for `size` elements, aligned to 256 bytes, as a Workspace must be. Throws std::bad_alloc.
template <class T>
class AlignedBuffer {
  static_assert(std::is_trivial_v<T>);

 public:
  explicit AlignedBuffer(std::int64_t size)
      : data_(static_cast<T*>(::operator new(static_cast<std::size_t>(size) * sizeof(T), alignment))) {}
  ~AlignedBuffer() { ::operator delete(data_, alignment); }

  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;

  T* data() const { return data_; }

 private:
  static constexpr std::align_val_t alignment{256};
  T* data_;
};

}  // namespace masthead::inline v0::cpu

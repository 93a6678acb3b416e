#pragma once
/// Stream-ordered memory of a call.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cuda_runtime.h>

#include <cstdint>
#include <string>

#include "masthead/core/parameters.hpp"
#include "masthead/launch/driver.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// A stream-ordered allocation for one call: freed, in stream order, when it leaves the scope.
class StreamBuffer {
 public:
  /// Allocates `bytes` on `stream`; zero bytes allocate nothing. Throws Error if the memory is not to be had.
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

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

#pragma once
/// Memory, streams and switches of the device tests.

#include <cuda_runtime.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "compare.hpp"
#include "masthead/core/dtype.cuh"
#include "problem.hpp"

namespace test {

inline bool variable_is(const char* variable, std::string_view wanted) {
  const char* value = std::getenv(variable);
  return value != nullptr && value == wanted;
}
/// MASTHEAD_TEST_SMALL=1: a tenth of the work, for tools that slow a program down.
inline bool small_sizes() { return variable_is("MASTHEAD_TEST_SMALL", "1"); }
/// MASTHEAD_TEST_TOOL=initcheck: compute-sanitizer's, which does not see what TMA stores write.
inline bool under_initcheck() { return variable_is("MASTHEAD_TEST_TOOL", "initcheck"); }
/// MASTHEAD_TEST_TOOL=racecheck: compute-sanitizer's, which loses track of launches from several host
/// threads.
inline bool under_racecheck() { return variable_is("MASTHEAD_TEST_TOOL", "racecheck"); }

/// What random cases start from: MASTHEAD_TEST_SEED, or a number of our own.
inline std::uint64_t seed() {
  const char* value = std::getenv("MASTHEAD_TEST_SEED");
  return value != nullptr ? std::strtoull(value, nullptr, 0) : 20260;
}

/// doctest cannot skip at run time: a test that cannot run here says so, and returns.
inline void skip(const std::string& reason) {
  std::printf("SKIPPED: %s\n", reason.c_str());
  MESSAGE("SKIPPED: " << reason);
}

/// For the CUDA calls of the tests themselves.
inline void succeed(cudaError_t status) {
  if (status != cudaSuccess) throw std::runtime_error(cudaGetErrorString(status));
}

/// A stream that does not wait for the default stream, nor it for this one.
class Stream {
 public:
  Stream() { succeed(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() { cudaStreamDestroy(stream_); }

  operator cudaStream_t() const { return stream_; }
  void synchronize() const { succeed(cudaStreamSynchronize(stream_)); }

 private:
  cudaStream_t stream_ = nullptr;
};

/// Device memory. Copies are complete when they return, and see what all streams were given before.
class DeviceBytes {
 public:
  explicit DeviceBytes(std::size_t size) : size_(size) { succeed(cudaMalloc(&data_, size)); }
  explicit DeviceBytes(const std::vector<unsigned char>& bytes) : DeviceBytes(bytes.size()) { upload(bytes); }
  DeviceBytes(const DeviceBytes&) = delete;
  DeviceBytes& operator=(const DeviceBytes&) = delete;
  ~DeviceBytes() { cudaFree(data_); }

  unsigned char* data() const { return static_cast<unsigned char*>(data_); }
  std::size_t size() const { return size_; }

  void upload(const std::vector<unsigned char>& bytes) {
    succeed(cudaMemcpy(data_, bytes.data(), bytes.size(), cudaMemcpyHostToDevice));
    succeed(
        cudaStreamSynchronize(nullptr));  // the last of a copy from pageable memory may still be in flight
  }
  void download(std::vector<unsigned char>& bytes) const {
    succeed(cudaDeviceSynchronize());
    succeed(cudaMemcpy(bytes.data(), data_, bytes.size(), cudaMemcpyDeviceToHost));
  }

 private:
  void* data_ = nullptr;
  std::size_t size_;
};

/// A FencedMatrix on the device, NaN until it is set.
template <masthead::Element T>
class DeviceMatrix {
  using Host = FencedMatrix<masthead::HostElement<masthead::dtype_of<T>>>;

 public:
  /// As FencedMatrix: rows `row_stride` elements apart, `shift` elements off alignment.
  DeviceMatrix(std::int64_t rows, std::int64_t columns, std::int64_t row_stride = 0, std::int64_t shift = 0)
      : host_(rows, columns, row_stride, shift), memory_(host_.bytes) {}

  masthead::Matrix<T> view() {
    const auto view = host_.view();
    return {reinterpret_cast<T*>(memory_.data() + host_.offset), view.rows, view.columns, view.row_stride};
  }
  masthead::Matrix<const T> view_const() { return view(); }

  /// Sets the elements, rounding `values` (rows, columns).
  void set(const std::vector<double>& values) {
    host_.set(values);
    memory_.upload(host_.bytes);
  }

  void poison() {
    host_.poison();
    memory_.upload(host_.bytes);
  }

  /// The matrix and its fences as they are on the device, once it is idle.
  const Host& download() {
    memory_.download(host_.bytes);
    return host_;
  }

 private:
  Host host_;
  DeviceBytes memory_;
};

/// Bytes on the device, aligned to 256, between canaries: NaN in every dtype unless they are given.
class DeviceFence {
 public:
  explicit DeviceFence(std::int64_t bytes)
      : DeviceFence(std::vector<unsigned char>(at(bytes), static_cast<unsigned char>(0xff))) {}
  explicit DeviceFence(const std::vector<unsigned char>& content, std::size_t shift = 0)
      : content_(content), offset_(fence + shift), memory_(fenced()) {}

  unsigned char* data() const { return memory_.data() + offset_; }
  std::int64_t size() const { return static_cast<std::int64_t>(content_.size()); }

  void upload(const std::vector<unsigned char>& content) {
    content_ = content;
    memory_.upload(fenced());
  }

  std::vector<unsigned char> download() const {
    std::vector<unsigned char> bytes(memory_.size());
    memory_.download(bytes);
    const auto first = bytes.begin() + static_cast<std::ptrdiff_t>(offset_);
    return {first, first + size()};
  }

  /// Whether the canaries are as they were.
  bool intact() const {
    std::vector<unsigned char> bytes(memory_.size()), expected = fenced();
    memory_.download(bytes);
    const auto end = static_cast<std::ptrdiff_t>(offset_ + content_.size());
    return std::equal(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(offset_),
                      expected.begin()) &&
           std::equal(bytes.begin() + end, bytes.end(), expected.begin() + end);
  }

  /// Whether the bytes between them are too.
  bool untouched() const { return intact() && download() == content_; }

 private:
  static constexpr std::size_t fence = 256;

  std::vector<unsigned char> fenced() const {
    std::vector<unsigned char> bytes(offset_ + content_.size() + fence);
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<unsigned char>(0xa5 ^ (i * 29));
    std::copy(content_.begin(), content_.end(), bytes.begin() + static_cast<std::ptrdiff_t>(offset_));
    return bytes;
  }

  std::vector<unsigned char> content_;
  std::size_t offset_;
  DeviceBytes memory_;
};

/// A per-feature vector on the device between canaries; absent when it has no elements.
class DeviceVector {
 public:
  explicit DeviceVector(const Elements& elements, std::int64_t shift = 0)
      : dtype_(elements.dtype), fence_(elements.bytes, at(shift) * at(masthead::size_of(elements.dtype))) {}
  DeviceVector(const std::vector<double>& values, masthead::Dtype dtype, std::int64_t shift = 0)
      : DeviceVector(to_elements(values, dtype), shift) {}

  masthead::MutableVector view() const {
    if (fence_.size() == 0) return {};
    return {fence_.data(), dtype_, fence_.size() / masthead::size_of(dtype_)};
  }

  void set(const std::vector<double>& values) { fence_.upload(to_elements(values, dtype_).bytes); }
  std::vector<double> values() const { return to_doubles({dtype_, fence_.download()}); }
  bool intact() const { return fence_.intact(); }
  bool untouched() const { return fence_.untouched(); }

 private:
  masthead::Dtype dtype_;
  DeviceFence fence_;
};

/// A workspace of exactly `bytes`, poisoned and fenced.
class DeviceWorkspace {
 public:
  explicit DeviceWorkspace(std::int64_t bytes) : fence_(bytes) {}

  masthead::Workspace view() const { return {fence_.data(), fence_.size()}; }
  bool intact() const { return fence_.intact(); }

 private:
  DeviceFence fence_;
};

/// One statement of a case about itself, to be asserted in the thread of the test.
struct Finding {
  bool good;
  std::string text;
};
using Findings = std::vector<Finding>;

/// Runs body(case, findings) for each case on all cores, as references take far longer than kernels, then
/// asserts what was found. `name(case)` begins each text.
template <class Case, class Name, class Body>
void check_cases(const std::vector<Case>& cases, const Name& name, const Body& body) {
  REQUIRE_FALSE(cases.empty());
  std::vector<Findings> found(cases.size());
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t i = next++; i < cases.size(); i = next++) {
      try {
        body(cases[i], found[i]);
      } catch (const std::exception& error) {
        found[i].push_back({false, std::string("threw ") + error.what()});
      }
    }
  };
  std::vector<std::thread> threads;
  const unsigned most = under_racecheck() ? 1 : 16;
  for (unsigned i = 1; i < std::clamp(std::thread::hardware_concurrency(), 1u, most); ++i) {
    threads.emplace_back(work);
  }
  work();
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const std::string where = name(cases[i]);
    CHECK_MESSAGE(!found[i].empty(), where, " found nothing");
    for (const Finding& finding : found[i]) CHECK_MESSAGE(finding.good, where, ": ", finding.text);
  }
}

/// Adds whether `got` is what the reference says, and, with `controls`, that wrong results are told apart.
inline void compare_into(Findings& findings, const std::string& what, const SoftmaxReference& reference,
                         const std::vector<double>& got, masthead::Dtype accumulator, masthead::Dtype stored,
                         masthead::Output output, bool controls, double stored_ulps = 0.5) {
  const Comparison comparison = compare(reference, got, accumulator, stored, output, stored_ulps);
  std::ostringstream text;
  text << what << ": " << comparison;
  findings.push_back({comparison.accepted, text.str()});
  if (!controls) return;
  for (const auto& [corruption, bad] : corruptions(got, reference.rows, reference.columns)) {
    const bool rejected = !compare(reference, bad, accumulator, stored, output, stored_ulps);
    findings.push_back({rejected, what + ": the comparison accepts " + corruption});
  }
}

}  // namespace test

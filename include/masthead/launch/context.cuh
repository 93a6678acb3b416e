#pragma once
/// The context that a stream belongs to: the whole of a device, or a green context with some of its
/// multiprocessors.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cuda.h>
#include <cudaTypedefs.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <mutex>
#include <optional>

#include "masthead/launch/driver.cuh"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// The context of a stream, as the driver names it.
struct StreamContext {
  CUcontext context = nullptr;
  CUgreenCtx green = nullptr;  ///< null where the context has the whole device
  /// Which context it is: a number that is never used again while the process lives. Absent where the driver
  /// does not tell.
  std::optional<unsigned long long> id;
};

/// Functions of the driver that ask for contexts; null where the driver lacks one.
struct ContextFunctions {
  using GetStreamContext = CUresult(CUDAAPI*)(CUstream, CUcontext*, CUgreenCtx*);
  using GetContextId = CUresult(CUDAAPI*)(CUcontext, unsigned long long*);
  using GetGreenId = CUresult(CUDAAPI*)(CUgreenCtx, unsigned long long*);
  using GetCurrent = CUresult(CUDAAPI*)(CUcontext*);
  using GetResource = CUresult(CUDAAPI*)(CUcontext, CUdevResource*, CUdevResourceType);
  using GetGreenResource = CUresult(CUDAAPI*)(CUgreenCtx, CUdevResource*, CUdevResourceType);
  using GetAffinity = CUresult(CUDAAPI*)(CUexecAffinityParam*, CUexecAffinityType);

  GetStreamContext of_stream = find_driver_function<GetStreamContext>("cuStreamGetCtx", 12050);
  GetContextId id = find_driver_function<GetContextId>("cuCtxGetId", 12000);
  GetGreenId green_id = find_driver_function<GetGreenId>("cuGreenCtxGetId", 12090);
  GetCurrent current = find_driver_function<GetCurrent>("cuCtxGetCurrent", 4000);
  GetResource resource = find_driver_function<GetResource>("cuCtxGetDevResource", 12040);
  GetGreenResource green_resource = find_driver_function<GetGreenResource>("cuGreenCtxGetDevResource", 12040);
  GetAffinity affinity = find_driver_function<GetAffinity>("cuCtxGetExecAffinity", 11040);

  static const ContextFunctions& get() {
    static const ContextFunctions functions;
    return functions;
  }
};

/// The context that work on `stream` runs in; that of NULL and of the other special streams is the current
/// one. Synchronizes nothing, and may be called while a stream is being captured.
inline StreamContext context_of(cudaStream_t stream) {
  const ContextFunctions& ask = ContextFunctions::get();
  StreamContext c;
  if (ask.of_stream == nullptr) {
    c.id = 0;  // a driver before CUDA 12.5: no stream of a green context comes here
    return c;
  }
  if (ask.of_stream(stream, &c.context, &c.green) != CUDA_SUCCESS) {
    // The per-thread default stream under a green context that is current has no answer.
    c = {};
    if (ask.current != nullptr && ask.current(&c.context) != CUDA_SUCCESS) c.context = nullptr;
    return c;
  }
  unsigned long long id = 0;
  const bool known = c.green != nullptr
                         ? ask.green_id != nullptr && ask.green_id(c.green, &id) == CUDA_SUCCESS
                         : ask.id != nullptr && ask.id(c.context, &id) == CUDA_SUCCESS;
  if (known) c.id = id;
  return c;
}

/// The multiprocessors that a context has of the `device_has` of its device: fewer in a green context, and
/// under MPS with an execution affinity.
inline int multiprocessors_of(const StreamContext& c, int device_has) {
  const ContextFunctions& ask = ContextFunctions::get();
  int most = device_has;
  const auto at_most = [&](unsigned count) {
    if (count > 0) most = (std::min)(most, static_cast<int>(count));
  };
  CUdevResource resource{};
  if (c.green != nullptr) {
    if (ask.green_resource != nullptr &&
        ask.green_resource(c.green, &resource, CU_DEV_RESOURCE_TYPE_SM) == CUDA_SUCCESS) {
      at_most(resource.sm.smCount);
    }
    return most;
  }
  if (c.context != nullptr && ask.resource != nullptr &&
      ask.resource(c.context, &resource, CU_DEV_RESOURCE_TYPE_SM) == CUDA_SUCCESS) {
    at_most(resource.sm.smCount);
  }
  // The affinity is told of the current context alone.
  CUcontext current = nullptr;
  CUexecAffinityParam affinity{};
  if (ask.current != nullptr && ask.affinity != nullptr && ask.current(&current) == CUDA_SUCCESS &&
      current == c.context && current != nullptr &&
      ask.affinity(&affinity, CU_EXEC_AFFINITY_TYPE_SM_COUNT) == CUDA_SUCCESS) {
    at_most(affinity.param.smCount.val);
  }
  return most;
}

/// Facts of contexts, asked for once per context. Threads may share it; the facts of the `size` contexts that
/// came last are kept.
template <class Facts, std::size_t size = 64>
class PerContext {
 public:
  /// The facts of context `c` of device `ordinal`: those that are known, else those that ask() returns.
  template <class Ask>
  Facts get(int ordinal, const StreamContext& c, const Ask& ask) {
    if (!c.id) return ask();
    const Key key{true, ordinal, c.green != nullptr, *c.id};
    static thread_local Entry last;  // a thread stays in a context, as a rule
    if (last.key == key) return last.facts;
    if (!find(key, last)) {
      const Facts facts = ask();
      last = {key, facts};
      const std::lock_guard lock(mutex_);
      entries_[next_] = last;
      next_ = (next_ + 1) % size;
    }
    return last.facts;
  }

 private:
  struct Key {
    bool used = false;
    int ordinal = 0;
    bool green = false;
    unsigned long long id = 0;

    friend bool operator==(const Key&, const Key&) = default;
  };
  struct Entry {
    Key key;
    Facts facts{};
  };

  bool find(const Key& key, Entry& found) {
    const std::lock_guard lock(mutex_);
    for (const Entry& entry : entries_) {
      if (entry.key == key) {
        found = entry;
        return true;
      }
    }
    return false;
  }

  std::mutex mutex_;
  std::array<Entry, size> entries_{};
  std::size_t next_ = 0;
};

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

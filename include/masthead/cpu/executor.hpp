#pragma once
/// The threads CPU work runs on.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "masthead/core/config.hpp"
#include "masthead/core/error.hpp"

namespace masthead::inline v0::cpu {

/// What the CPU entries take where the GPU entries take a stream: a number of threads. Calls return when the
/// work is done. Copies are cheap; one executor may be used from several threads at once, as it holds nothing
/// but the number: each call starts its threads and joins them.
class Executor {
 public:
  /// An executor of as many threads as the hardware runs at once.
  Executor() : Executor((std::max)(1, static_cast<int>(std::thread::hardware_concurrency()))) {}

  /// An executor of `threads` threads. Throws Error unless that is at least 1.
  explicit Executor(int threads) : threads_(threads) {
    if (threads < 1) throw Error("executor.threads", threads, "must be at least 1");
  }

  int threads() const { return threads_; }

  /// Calls `body(index, worker)` once for every index in [0, count), in any order, from at most `threads()`
  /// threads, of which the caller is worker 0; a worker runs one call at a time. Rethrows the first exception
  /// of a body, after every thread has stopped; indices not begun by then are left out.
  template <class Body>
  void parallel_for(std::int64_t count, const Body& body) const {
    std::atomic<std::int64_t> next{0};
    std::mutex mutex;
    std::exception_ptr error;
    const auto work = [&](int worker) noexcept {
      try {
        for (std::int64_t index = next++; index < count; index = next++) body(index, worker);
      } catch (...) {
        next = count;
        const std::lock_guard lock(mutex);
        if (!error) error = std::current_exception();
      }
    };
    {
      const int workers = static_cast<int>(std::min<std::int64_t>(threads_, count));
      Helpers helpers;
      try {
        for (int worker = 1; worker < workers; ++worker) helpers.threads.emplace_back(work, worker);
      } catch (const std::system_error&) {
        // The system gives no more threads: those there are share the indices.
      }
      work(0);
    }
    if (error) std::rethrow_exception(error);
  }

 private:
  /// Threads that are joined when they leave the scope. libc++ 16 has no std::jthread.
  struct Helpers {
    std::vector<std::thread> threads;
    ~Helpers() {
      for (std::thread& thread : threads) thread.join();
    }
  };

  int threads_;
};

}  // namespace masthead::inline v0::cpu

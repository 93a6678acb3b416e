#pragma once
/// The timing harness: systems interleaved within one run, device events, warm-up, medians.

#include <algorithm>
#include <cmath>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "support/cache.cuh"
#include "support/cuda.cuh"
#include "support/samples.hpp"

namespace benchmark {

/// One contestant: `call` enqueues one run on the buffers of set number `set`, without synchronizing.
struct System {
  std::string name;
  std::function<void(int set, cudaStream_t stream)> call;
};

inline std::vector<std::string> names(const std::vector<System>& systems) {
  std::vector<std::string> list;
  for (const System& system : systems) list.push_back(system.name);
  return list;
}

/// A block of `calls` on rotating sets, starting with set `first`: microseconds per call. One untimed call
/// runs ahead of the first event, so that the block does not begin with an idle device.
inline double time_block(const System& system, int calls, int first, int sets, cudaStream_t stream) {
  Event start, stop;
  system.call(first % sets, stream);
  start.record(stream);
  for (int i = 1; i <= calls; ++i) system.call((first + i) % sets, stream);
  stop.record(stream);
  return stop.microseconds_since(start) / calls;
}

/// A block of calls on rotating sets as a CUDA graph.
class CapturedBlock {
 public:
  CapturedBlock(const System& system, int calls, int sets, cudaStream_t stream) : calls_(calls) {
    cudaGraph_t graph = nullptr;
    succeed(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    for (int i = 0; i < calls; ++i) system.call(i % sets, stream);
    succeed(cudaStreamEndCapture(stream, &graph));
    const cudaError_t instantiated = cudaGraphInstantiate(&executable_, graph, 0);
    (void)cudaGraphDestroy(graph);
    succeed(instantiated);
  }
  CapturedBlock(const CapturedBlock&) = delete;
  CapturedBlock& operator=(const CapturedBlock&) = delete;
  ~CapturedBlock() { (void)cudaGraphExecDestroy(executable_); }

  /// Microseconds per call. Sweeps keep the device busy while the host launches the graph.
  double time(const CacheSweep& sweep, cudaStream_t stream) const {
    Event start, stop;
    for (int i = 0; i < 4; ++i) sweep(stream);
    start.record(stream);
    succeed(cudaGraphLaunch(executable_, stream));
    stop.record(stream);
    return stop.microseconds_since(start) / calls_;
  }

 private:
  cudaGraphExec_t executable_ = nullptr;
  int calls_;
};

/// One call with a cold L2. The sweep keeps the device busy while the host enqueues the call, so the sample
/// is device time without launch latency.
inline double time_single(const System& system, int set, const CacheSweep& sweep, cudaStream_t stream) {
  Event start, stop;
  sweep(stream);
  start.record(stream);
  system.call(set, stream);
  stop.record(stream);
  return stop.microseconds_since(start);
}

/// Calls in a block of even the slowest system.
inline constexpr int fewest_calls = 3;

/// Samples all systems in turn, round after round, so that drifting clocks and heat touch each alike. Every
/// round starts with another system. One round is run and thrown away first.
inline std::vector<Statistics> measure(const std::vector<System>& systems, Timing timing,
                                       const Sampling& sampling, const CacheSweep& sweep,
                                       cudaStream_t stream) {
  std::vector<int> calls;            // of a block, for each system
  std::deque<CapturedBlock> graphs;  // of each system, if wanted
  for (const System& system : systems) {
    for (int set = 0; set < sampling.sets; ++set) system.call(set, stream);
    const double us = time_block(system, std::max(sampling.sets, fewest_calls), 0, sampling.sets, stream);
    calls.push_back(std::clamp(static_cast<int>(std::ceil(sampling.block_us / us)), fewest_calls, 1000));
    if (sampling.graphs) graphs.emplace_back(system, calls.back(), sampling.sets, stream);
  }
  const auto sample = [&](std::size_t i, int set) {
    if (timing == Timing::single) return time_single(systems[i], set % sampling.sets, sweep, stream);
    if (sampling.graphs) return graphs[i].time(sweep, stream);
    return time_block(systems[i], calls[i], set, sampling.sets, stream);
  };

  std::vector<std::vector<double>> samples(systems.size());
  for (int round = 0; round <= sampling.repetitions; ++round) {
    for (std::size_t turn = 0; turn < systems.size(); ++turn) {
      const std::size_t i = (turn + static_cast<std::size_t>(round)) % systems.size();
      const double us = sample(i, round);  // all systems of a round see the same buffers
      if (round > 0) samples[i].push_back(us);
    }
  }

  std::vector<Statistics> statistics;
  for (std::vector<double>& of_one : samples) statistics.push_back(Statistics::of(std::move(of_one)));
  return statistics;
}

}  // namespace benchmark

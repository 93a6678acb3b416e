#pragma once
/// A case's call, made twice on memory that holds other poison.

#include <string>

#include "fingerprint/memory.cuh"
#include "fingerprint/outcome.hpp"

namespace benchmark {

/// The outcome of call(pass), which poisons, calls the library and adds to the digester what is left, with
/// poisons[pass]. The passes must leave the same bits: nothing depends on what memory held. No result is the
/// second pass' poison, so what is that was not written.
template <class Call>
Outcome two_passes(Arena& arena, cudaStream_t stream, const Call& call) {
  Digest digests[2];
  for (int pass = 0; pass < 2; ++pass) {
    Digester digester(arena, stream);
    call(pass, digester);
    digests[pass] = digester.read();
  }
  Outcome outcome{.hash = digests[0].hash, .skipped = {}, .failure = {}};
  const auto fail = [&](const std::string& what) {
    outcome.failure += (outcome.failure.empty() ? "" : ", ") + what;
  };
  if (digests[1].unwritten != 0) fail(std::to_string(digests[1].unwritten) + " elements were not written");
  if (const auto touched = digests[0].touched + digests[1].touched; touched != 0) {
    fail(std::to_string(touched) + " elements around the outputs were written");
  }
  if (digests[0].hash != digests[1].hash) fail("two passes differ");
  return outcome;
}

}  // namespace benchmark

#pragma once
/// Where one participant stands in a ring of stages.

#include <cstdint>

#include "masthead/core/config.hpp"

namespace masthead::inline v0::detail {

/// The stage to use next and the parity of the round it is in. Producers and consumers each keep their own
/// and start at the same value.
template <int stages>
struct PipelineState {
  int stage = 0;
  std::uint32_t parity = 0;  ///< of the round: flips when the ring wraps

  MASTHEAD_HOST_DEVICE constexpr void advance() {
    if (++stage == stages) {
      stage = 0;
      parity ^= 1u;
    }
  }
};

}  // namespace masthead::inline v0::detail

#pragma once
/// The unit logits are in.

#include "masthead/numeric/affine.hpp"

namespace masthead::inline v0::detail {

/// Units of the values a softmax is taken of.
template <class Sum>
struct LogitUnit {
  Sum to_log2;     ///< value * to_log2 is in powers of two
  Sum to_natural;  ///< value * to_natural is in powers of e

  MASTHEAD_HOST_DEVICE static LogitUnit natural() { return {static_cast<Sum>(log2e), static_cast<Sum>(1)}; }
  MASTHEAD_HOST_DEVICE static LogitUnit log4() { return {static_cast<Sum>(2), static_cast<Sum>(2 * ln2)}; }
};

}  // namespace masthead::inline v0::detail

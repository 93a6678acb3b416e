#pragma once
/// How the row-wise kernels move the columns of a row.

#include <cstdint>

namespace masthead::inline v0::detail {

/// How columns are moved. With each access a thread gets the same columns and the same arithmetic, so a row's
/// bits do not depend on which it is, unless only vectors let a policy hold the row (select_softmax_policy:
/// floats beyond 65536).
enum class ColumnAccess : std::uint8_t {
  vectors,         ///< whole 16-byte vectors of x, one multiplier for all columns, no addend
  affine_vectors,  ///< whole 16-byte vectors of x, multiplier per column and addend per column or absent,
                   ///< both of the computation's own type from addresses that are multiples of 16
  elements,        ///< any alignment, any number of columns, multiplier and addend per column of any dtype
};

}  // namespace masthead::inline v0::detail

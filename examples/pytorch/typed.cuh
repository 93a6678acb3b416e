#pragma once
/// From matrices with the dtype as data to the library's.

#include <string>

#include "head.hpp"
#include "masthead/core/checks.hpp"
#include "masthead/core/dtype.cuh"

namespace masthead_pytorch {

namespace mh = masthead;

/// Throws masthead::Error unless the elements are `T`.
template <class T, class Void>
mh::Matrix<T> typed(const AnyMatrix<Void>& m) {
  if (m.dtype != mh::dtype_of<T>) {
    throw mh::Error("dtype", std::string(name(m.dtype)), "must be " + std::string(name(mh::dtype_of<T>)));
  }
  return {static_cast<T*>(m.data), m.rows, m.columns, m.row_stride};
}

}  // namespace masthead_pytorch

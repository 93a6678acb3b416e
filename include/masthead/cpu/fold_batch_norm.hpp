#pragma once
/// BatchNorm and scale folded into a linear layer's weight and bias on the CPU, for export.

#include <cstdint>

#include "masthead/core/checks.hpp"
#include "masthead/cpu/executor.hpp"
#include "masthead/cpu/feature.hpp"

namespace masthead::inline v0::cpu {

/// Writes `weight` (out_features, in_features) and `bias` (out_features, any dtype) such that softmax(x
/// weight^T + bias) is the head's result in eval mode; the scale, if given, is folded in too.
///
/// Folded elements are rounded once, to T: for 16-bit weights that is less exact than the head itself, which
/// leaves the weight alone. `weight` and `bias` may be the parameters' own. Returns when both outputs are
/// written. Throws Error for bad arguments, with the outputs untouched.
template <class T>
void fold_batch_norm(const Parameters<T>& parameters, const Matrix<T>& weight, const MutableVector& bias,
                     const Executor& executor) {
  masthead::detail::refuse_if(masthead::detail::check_fold_batch_norm(parameters, weight, bias));
  executor.parallel_for(weight.rows, [&](std::int64_t n, int) {
    const Affine affine = fold(cpu::load_feature(parameters, n), parameters.epsilon, 1.0);
    const T* const from = parameters.weight.data + n * parameters.weight.row_stride;
    T* const to = weight.data + n * weight.row_stride;
    for (std::int64_t k = 0; k < weight.columns; ++k) {
      to[k] = round_to<T>(affine.multiplier * static_cast<double>(widen(from[k])));
    }
    cpu::store_feature(bias, n, affine.addend);
  });
}

}  // namespace masthead::inline v0::cpu

#pragma once
/// Workspace of a forward pass.

#include <cstdint>
#include <string>

#include "masthead/host/linear_softmax_sm90.cuh"
#include "masthead/kernel/batch_norm.cuh"
#include "masthead/select_policy.hpp"
#include "masthead/tile/prepared_layout.hpp"

namespace masthead::inline v0 {

/// Where a forward pass keeps what does not fit in y; offsets in bytes, each a multiple of 256.
struct HeadWorkspace {
  std::int64_t x = 0;           ///< x in the form the product multiplies, unless that is plain
  std::int64_t logits = 0;      ///< (batch, out_features), only when y is narrower than the accumulator
  std::int64_t partials = 0;    ///< (batch, tiles of features) and what partials_bytes_sm90 puts behind them,
                                ///< instead of logits in softmax by wgmma; in training mode in their place
  std::int64_t parts = 0;       ///< (splits, out_features) Moments, training mode only
  std::int64_t multiplier = 0;  ///< (out_features), training mode only
  std::int64_t addend = 0;      ///< (out_features), training mode only
  std::int64_t bytes = 0;

  /// Enough for every policy that multiplies operands of `precision` where they are, and every output. Throws
  /// Error when the size does not fit in 63 bits.
  static HeadWorkspace of(Precision precision, Dtype y, Mode mode, std::int64_t batch,
                          std::int64_t out_features) {
    const auto with = [&](const PolicySpec& policy) {
      return of(policy, y, mode, Output::log_softmax, batch, 1, out_features);
    };
    const Dtype operand = operand_dtype(precision);
    HeadWorkspace most = with(shipped_policies(operand).small);
    if (has_wgmma(precision)) {
      const ShippedWgmmaPolicies wgmma = shipped_wgmma_policies(operand);
      for (const PolicySpec& policy : {wgmma.wide, wgmma.narrow}) {
        const HeadWorkspace other = with(policy);
        if (other.bytes > most.bytes) most = other;
      }
    }
    return most;
  }

  /// What one policy and output needs, which may be far less.
  static HeadWorkspace of(const PolicySpec& policy, Dtype y, Mode mode, Output output, std::int64_t batch,
                          std::int64_t in_features, std::int64_t out_features) {
    HeadWorkspace w;
    const Dtype operand = policy.dtype;
    const std::int64_t sum_bytes = size_of(accumulator_dtype(operand));
    const auto take_bytes = [&](const std::optional<std::int64_t>& size) {
      const std::int64_t offset = w.bytes;
      if (!size || *size > INT64_MAX - 255 ||
          __builtin_add_overflow(w.bytes, (*size + 255) / 256 * 256, &w.bytes)) {
        throw Error("workspace", std::to_string(batch) + " * " + std::to_string(out_features),
                    "its size in bytes must fit in 63 bits");
      }
      return offset;
    };
    const auto take = [&](std::int64_t rows, std::int64_t element_bytes) {
      return take_bytes(checked_product(rows, logits_stride(out_features), element_bytes));
    };
    // Operands that are e4m3 already are read where they are.
    if (is_prepared(policy.product) && policy.dtype != Dtype::e4m3) {
      w.x = take_bytes(PreparedLayout{policy.product, batch, in_features}.bytes());
    }
    const bool none = fits_cluster(policy, mode, output, out_features);
    if (!none && keeps_codes(policy, y, mode, output, out_features)) {
      w.partials = take_bytes(partials_bytes_sm90(policy, batch, out_features));
    } else if (!none && y != accumulator_dtype(operand)) {
      w.logits = take(batch, sum_bytes);
      w.partials = w.logits;
    }
    if (mode == Mode::training) {
      const std::int64_t moments_bytes =
          operand == Dtype::f64 ? sizeof(Moments<double>) : sizeof(Moments<float>);
      w.parts = take(moment_splits(policy, batch), moments_bytes);
      w.multiplier = take(1, sum_bytes);
      w.addend = take(1, sum_bytes);
    }
    return w;
  }

  /// Parts that column statistics come in.
  static constexpr std::int64_t moment_splits(const PolicySpec& policy, std::int64_t batch) {
    return policy.engine == Engine::wgmma ? moment_splits_sm90(policy, batch)
                                          : column_statistics_splits(batch);
  }

  /// Whether y itself holds coded logits between GEMM and softmax: they are good for a 16-bit softmax, not
  /// for its logarithm.
  static constexpr bool keeps_codes(const PolicySpec& policy, Dtype y, Mode mode, Output output,
                                    std::int64_t out_features) {
    if (policy.engine == Engine::simt || size_of(y) != 2 || mode == Mode::training) return false;
    return output == Output::softmax &&
           (policy.engine == Engine::wgmma || out_features > FinaliseLogits::columns);
  }

  /// Whether logits need not leave the registers: rows that one cluster of the transposed engine covers.
  static constexpr bool fits_cluster(const PolicySpec& policy, Mode mode, Output output,
                                     std::int64_t out_features) {
    return policy.engine == Engine::wgmma_transposed && mode == Mode::eval && output == Output::softmax &&
           out_features <= policy.sm90_transposed().cluster_features();
  }

  /// Rows start at multiples of 16 bytes.
  static constexpr std::int64_t logits_stride(std::int64_t out_features) {
    return ceil_div(out_features, 4) * 4;
  }
};

}  // namespace masthead::inline v0

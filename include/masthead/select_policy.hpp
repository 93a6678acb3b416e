#pragma once
/// The policies that a head is built with, and which of them a problem takes.

#include <cstdint>

#include "masthead/policy.hpp"

namespace masthead::inline v0 {

/// Shared memory a block can have at most on an architecture (CUDA Programming Guide, "Compute
/// Capabilities").
constexpr int shared_bytes_per_block(int architecture) {
  switch (architecture) {
    case 75:
      return 64 * 1024;
    case 80:
    case 87:
      return 163 * 1024;
    case 86:
    case 88:
    case 89:
    case 120:
    case 121:
      return 99 * 1024;
    default:
      return max_shared_bytes;
  }
}

/// The SIMT policies a head of this dtype is built with.
struct ShippedPolicies {
  PolicySpec wide;   ///< for problems that fill the GPU, where shared memory allows; else the same as `large`
  PolicySpec large;  ///< at most 64 KB of shared memory: every architecture
  PolicySpec small;  ///< for few rows or few tiles
};

/// Rows of a stage hold 64 bytes of k, and 128 where wide tiles leave one block to a multiprocessor.
constexpr ShippedPolicies shipped_policies(Dtype dtype) {
  const int k = 64 / static_cast<int>(size_of(dtype));
  const PolicySpec small{dtype, {.m = 32, .n = 64, .k = k}, 128};
  const PolicySpec large{dtype, {.m = dtype == Dtype::f64 ? 64 : 128, .n = 128, .k = k}, 256};
  const PolicySpec wide{dtype, {.m = 256, .n = 128, .k = 2 * k}, 256};
  return {dtype == Dtype::f32 ? wide : large, large, small};
}

/// Whether the wgmma engines multiply x and the weight of a precision where they are.
constexpr bool has_wgmma(Precision precision) {
  return precision == Precision::bf16 || precision == Precision::fp16 || precision == Precision::tf32;
}

/// The wgmma policies a head of such a precision is built with besides.
struct ShippedWgmmaPolicies {
  PolicySpec wide;         ///< for many features
  PolicySpec narrow;       ///< for up to `narrow_features`: small tiles, so that more multiprocessors get one
  PolicySpec cluster_16;   ///< for up to `cluster_features`, a row being one cluster's: few rows
  PolicySpec cluster_32;   ///< the same for more rows
  PolicySpec cluster_128;  ///< the same for many
  PolicySpec rows_16;      ///< for many features and up to 16 rows
  PolicySpec rows_32;      ///< the same for up to 32
  PolicySpec rows_64;      ///< the same for up to 64
  PolicySpec rows_128;     ///< the same for up to 128
  PolicySpec rows_256;     ///< the same for up to 256, and no more than `rows_256_features`
  static constexpr std::int64_t narrow_features = 1024, cluster_features = 512, rows_256_features = 16384;
};

/// `dtype` is bf16, f16, or f32 for tf32.
constexpr ShippedWgmmaPolicies shipped_wgmma_policies(Dtype dtype) {
  const Product product = dtype == Dtype::f32 ? Product::tf32 : Product::plain;
  const int k = swizzle_row_bytes / static_cast<int>(size_of(dtype));
  const auto transposed = [=](int m, int n, int block_threads, int stages, int rows_of_k = 1) {
    return PolicySpec{dtype,  {m, n, rows_of_k * k}, block_threads, stages, Engine::wgmma_transposed, 1,
                      product};
  };
  return {{dtype, {.m = 128, .n = 256, .k = k}, 384, 3, Engine::wgmma, 2, product},
          {dtype, {.m = 64, .n = 128, .k = k}, 256, 6, Engine::wgmma, 1, product},
          transposed(16, 64, 160, 16),
          transposed(32, 64, 160, 8),
          transposed(128, 64, 160, 4),
          transposed(16, 64, 160, 10, 2),
          transposed(32, 64, 160, 8, 2),
          transposed(64, 64, 160, 13),
          transposed(64, 128, 288, 4, 2),
          transposed(128, 128, 288, 6)};
}

/// The policies of a head whose operands are brought into a form of their own. Tiles of either height give
/// the same bits in eval mode; batch statistics are merged over the rows of a tile first.
struct ShippedProductPolicies {
  PolicySpec tall;
  PolicySpec low;  ///< for a batch of up to `low_batch`
  static constexpr std::int64_t low_batch = 64;
};

/// `product` is f16 or f16x3 (of f32) or e4m3 (of bf16, or of e4m3 itself).
constexpr ShippedProductPolicies shipped_product_policies(Product product, Dtype dtype) {
  if (product == Product::f16) {
    return {{dtype, {.m = 128, .n = 256, .k = 64}, 384, 3, Engine::wgmma, 2, product},
            {dtype, {.m = 64, .n = 128, .k = 64}, 256, 6, Engine::wgmma, 1, product}};
  }
  if (product == Product::f16x3) {
    return {{dtype, {.m = 128, .n = 128, .k = 64}, 384, 3, Engine::wgmma, 2, product},
            {dtype, {.m = 64, .n = 128, .k = 64}, 256, 4, Engine::wgmma, 1, product}};
  }
  return {{dtype, {.m = 128, .n = 256, .k = 128}, 384, 3, Engine::wgmma, 2, product},
          {dtype, {.m = 64, .n = 256, .k = 128}, 256, 4, Engine::wgmma, 1, product}};
}

/// The policy `Head` runs (batch, in_features) -> out_features with on `architecture` (10 * major + minor).
/// `wgmma`: whether the code is compiled for sm_90a, and (bf16, fp16, tf32) x and the weight have addresses
/// and row strides that are multiples of 16 bytes. `training`: in training mode, where the wgmma engine takes
/// column statistics. fp8 has no other engine: its policy is the same everywhere.
///
/// Engines round differently, so the engine depends on everything but the batch, and so does the way a wgmma
/// engine gets from logits to softmax: exactly in one cluster, or by codes relative to references of parts of
/// a fixed width. What else is left to the batch cannot change a result's bits: SIMT policies sum every
/// output in ascending k, and the wgmma engines agree where they code parts of 256 columns.
constexpr PolicySpec select_policy(Precision precision, int architecture, std::int64_t batch,
                                   std::int64_t in_features, std::int64_t out_features, bool wgmma = true,
                                   bool training = false) {
  const Product product = product_of(precision);
  if (precision == Precision::fp8 || (wgmma && is_prepared(product) && architecture == 90)) {
    const ShippedProductPolicies shipped = shipped_product_policies(product, operand_dtype(precision));
    return batch <= shipped.low_batch ? shipped.low : shipped.tall;
  }
  const Dtype dtype = operand_dtype(precision);
  if (wgmma && has_wgmma(precision) && architecture == 90 && in_features % (16 / size_of(dtype)) == 0) {
    const ShippedWgmmaPolicies shipped = shipped_wgmma_policies(dtype);
    // What depends on the batch gives the same bits.
    if (!training && out_features <= shipped.cluster_features) {
      return batch <= 128 ? shipped.cluster_16 : batch <= 640 ? shipped.cluster_32 : shipped.cluster_128;
    }
    if (out_features <= shipped.narrow_features) return shipped.narrow;
    if (!training && batch <= 32) return batch <= 16 ? shipped.rows_16 : shipped.rows_32;
    if (!training && batch <= 128) return batch <= 64 ? shipped.rows_64 : shipped.rows_128;
    if (!training && batch <= 256 && out_features <= shipped.rows_256_features) return shipped.rows_256;
    return shipped.wide;
  }
  const ShippedPolicies shipped = shipped_policies(dtype);
  const auto fills = [&](const PolicySpec& p, std::int64_t blocks) {
    const std::int64_t tiles_m = (batch - 1) / p.tile.m + 1, tiles_n = (out_features - 1) / p.tile.n + 1;
    return batch > p.tile.m / 2 && tiles_m >= (blocks - 1) / tiles_n + 1;
  };
  if (fills(shipped.wide, 128) && shipped.wide.shared_bytes() <= shared_bytes_per_block(architecture)) {
    return shipped.wide;
  }
  return fills(shipped.large, 48) ? shipped.large : shipped.small;
}

/// Numbers of out_features, both ends included.
struct FeatureRange {
  std::int64_t least = 1, most = INT64_MAX;
};

/// What `select_policy` picks a policy for: the ways of the policy that serve other widths need not be
/// compiled for a head.
constexpr FeatureRange selected_features(const PolicySpec& policy) {
  if (policy.engine != Engine::wgmma_transposed) return {};
  const ShippedWgmmaPolicies shipped = shipped_wgmma_policies(policy.dtype);
  if (policy == shipped.cluster_16 || policy == shipped.cluster_32 || policy == shipped.cluster_128) {
    return {1, shipped.cluster_features};
  }
  return {shipped.narrow_features + 1, policy == shipped.rows_256 ? shipped.rows_256_features : INT64_MAX};
}

}  // namespace masthead::inline v0

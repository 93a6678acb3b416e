#pragma once
/// The numbers that memory holds in a case of tests/device/fuzz: each a function of the case and an index,
/// for kernels and host code alike.

#include <cmath>
#include <cstdint>

#include "fuzz_cases.hpp"
#include "masthead/numeric/rounding.hpp"

#if defined(__CUDACC__)
#include "masthead/core/dtype.cuh"
#endif

namespace test::fuzz {

/// 2^exponent, for normal numbers.
MASTHEAD_HOST_DEVICE double power_of_two(int exponent) {
  return __builtin_bit_cast(double, static_cast<std::uint64_t>(exponent + 1023) << 52);
}

/// The type of sums, and the bytes of an element: masthead::accumulator_dtype and size_of for kernels too.
MASTHEAD_HOST_DEVICE masthead::Dtype sums_of(masthead::Dtype dtype) {
  return dtype == masthead::Dtype::f64 ? masthead::Dtype::f64 : masthead::Dtype::f32;
}
MASTHEAD_HOST_DEVICE std::int64_t bytes_of(masthead::Dtype dtype) {
  using masthead::Dtype;
  return dtype == Dtype::f64 ? 8 : dtype == Dtype::f32 ? 4 : dtype == Dtype::e4m3 ? 1 : 2;
}

/// The largest finite number of a dtype.
MASTHEAD_HOST_DEVICE double largest_of(masthead::Dtype dtype) {
  using masthead::Dtype;
  return dtype == Dtype::f64    ? 0x1.fffffffffffffp1023
         : dtype == Dtype::f32  ? 0x1.fffffep127
         : dtype == Dtype::bf16 ? 0x1.fep127
                                : 65504.0;
}

/// Element `index` of memory of a dtype, exactly.
MASTHEAD_HOST_DEVICE double load_element(const void* memory, masthead::Dtype dtype, std::int64_t index) {
  using masthead::Dtype;
  if (dtype == Dtype::f64) return static_cast<const double*>(memory)[index];
  if (dtype == Dtype::f32) return static_cast<double>(static_cast<const float*>(memory)[index]);
#if defined(__CUDA_ARCH__)
  if (dtype == Dtype::f16)
    return static_cast<double>(masthead::widen(static_cast<const __half*>(memory)[index]));
  return static_cast<double>(masthead::widen(static_cast<const __nv_bfloat16*>(memory)[index]));
#else
  if (dtype == Dtype::f16) {
    return static_cast<double>(masthead::widen(static_cast<const masthead::Half*>(memory)[index]));
  }
  return static_cast<double>(masthead::widen(static_cast<const masthead::BFloat16*>(memory)[index]));
#endif
}

/// Rounds `value` to the dtype, by way of float for 16-bit ones, and stores it.
MASTHEAD_HOST_DEVICE void store_element(void* memory, masthead::Dtype dtype, std::int64_t index,
                                        double value) {
  using masthead::Dtype;
  if (dtype == Dtype::f64) {
    static_cast<double*>(memory)[index] = value;
  } else if (dtype == Dtype::f32) {
    static_cast<float*>(memory)[index] = static_cast<float>(value);
#if defined(__CUDA_ARCH__)
  } else if (dtype == Dtype::f16) {
    static_cast<__half*>(memory)[index] = __float2half_rn(static_cast<float>(value));
  } else {
    static_cast<__nv_bfloat16*>(memory)[index] = __float2bfloat16_rn(static_cast<float>(value));
  }
#else
  } else if (dtype == Dtype::f16) {
    static_cast<masthead::Half*>(memory)[index] = masthead::round_to<masthead::Half>(value);
  } else {
    static_cast<masthead::BFloat16*>(memory)[index] = masthead::round_to<masthead::BFloat16>(value);
  }
#endif
}

/// 64 bits for an index of a stream of numbers.
MASTHEAD_HOST_DEVICE std::uint64_t bits_of(std::uint64_t seed, std::uint64_t stream, std::int64_t index) {
  std::uint64_t z =
      seed + stream * 0xd1342543de82ef95u + static_cast<std::uint64_t>(index) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 32)) * 0xd6e8feb86659fd93u;
  z = (z ^ (z >> 32)) * 0xd6e8feb86659fd93u;
  return z ^ (z >> 32);
}

/// In [0, 1), of 24 bits.
MASTHEAD_HOST_DEVICE double uniform_of(std::uint64_t bits) {
  return static_cast<double>(bits >> 40) * 0x1p-24;
}
/// Nearly normal: four uniform numbers of 16 bits each, of mean 0 and deviation 1, below 3.5 in magnitude.
MASTHEAD_HOST_DEVICE double normal_of(std::uint64_t bits) {
  const std::uint64_t sum =
      (bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48 & 0xffff);
  return (static_cast<double>(sum) * 0x1p-16 - 2) * 1.75;
}
/// Either sign, magnitude in [1, 2).
MASTHEAD_HOST_DEVICE double signed_of(std::uint64_t bits) {
  return (bits & 1) != 0 ? 1 + uniform_of(bits) : -1 - uniform_of(bits);
}

/// The streams of numbers of a case.
enum Stream : std::uint64_t {
  stream_x = 1,
  stream_row,
  stream_weight,
  stream_bias,
  stream_gamma,
  stream_beta,
  stream_mean,
  stream_var,
  stream_scale,
  stream_column,
  stream_running
};

MASTHEAD_HOST_DEVICE std::int64_t twin_of(const Case& c, std::int64_t column) {
  return c.twins ? column & ~std::int64_t{1} : column;
}

/// Power of four at most `in_features`, as its root's exponent: what |x w| grows by.
MASTHEAD_HOST_DEVICE int depth_exponent(std::int64_t in_features) {
  int depth = 0;
  while ((in_features >> (2 * depth + 2)) > 0) ++depth;
  return depth;
}

/// Columns of x that do not vary over the batch, of Data::constant.
MASTHEAD_HOST_DEVICE std::int64_t constant_columns(const Case& c) {
  return c.in_features > 1 ? c.in_features / 2 : 1;
}

/// Element (row, column) of the x of a head, before it is rounded to its dtype.
MASTHEAD_HOST_DEVICE double head_x(const Case& c, std::int64_t row, std::int64_t column) {
  const std::uint64_t bits = bits_of(c.values, stream_x, row * c.in_features + column);
  if (c.special == Special::some_rows) {
    const auto of_row = static_cast<std::int64_t>(bits_of(c.values, stream_row, row) >> 1);
    if (column == of_row % c.in_features) {
      if (row % 5 == 1) return NAN;
      if (row % 7 == 2) return INFINITY;
      if (row % 11 == 3) return -INFINITY;
    }
  }
  const double power = power_of_two(c.x_exponent);
  switch (c.data) {
    case Data::positive:
      return uniform_of(bits);
    case Data::log_uniform:
      return signed_of(bits) * power_of_two(-static_cast<int>(bits >> 8 & 31) * 3 / 4);
    case Data::outlier: {
      const auto of_row = static_cast<std::int64_t>(bits_of(c.values, stream_row, row + 1) >> 1);
      return column == of_row % c.in_features ? signed_of(bits) * 0x1p7 : normal_of(bits) * 0x1p-8;
    }
    case Data::integers:
      return static_cast<double>(static_cast<std::int64_t>(bits >> 32) % 9 * ((bits & 1) != 0 ? 1 : -1));
    case Data::distant:
      return power * (1 + normal_of(bits) * power_of_two(-c.spread));
    case Data::constant:
      return column < constant_columns(c) ? power * normal_of(bits_of(c.values, stream_column, column))
                                          : normal_of(bits);
    case Data::drift:
      return power + normal_of(bits) + 5 * static_cast<double>(row) / static_cast<double>(c.rows);
    case Data::magnitudes:
      return power * normal_of(bits);
    default:
      return normal_of(bits);
  }
}

/// Element (feature, column) of the weight, before it is rounded.
MASTHEAD_HOST_DEVICE double head_weight(const Case& c, std::int64_t feature, std::int64_t column) {
  const std::int64_t n = twin_of(c, feature);
  const std::uint64_t bits = bits_of(c.values, stream_weight, n * c.in_features + column);
  const double power = power_of_two(c.w_exponent - depth_exponent(c.in_features));
  switch (c.data) {
    case Data::positive:
      return uniform_of(bits) * power;
    case Data::integers:
      return static_cast<double>(static_cast<std::int64_t>(bits >> 32) % 5 * ((bits & 1) != 0 ? 1 : -1));
    case Data::constant:
      return n % 3 == 0 && column >= constant_columns(c) ? 0 : normal_of(bits) * power;
    default:
      return normal_of(bits) * power;
  }
}

/// Element (row, column) of the x of scale_softmax, before it is rounded.
MASTHEAD_HOST_DEVICE double softmax_x(const Case& c, std::int64_t row, std::int64_t column) {
  const std::int64_t j = twin_of(c, column);
  const std::uint64_t bits = bits_of(c.values, stream_x, row * c.columns + j),
                      of_row = bits_of(c.values, stream_row, row);
  const bool half = c.x == masthead::Dtype::f16;
  if (c.special == Special::some_rows) {
    const std::int64_t place = twin_of(c, static_cast<std::int64_t>(of_row >> 1) % c.columns);
    if (row % 5 == 1 && j == place) return NAN;
    if (row % 7 == 2 && j == place) return INFINITY;
    if (row % 33 == 3 || (row % 11 == 3 && (bits & 2) != 0)) return -INFINITY;
  }
  const double largest = largest_of(c.x);
  const int digits = c.x == masthead::Dtype::f64 ? 52 : half ? 10 : c.x == masthead::Dtype::f32 ? 23 : 7;
  switch (c.data) {
    case Data::positive:
      return uniform_of(bits);
    case Data::log_uniform: {
      const int low = half ? -24 : -126, count = half ? 40 : 254;
      const double value = signed_of(bits) * power_of_two(low + static_cast<int>(bits >> 8 & 0xffff) % count);
      return value > largest ? largest : value < -largest ? -largest : value;
    }
    case Data::equal: {
      if (row % 4 == 0) return (of_row & 1) != 0 ? largest : -largest;
      const int low = half ? -14 : -126, count = half ? 30 : 254;
      const double value =
          signed_of(of_row) * power_of_two(low + static_cast<int>(of_row >> 8 & 0xffff) % count);
      return value > largest ? largest : value < -largest ? -largest : value;
    }
    case Data::neighbors: {
      const int low = half ? -10 : -20, count = half ? 26 : 148;
      const int exponent = low + static_cast<int>(of_row >> 8 & 0xffff) % count;
      const double value = power_of_two(exponent) * (1 + static_cast<double>(of_row >> 32 & 63) / 64);
      const double below = value - power_of_two(exponent - digits);
      const double chosen = (bits & 3) == 0 ? below : value;
      return (of_row & 1) != 0 ? chosen : -chosen;
    }
    case Data::peaks:
      if ((bits & 7) == 0) return largest;
      if ((bits & 7) == 1) return largest * (0.5 + 0.5 * uniform_of(bits));
      return -largest * uniform_of(bits);
    case Data::masked:
      return row % 13 == 5 || (bits & 1) != 0 ? -largest : 3 * normal_of(bits);
    case Data::magnitudes:
      return power_of_two(c.x_exponent) * normal_of(bits);
    default:
      return 3 * normal_of(bits);
  }
}

/// Element `column` of the scale, of any call.
MASTHEAD_HOST_DEVICE double scale_value(const Case& c, std::int64_t column) {
  const std::uint64_t bits = bits_of(c.values, stream_scale, twin_of(c, column));
  switch (c.scale) {
    case ScaleValue::unit:
      return (bits & 1) != 0 ? 1 : -1;
    case ScaleValue::zero:
      return c.scale_of != ScaleOf::per_column || (bits & 2) != 0 ? 0 : 0.5 * signed_of(bits);
    default:
      return signed_of(bits) * power_of_two(c.scale_exponent);
  }
}

MASTHEAD_HOST_DEVICE double bias_value(const Case& c, std::int64_t feature) {
  const std::uint64_t bits = bits_of(c.values, stream_bias, twin_of(c, feature));
  if (c.data == Data::integers)
    return static_cast<double>(static_cast<std::int64_t>(bits >> 40) % 17 - 8) * 0.25;
  return normal_of(bits);
}
MASTHEAD_HOST_DEVICE double gamma_value(const Case& c, std::int64_t feature) {
  const std::int64_t n = twin_of(c, feature);
  return n % 17 == 5 ? 0 : signed_of(bits_of(c.values, stream_gamma, n));
}
MASTHEAD_HOST_DEVICE double beta_value(const Case& c, std::int64_t feature) {
  const std::int64_t n = twin_of(c, feature);
  if (n % 3 == 1 && c.beta == BetaOf::infinite) return -INFINITY;
  if (n % 3 == 1 && c.beta == BetaOf::lowest) return -largest_of(c.beta_dtype);
  return normal_of(bits_of(c.values, stream_beta, n));
}
/// The running mean, where it does not come of the batch.
MASTHEAD_HOST_DEVICE double mean_value(const Case& c, std::int64_t feature) {
  const std::uint64_t bits = bits_of(c.values, stream_mean, twin_of(c, feature));
  const double value =
      c.statistics == Statistics::far ? signed_of(bits) * power_of_two(c.far_exponent) : normal_of(bits);
  return c.data == Data::integers ? rint(value * 4) * 0.25 : value;
}
/// The running variance, where it does not come of the batch.
MASTHEAD_HOST_DEVICE double var_value(const Case& c, std::int64_t feature) {
  const std::int64_t n = twin_of(c, feature);
  if (c.statistics == Statistics::no_variance) return n % 4 < 2 ? 0 : 1e-12;
  return 0.25 + 3.75 * uniform_of(bits_of(c.values, stream_var, n));
}

}  // namespace test::fuzz

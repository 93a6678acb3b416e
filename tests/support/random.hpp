#pragma once
/// Seeded random numbers for tests: the same on every platform.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace test {

/// mt19937_64, whose sequence the standard fixes; the distributions are our own, as those of the standard
/// library differ between implementations.
class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}

  /// In [low, high).
  double uniform(double low = 0, double high = 1) {
    return low + (high - low) * (static_cast<double>(engine_() >> 11) * 0x1p-53);
  }

  double normal(double mean = 0, double deviation = 1) {
    const double radius = std::sqrt(-2 * std::log(1 - uniform()));
    return mean + deviation * radius * std::cos(6.283185307179586 * uniform());
  }

  /// Either sign, magnitude 2^uniform(low_exponent, high_exponent).
  double log_uniform(double low_exponent, double high_exponent) {
    const double sign = uniform() < 0.5 ? -1 : 1;
    return sign * std::exp2(uniform(low_exponent, high_exponent));
  }

  /// In [low, high].
  std::int64_t integer(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(engine_() % static_cast<std::uint64_t>(high - low + 1));
  }

  /// `count` values of draw().
  template <class Draw>
  static std::vector<double> many(std::int64_t count, const Draw& draw) {
    std::vector<double> values(static_cast<std::size_t>(count));
    for (double& value : values) value = draw();
    return values;
  }

  std::vector<double> uniforms(std::int64_t count, double low = 0, double high = 1) {
    return many(count, [&] { return uniform(low, high); });
  }
  std::vector<double> normals(std::int64_t count, double mean = 0, double deviation = 1) {
    return many(count, [&] { return normal(mean, deviation); });
  }
  std::vector<double> log_uniforms(std::int64_t count, double low_exponent, double high_exponent) {
    return many(count, [&] { return log_uniform(low_exponent, high_exponent); });
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace test

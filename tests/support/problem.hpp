#pragma once
/// Random heads, and their values in the element types of the library.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ostream>
#include <span>
#include <vector>

#include "masthead/core/parameters.hpp"
#include "masthead/numeric/rounding.hpp"
#include "random.hpp"
#include "reference.hpp"

namespace test {

/// Contiguous values of a dtype that is data, as bytes: what is copied to a device, or viewed in place.
struct Elements {
  masthead::Dtype dtype = masthead::Dtype::f32;
  std::vector<unsigned char> bytes;

  std::int64_t size() const { return static_cast<std::int64_t>(bytes.size()) / masthead::size_of(dtype); }
  masthead::ConstVector view() const {
    return bytes.empty() ? masthead::ConstVector{} : masthead::ConstVector{bytes.data(), dtype, size()};
  }
  masthead::MutableVector view() {
    return bytes.empty() ? masthead::MutableVector{} : masthead::MutableVector{bytes.data(), dtype, size()};
  }
  template <class T>
  const T* data() const {
    return reinterpret_cast<const T*>(bytes.data());
  }
};

namespace detail {

template <class T>
void append(std::vector<unsigned char>& bytes, double value) {
  const T element = masthead::round_to<T>(value);
  unsigned char raw[sizeof(T)];
  std::memcpy(raw, &element, sizeof(T));
  bytes.insert(bytes.end(), raw, raw + sizeof(T));
}

template <class T>
double element_at(const unsigned char* bytes, std::int64_t index) {
  T element;
  std::memcpy(&element, bytes + at(index) * sizeof(T), sizeof(T));
  return masthead::widen(element);
}

}  // namespace detail

/// Rounds values to a dtype.
inline Elements to_elements(const std::vector<double>& values, masthead::Dtype dtype) {
  using masthead::Dtype;
  Elements e{dtype, {}};
  e.bytes.reserve(values.size() * at(masthead::size_of(dtype)));
  for (const double value : values) {
    if (dtype == Dtype::f64) detail::append<double>(e.bytes, value);
    if (dtype == Dtype::f32) detail::append<float>(e.bytes, value);
    if (dtype == Dtype::f16) detail::append<masthead::Half>(e.bytes, value);
    if (dtype == Dtype::bf16) detail::append<masthead::BFloat16>(e.bytes, value);
  }
  return e;
}

/// Element `index` of memory of a dtype, exactly.
inline double to_double(const unsigned char* bytes, masthead::Dtype dtype, std::int64_t index) {
  using masthead::Dtype;
  switch (dtype) {
    case Dtype::f64:
      return detail::element_at<double>(bytes, index);
    case Dtype::f32:
      return detail::element_at<float>(bytes, index);
    case Dtype::f16:
      return detail::element_at<masthead::Half>(bytes, index);
    default:
      return detail::element_at<masthead::BFloat16>(bytes, index);
  }
}

inline std::vector<double> to_doubles(const Elements& elements) {
  std::vector<double> values(at(elements.size()));
  for (std::int64_t i = 0; i < elements.size(); ++i) {
    values[at(i)] = to_double(elements.bytes.data(), elements.dtype, i);
  }
  return values;
}

/// The values as they are after rounding to a dtype: what a reference must start from.
inline std::vector<double> rounded(const std::vector<double>& values, masthead::Dtype dtype) {
  return to_doubles(to_elements(values, dtype));
}

/// The value rounded to the nearest tf32: 11 significant bits in float's range of exponents.
inline double rounded_to_tf32(double value) {
  if (value == 0 || !std::isfinite(value)) return value;
  const double unit = std::ldexp(1.0, std::max(std::ilogb(value) - 10, -136));
  const double nearest = std::nearbyint(value / unit) * unit;  // the default mode: ties to even
  return std::abs(nearest) < 0x1p128 ? nearest : std::copysign(HUGE_VAL, value);
}

/// A row scaled so that its largest magnitude lies in [2^14, 2^15), rounded to half, and scaled back; what
/// half has no number for but 0 becomes its smallest. Finite values.
inline void round_to_scaled_f16(std::span<double> row) {
  double largest = 0;
  for (const double v : row) largest = std::max(largest, std::abs(v));
  if (largest == 0) return;
  const int exponent = 14 - std::ilogb(largest);
  for (double& v : row) {
    const double magnitude = std::ldexp(std::abs(v), exponent);
    if (magnitude == 0) continue;
    const double unit = std::ldexp(1.0, std::max(std::ilogb(magnitude) - 10, -24));
    const double nearest = std::nearbyint(magnitude / unit) * unit;  // the default mode: ties to even
    v = std::copysign(std::ldexp(std::max(nearest, 0x1p-24), -exponent), v);
  }
}

struct Shape {
  std::int64_t batch, in_features, out_features;

  friend std::ostream& operator<<(std::ostream& out, const Shape& s) {
    return out << s.batch << " x " << s.in_features << " -> " << s.out_features;
  }
};

/// What `x` is drawn from; the weight is normal.
enum class Data { normal, uniform, log_uniform };

/// A head with random parameters (a third of gamma negative), all values exact in their dtypes. `scale` is
/// taken as it is.
inline HeadProblem random_problem(const Shape& shape, masthead::Dtype operands, masthead::Dtype vectors,
                                  const std::vector<double>& scale, std::uint64_t seed,
                                  Data data = Data::normal) {
  Random random(seed);
  const std::int64_t n = shape.out_features, x_size = shape.batch * shape.in_features;
  HeadProblem p{shape.batch, shape.in_features, n, {}, {}, {}, {}, {}, {}, {}, {}};
  p.x = data == Data::normal    ? random.normals(x_size)
        : data == Data::uniform ? random.uniforms(x_size)
                                : random.log_uniforms(x_size, -12, 0);
  p.weight = random.normals(n * shape.in_features, 0, 1 / std::sqrt(static_cast<double>(shape.in_features)));
  p.bias = random.normals(n);
  p.gamma = Random::many(n, [&] { return (random.uniform() < 1.0 / 3 ? -1 : 1) * random.uniform(0.25, 2); });
  p.beta = random.normals(n);
  p.running_mean = random.normals(n);
  p.running_var = random.uniforms(n, 0.25, 4);
  p.x = rounded(p.x, operands);
  p.weight = rounded(p.weight, operands);
  for (std::vector<double>* v : {&p.bias, &p.gamma, &p.beta, &p.running_mean, &p.running_var}) {
    *v = rounded(*v, vectors);
  }
  p.scale = rounded(scale, vectors);
  return p;
}

/// One scale for each feature: either sign, and a zero.
inline std::vector<double> scale_per_feature(std::int64_t features, std::uint64_t seed) {
  std::vector<double> scale = Random(seed).uniforms(features, -3, 3);
  scale[at(features / 2)] = 0;
  return scale;
}

/// A problem in element types, in host memory.
template <masthead::Element T>
struct HostProblem {
  Elements x, weight, bias, gamma, beta, running_mean, running_var, scale;
  Shape shape;
  double epsilon;

  HostProblem(const HeadProblem& p, masthead::Dtype vectors)
      : x(to_elements(p.x, masthead::dtype_of<T>)),
        weight(to_elements(p.weight, masthead::dtype_of<T>)),
        bias(to_elements(p.bias, vectors)),
        gamma(to_elements(p.gamma, vectors)),
        beta(to_elements(p.beta, vectors)),
        running_mean(to_elements(p.running_mean, vectors)),
        running_var(to_elements(p.running_var, vectors)),
        scale(to_elements(p.scale, vectors)),
        shape{p.batch, p.in_features, p.out_features},
        epsilon(p.epsilon) {}

  masthead::Matrix<const T> x_view() const { return {x.data<T>(), shape.batch, shape.in_features}; }

  masthead::Parameters<T> parameters() const {
    return {.weight = {weight.data<T>(), shape.out_features, shape.in_features},
            .bias = bias.view(),
            .gamma = gamma.view(),
            .beta = beta.view(),
            .running_mean = running_mean.view(),
            .running_var = running_var.view(),
            .scale = scale.view(),
            .epsilon = epsilon};
  }
};

}  // namespace test

#pragma once
/// Random heads on the device.

#include <cstdint>
#include <cstring>
#include <optional>
#include <ostream>
#include <span>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

#include "device.cuh"
#include "masthead/head.cuh"

namespace test {

using masthead::Dtype;
using masthead::Head;
using masthead::Mode;
using masthead::Output;
using masthead::Precision;

/// A precision as a type, for TEST_CASE_TEMPLATE.
template <Precision value>
using PrecisionOf = std::integral_constant<Precision, value>;

template <Precision precision>
using ElementOf = typename Head<precision>::Element;

/// The dtypes of the per-feature vectors, which need not agree.
struct VectorDtypes {
  masthead::Dtype bias, gamma, beta, running_mean, running_var, scale;

  static VectorDtypes all(masthead::Dtype d) { return {d, d, d, d, d, d}; }
  static VectorDtypes mixed() {
    using masthead::Dtype;
    return {Dtype::bf16, Dtype::f64, Dtype::f16, Dtype::f32, Dtype::f64, Dtype::f16};
  }
};

/// Everything that makes a random head.
struct HeadCase {
  Shape shape;
  std::vector<double> scale = {1};
  VectorDtypes dtypes = VectorDtypes::all(masthead::Dtype::f32);
  Data data = Data::normal;
  std::int64_t pad = 0;    // elements between rows of x, weight and y
  std::int64_t shift = 0;  // elements off alignment of x, weight and y, and of the vectors
  bool affine = true;      // bias, gamma and beta are there
  std::uint64_t seed = 1;

  friend std::ostream& operator<<(std::ostream& out, const HeadCase& c) {
    out << c.shape << ", scale ";
    if (c.scale.empty()) out << "absent";
    if (c.scale.size() == 1) out << c.scale[0];
    if (c.scale.size() > 1) out << "per feature";
    return out << ", bias " << c.dtypes.bias << ", pad " << c.pad << ", shift " << c.shift
               << (c.affine ? "" : ", no affine") << ", seed " << c.seed;
  }
};

inline std::string to_string(const HeadCase& c) {
  std::ostringstream out;
  out << c;
  return out.str();
}

/// The values of a case, exact in their dtypes.
inline HeadProblem problem_of(const HeadCase& c, masthead::Dtype operands) {
  HeadProblem p = random_problem(c.shape, operands, masthead::Dtype::f64, c.scale, c.seed, c.data);
  p.bias = rounded(p.bias, c.dtypes.bias);
  p.gamma = rounded(p.gamma, c.dtypes.gamma);
  p.beta = rounded(p.beta, c.dtypes.beta);
  p.running_mean = rounded(p.running_mean, c.dtypes.running_mean);
  p.running_var = rounded(p.running_var, c.dtypes.running_var);
  p.scale = rounded(p.scale, c.dtypes.scale);
  if (!c.affine) p.bias = p.gamma = p.beta = {};
  return p;
}

/// Rows of `columns` elements as the Hopper engine multiplies them.
template <Precision precision>
std::vector<double> multiplied(std::vector<double> values, std::int64_t columns) {
  if (precision == Precision::tf32) {
    for (double& v : values) v = rounded_to_tf32(v);
  } else if (precision == Precision::fp16_scaled) {
    for (std::size_t row = 0; row < values.size(); row += at(columns)) {
      round_to_scaled_f16(std::span(values).subspan(row, at(columns)));
    }
  }
  return values;
}

/// The same with operands that every engine of `precision` multiplies as they are.
template <Precision precision>
HeadProblem problem_of(const HeadCase& c) {
  HeadProblem p = problem_of(c, masthead::operand_dtype(precision));
  p.x = multiplied<precision>(p.x, p.in_features);
  p.weight = multiplied<precision>(p.weight, p.in_features);
  return p;
}

/// Rows of a problem, in eval mode a problem of their own.
inline HeadProblem rows_of(const HeadProblem& p, const std::vector<std::int64_t>& rows) {
  HeadProblem part = p;
  part.batch = static_cast<std::int64_t>(rows.size());
  part.x.clear();
  for (const std::int64_t m : rows) {
    const auto row = p.x.begin() + m * p.in_features;
    part.x.insert(part.x.end(), row, row + p.in_features);
  }
  return part;
}

template <masthead::Element T>
struct DeviceProblem {
  Shape shape;
  double epsilon;
  DeviceMatrix<T> x, weight;
  DeviceVector bias, gamma, beta, running_mean, running_var, scale;

  DeviceProblem(const HeadProblem& p, const HeadCase& c)
      : shape{p.batch, p.in_features, p.out_features},
        epsilon(p.epsilon),
        x(p.batch, p.in_features, p.in_features + c.pad, c.shift),
        weight(p.out_features, p.in_features, p.in_features + c.pad, c.shift),
        bias(p.bias, c.dtypes.bias, c.shift),
        gamma(p.gamma, c.dtypes.gamma, c.shift),
        beta(p.beta, c.dtypes.beta, c.shift),
        running_mean(p.running_mean, c.dtypes.running_mean, c.shift),
        running_var(p.running_var, c.dtypes.running_var, c.shift),
        scale(p.scale, c.dtypes.scale, c.shift) {
    x.set(p.x);
    weight.set(p.weight);
  }
  explicit DeviceProblem(const HeadCase& c) : DeviceProblem(problem_of(c, masthead::dtype_of<T>), c) {}

  masthead::Parameters<T> parameters() {
    return {.weight = weight.view(),
            .bias = bias.view(),
            .gamma = gamma.view(),
            .beta = beta.view(),
            .running_mean = running_mean.view(),
            .running_var = running_var.view(),
            .scale = scale.view(),
            .epsilon = epsilon};
  }
};

/// What training mode updates, on the device between canaries.
struct DeviceRunning {
  DeviceVector mean, var;
  DeviceFence tracked;

  DeviceRunning(const RunningReference& start, masthead::Dtype dtype)
      : mean(start.mean, dtype), var(start.var, dtype), tracked(sizeof(std::int64_t)) {
    set_tracked(start.batches_tracked);
  }

  masthead::RunningStatistics view(std::optional<double> momentum) const {
    return {.mean = mean.view(),
            .var = var.view(),
            .batches_tracked = reinterpret_cast<std::int64_t*>(tracked.data()),
            .momentum = momentum};
  }

  void set_tracked(std::int64_t count) {
    std::vector<unsigned char> bytes(sizeof(count));
    std::memcpy(bytes.data(), &count, sizeof(count));
    tracked.upload(bytes);
  }
  std::int64_t batches_tracked() const {
    std::int64_t count;
    std::memcpy(&count, tracked.download().data(), sizeof(count));
    return count;
  }
  bool intact() const { return mean.intact() && var.intact() && tracked.intact(); }
};

/// Running statistics to start from, exact in `dtype`.
inline RunningReference running_start(std::int64_t features, masthead::Dtype dtype) {
  Random random(99);
  return {rounded(random.normals(features), dtype), rounded(random.uniforms(features, 0.5, 2), dtype), 4};
}

/// The units in the last place by which an engine may miss a 16-bit output: the SIMT engine rounds a float
/// once, the others keep intermediate results in fewer bits.
inline double stored_ulps(const masthead::PolicySpec& policy) {
  return policy.engine == masthead::Engine::simt ? 0.5 : 0.75;
}

/// One forward pass into a fenced matrix, with a fenced workspace. Whatever was written outside y is found.
template <class U, masthead::Precision precision>
FencedMatrix<masthead::HostElement<masthead::dtype_of<U>>> forward(
    const masthead::Head<precision>& head,
    const masthead::Matrix<const typename masthead::Head<precision>::Element>& x, std::int64_t features,
    masthead::Mode mode, const Stream& stream, Findings& findings,
    masthead::Output output = masthead::Output::softmax, const masthead::RunningStatistics& running = {},
    std::int64_t pad = 0, std::int64_t shift = 0) {
  DeviceMatrix<U> y(x.rows, features, features + pad, shift);
  const DeviceWorkspace workspace(
      head.workspace_bytes(x, {.mode = mode, .output = output, .y = masthead::dtype_of<U>}));
  if (mode == masthead::Mode::eval) {
    head.forward(x, y.view(), {.output = output, .workspace = workspace.view()}, stream);
  } else {
    head.forward_training(x, y.view(), {.output = output, .workspace = workspace.view(), .running = running},
                          stream);
  }
  stream.synchronize();
  findings.push_back({workspace.intact(), "writes beyond the workspace"});
  findings.push_back({y.download().intact(), "writes beyond y"});
  return y.download();
}

}  // namespace test

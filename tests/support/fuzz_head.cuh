#pragma once
/// The calls of heads of tests/device/fuzz: the head itself, and each shipped policy by hand.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>

#include "fuzz_device.cuh"
#include "masthead/head.cuh"
#include "masthead/linear_batch_norm_softmax.cuh"

namespace test::fuzz {

/// The parameters in the memory of a case.
template <class T>
masthead::Parameters<T> parameters_of(const Workplace& place) {
  return {.weight = masthead::Matrix<const T>(matrix_of<T>(place.weight)),
          .bias = vector_of(place.bias),
          .gamma = vector_of(place.gamma),
          .beta = vector_of(place.beta),
          .running_mean = vector_of(place.mean),
          .running_var = vector_of(place.var),
          .scale = vector_of(place.scale),
          .epsilon = epsilons[place.c.epsilon]};
}

/// The running statistics that training mode updates, if the case has some.
inline masthead::RunningStatistics running_of(const Workplace& place) {
  if (!place.running_mean.present()) return {};
  masthead::RunningStatistics running{
      .mean = vector_of(place.running_mean),
      .var = vector_of(place.running_var),
      .batches_tracked = static_cast<std::int64_t*>(place.batches_tracked.data()),
      .momentum = momentum};
  if (place.c.cumulative) running.momentum = std::nullopt;
  return running;
}

/// The rows of x that are run alone, too.
template <class T>
masthead::Matrix<const T> part_of_x(const Workplace& place) {
  const auto x = matrix_of<T>(place.x);
  return {x.data + place.c.part_first * x.row_stride, place.c.part_rows, x.columns, x.row_stride};
}

/// What the workspace of a call is: all there is of it.
inline masthead::Workspace workspace_of(const Workplace& place) {
  return {place.workspace.data(), place.workspace.columns};
}

/// Runs the head's own choice.
template <masthead::Precision precision, class U>
void run_chosen(Workplace& place, bool& quantized) {
  using Head = masthead::Head<precision>;
  using T = typename Head::Element;
  const Case& c = place.c;
  const Head head(parameters_of<T>(place), place.stream());
  const masthead::Matrix<const T> x = matrix_of<T>(place.x);
  const masthead::WorkspaceOptions options{.mode = c.mode, .output = c.output, .y = masthead::dtype_of<U>};
  const masthead::PolicySpec policy = head.plan(x, options).policy;
  const bool tensor = policy.engine != masthead::Engine::simt;
  quantized = tensor;
  place.set_reference(tensor, policy.math_mode);
  const auto call = [&](const masthead::Matrix<const T>& rows, const masthead::Matrix<U>& y) {
    masthead::ForwardOptions forward{.output = c.output, .running = running_of(place)};
    if (!c.allocates) forward.workspace = workspace_of(place);
    if (c.training()) {
      head.forward_training(rows, y, forward, place.stream());
    } else {
      forward.running = {};
      head.forward(rows, y, forward, place.stream());
    }
  };
  std::int64_t bytes = head.workspace_bytes(x, options);
  // Fewer rows may take a policy that needs more.
  if (place.part.present()) bytes = std::max(bytes, head.workspace_bytes(part_of_x<T>(place), options));
  place.poison(c.allocates ? 0 : bytes);
  call(x, matrix_of<U>(place.y));
  if (place.part.present()) call(part_of_x<T>(place), matrix_of<U>(place.part));
}

/// Runs one policy.
template <class Policy, masthead::Precision precision, class U>
void run_policy(Workplace& place) {
  using T = typename masthead::Head<precision>::Element;
  const Case& c = place.c;
  place.set_reference(Policy::spec.engine != masthead::Engine::simt, Policy::spec.math_mode);
  const masthead::Parameters<T> parameters = parameters_of<T>(place);
  masthead::HeadArguments<T, U> arguments{matrix_of<T>(place.x), parameters, matrix_of<U>(place.y), c.output};
  place.poison(masthead::workspace_bytes<Policy>(arguments, c.mode));
  const masthead::Workspace workspace = workspace_of(place);
  const cudaStream_t stream = place.stream();
  const auto call = [&](const auto&... weight) {
    if (c.training()) {
      masthead::linear_batch_norm_softmax_training<Policy>(arguments, weight..., running_of(place), workspace,
                                                           stream);
      return;
    }
    masthead::linear_batch_norm_softmax<Policy>(arguments, weight..., workspace, stream);
    if (!place.part.present()) return;
    arguments.x = part_of_x<T>(place);
    arguments.y = matrix_of<U>(place.part);
    masthead::linear_batch_norm_softmax<Policy>(arguments, weight..., workspace, stream);
  };
  if constexpr (masthead::detail::is_packed(Policy::spec.math_mode)) {
    const auto weight = masthead::PackedWeight::of<Policy::spec.math_mode>(
        parameters.weight, masthead::detail::Device::current(stream), stream);
    call(weight);
  } else {
    call();
  }
}

/// The shipped policies of an engine.
template <masthead::Precision precision, EngineOf engine>
constexpr auto policies_of() {
  using namespace masthead::detail;
  constexpr masthead::Dtype dtype = masthead::operand_dtype(precision);
  constexpr masthead::MathMode mode = masthead::math_mode_of(precision);
  if constexpr (engine == EngineOf::simt && precision != masthead::Precision::fp8) {
    return shipped_simt(dtype).all();
  } else if constexpr (engine == EngineOf::wgmma && (has_wgmma(precision) || is_packed(mode))) {
    return shipped_wgmma(mode, dtype).all();
  } else if constexpr (engine == EngineOf::swap_ab && has_wgmma(precision)) {
    return shipped_swap_ab(dtype).all();
  } else {
    return std::array<masthead::PolicySpec, 0>();
  }
}

/// Runs the policy that the case names, of those of its engine.
template <masthead::Precision precision, EngineOf engine, class U>
void run_engine(Workplace& place) {
  constexpr auto shipped = policies_of<precision, engine>();
  const auto run = [&]<masthead::PolicySpec spec>() {
    run_policy<masthead::PolicyFor<spec>, precision, U>(place);
  };
  std::size_t index = static_cast<std::size_t>(place.c.policy);
  if constexpr (shipped.size() > 0) index %= shipped.size();
  [&]<std::size_t... i>(std::index_sequence<i...>) {
    ((index == i ? run.template operator()<shipped[i]>() : void()), ...);
  }
  (std::make_index_sequence<shipped.size()>());
}

template <masthead::Precision precision, class U>
void run_head_into(Workplace& place, bool& quantized) {
  quantized = place.c.engine != EngineOf::simt;
  switch (place.c.engine) {
    case EngineOf::simt:
      return run_engine<precision, EngineOf::simt, U>(place);
    case EngineOf::wgmma:
      return run_engine<precision, EngineOf::wgmma, U>(place);
    case EngineOf::swap_ab:
      return run_engine<precision, EngineOf::swap_ab, U>(place);
    default:
      return run_chosen<precision, U>(place, quantized);
  }
}

template <masthead::Precision precision>
void run_head(Workplace& place, Found& found, bool& quantized) {
  using T = typename masthead::Head<precision>::Element;
  using Sum = masthead::Accumulator<T>;
  const bool tensor = place.c.engine == EngineOf::wgmma || place.c.engine == EngineOf::swap_ab ||
                      precision == masthead::Precision::fp8;
  if (tensor) {
    const auto reason = masthead::detail::check_compiled_for_sm90a(
        masthead::detail::shipped_wgmma(masthead::MathMode::plain, masthead::Dtype::bf16).m128,
        masthead::detail::Device::current(place.stream()));
    if (reason) {
      found.skipped = reason->what();
      return;
    }
  }
  if constexpr (!std::is_same_v<T, Sum>) {
    if (place.c.y == masthead::dtype_of<Sum>) return run_head_into<precision, Sum>(place, quantized);
  }
  run_head_into<precision, T>(place, quantized);
}

}  // namespace test::fuzz

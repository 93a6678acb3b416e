#pragma once
/// A head's case: all that the program uses of masthead::Head is here.

#include <cstdint>
#include <optional>
#include <type_traits>

#include "fingerprint/memory.cuh"
#include "fingerprint/run.hpp"
#include "fingerprint/two_passes.cuh"
#include "masthead/core/dtype.cuh"
#include "masthead/head.cuh"

namespace benchmark {

/// Whether the library says that it has no such head for this GPU or in this code.
inline bool is_unsupported(const masthead::Error& error) {
  return error.argument() == "device.architecture" ||
         (error.argument() == "policy" && error.rule().starts_with("must be compiled for"));
}

/// Runs a case whose y is of `U`.
template <masthead::Precision precision, class U>
Outcome run_head_into(const HeadCase& of, Arena& arena, cudaStream_t stream) {
  namespace mh = masthead;
  using T = mh::DeviceElement<mh::operand_dtype(precision)>;
  using Sum = mh::Accumulator<T>;
  arena.reset();
  Seeds seeds(of.name());

  const auto x = Region<T>::take(arena, of.batch, of.in_features, of.x);
  const auto weight = Region<T>::take(arena, of.out_features, of.in_features, of.weight);
  const auto y = Region<U>::take(arena, of.batch, of.out_features, of.y);
  fill(x, UniformProduct{of.magnitude}, seeds.next(), stream);
  if (of.non_finite) place_non_finite(x, stream);
  fill(weight, UniformProduct{}, seeds.next(), stream);
  const auto vector = [&](std::int64_t size, const Uniform& distribution, auto element) {
    const auto region = Region<decltype(element)>::take(arena, 1, size);
    fill(region, distribution, seeds.next(), stream);
    return region;
  };
  const std::int64_t n = of.out_features;
  const auto bias = vector(n, {-0.5, 0.5}, T{});
  const auto gamma = vector(n, {-0.5, 1.5}, Sum{});
  const auto beta = vector(n, {-0.5, 0.5}, Sum{});
  const auto mean = vector(n, {-0.25, 0.25}, Sum{});
  const auto variance = vector(n, {0.5, 1.5}, Sum{});
  const auto scale = vector(of.scale == ScaleOf::per_column ? n : 1, {0.75, 1.25}, Sum{});
  const auto view = [](const auto& region, bool present = true) {
    return present ? mh::ConstVector{region.data(), region.columns} : mh::ConstVector{};
  };
  const mh::Matrix<const T> x_view(x.data(), x.rows, x.columns, x.row_stride);
  const mh::Matrix<U> y_view(y.data(), y.rows, y.columns, y.row_stride);
  const mh::Parameters<T> parameters{.weight = {weight.data(), n, of.in_features, weight.row_stride},
                                     .bias = view(bias, of.bias),
                                     .gamma = view(gamma, of.gamma),
                                     .beta = view(beta, of.beta),
                                     .running_mean = view(mean),
                                     .running_var = view(variance),
                                     .scale = view(scale, of.scale != ScaleOf::absent),
                                     .epsilon = 1e-5};

  const bool training = of.normalization != Normalization::eval;
  const bool tracked = training && of.normalization != Normalization::untracked;
  const auto running_mean = Region<Sum>::take(arena, 1, n), running_variance = Region<Sum>::take(arena, 1, n);
  const auto batches_tracked = Region<std::int64_t>::take(arena, 1, 1);
  const std::uint64_t mean_seed = seeds.next(), variance_seed = seeds.next();
  mh::RunningStatistics running;
  if (tracked) {
    running = {.mean = {running_mean.data(), n},
               .var = {running_variance.data(), n},
               .batches_tracked = batches_tracked.data(),
               .momentum = 0.125};
    if (of.normalization == Normalization::cumulative) running.momentum = std::nullopt;
  }

  const mh::Mode mode = training ? mh::Mode::training : mh::Mode::eval;
  const mh::Output output = of.log_softmax ? mh::Output::log_softmax : mh::Output::softmax;
  std::optional<mh::Head<precision>> head;
  try {
    head.emplace(parameters, stream);
  } catch (const mh::Error& error) {
    if (!is_unsupported(error)) throw;
    return {.hash = {}, .skipped = error.what(), .failure = {}};
  }
  // Exactly as many bytes as asked for; what is behind them must be left alone.
  const std::int64_t bytes = head->workspace_bytes(x_view,
                                                   {.mode = mode, .output = output, .y = mh::dtype_of<U>}),
                     behind = 32;
  auto* const memory = arena.take<std::uint64_t>(bytes / 8 + behind);
  const Region<std::uint64_t> workspace{memory, 0, 1, bytes / 8, bytes / 8 + 1, bytes / 8 + behind};
  const Region<std::uint64_t> behind_workspace{memory + bytes / 8, 0, 0, 0, 1, behind};

  return two_passes(arena, stream, [&](int pass, Digester& digester) {
    poison(y, poisons[pass], stream);
    poison(workspace, poisons[pass], stream);
    if (tracked) {
      fill(running_mean, Uniform{-0.25, 0.25}, mean_seed, stream, poisons[pass]);
      fill(running_variance, Uniform{0.5, 1.5}, variance_seed, stream, poisons[pass]);
      poison(batches_tracked, poisons[pass], stream);
      // Three batches so far, in little-endian order.
      succeed(cudaMemsetAsync(batches_tracked.data(), 0, sizeof(std::int64_t), stream));
      succeed(cudaMemsetAsync(batches_tracked.data(), 3, 1, stream));
    }
    const mh::Workspace given{bytes > 0 ? memory : nullptr, bytes};
    if (training) {
      head->forward_training(x_view, y_view, {.output = output, .workspace = given, .running = running},
                             stream);
    } else {
      head->forward(x_view, y_view, {.output = output, .workspace = given}, stream);
    }
    digester.add(y, poisons[pass]);
    digester.add(behind_workspace, poisons[pass]);
    if (tracked) {
      digester.add(running_mean, poisons[pass]);
      digester.add(running_variance, poisons[pass]);
      digester.add(batches_tracked, poisons[pass]);
    }
  });
}

template <masthead::Precision precision>
Outcome run_head(const HeadCase& of, Arena& arena, cudaStream_t stream) {
  using T = masthead::DeviceElement<masthead::operand_dtype(precision)>;
  using Sum = masthead::Accumulator<T>;
  if constexpr (!std::is_same_v<T, Sum>) {
    if (of.accumulator_y) return run_head_into<precision, Sum>(of, arena, stream);
  }
  return run_head_into<precision, T>(of, arena, stream);
}

}  // namespace benchmark

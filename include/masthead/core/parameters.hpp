#pragma once
/// What the caller hands in: the parameters of a head, what a pass reads and writes, and its workspace.
///
/// Nothing here owns memory, and nothing here needs CUDA: the GPU head and the CPU executor share these
/// types.

#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>

#include "masthead/core/matrix.hpp"

namespace masthead::inline v0 {

/// What softmax writes. `log_softmax` is the natural logarithm of the probabilities, computed without them.
enum class Output : std::uint8_t { softmax, log_softmax };

/// Which statistics BatchNorm normalizes with.
enum class Mode : std::uint8_t {
  eval,      ///< running_mean and running_var of the parameters
  training,  ///< mean and biased variance of this batch
};

constexpr std::string_view name(Output output) {
  return output == Output::softmax ? "softmax" : "log_softmax";
}
constexpr std::string_view name(Mode mode) { return mode == Mode::eval ? "eval" : "training"; }

/// The parameters of a head, named as in nn.Linear and nn.BatchNorm1d. `T` is the operands' element type.
template <Element T>
struct Parameters {
  Matrix<const T> weight = {};    ///< (out_features, in_features)
  ConstVector bias = {};          ///< (out_features); absent: 0
  ConstVector gamma = {};         ///< (out_features), BatchNorm's weight; absent: 1
  ConstVector beta = {};          ///< (out_features), BatchNorm's bias; absent: 0
  ConstVector running_mean = {};  ///< (out_features); needed in eval mode
  ConstVector running_var = {};   ///< (out_features); needed in eval mode
  ConstVector scale = {};         ///< (1) or (out_features); absent: 1
  double epsilon = 1e-5;          ///< BatchNorm's eps

  MASTHEAD_HOST_DEVICE constexpr std::int64_t in_features() const { return weight.columns; }
  MASTHEAD_HOST_DEVICE constexpr std::int64_t out_features() const { return weight.rows; }
};

/// What training mode updates: running = (1 - factor) * running + factor * batch, with the unbiased variance.
/// Absent vectors (track_running_stats=False) are left alone. Null `batches_tracked` is not counted.
struct RunningStatistics {
  MutableVector mean = {};                  ///< (out_features)
  MutableVector var = {};                   ///< (out_features)
  std::int64_t* batches_tracked = nullptr;  ///< incremented by one
  std::optional<double> momentum = 0.1;     ///< factor; nullopt: 1 / batches_tracked, a cumulative average
};

/// Memory for one call at a time. Nothing stays in it between calls.
struct Workspace {
  void* data = nullptr;
  std::int64_t bytes = 0;

  constexpr Workspace() = default;
  /// The number of bytes may have any integer type, in braces too.
  template <detail::Size S>
  constexpr Workspace(void* data_, S bytes_) : data(data_), bytes(static_cast<std::int64_t>(bytes_)) {}
};

/// What a forward pass may be told beside x and y, by name:
///
///     head.forward(x, y, {.output = Output::log_softmax, .workspace = workspace}, stream);
struct ForwardOptions {
  Output output = Output::softmax;
  /// Memory of at least workspace_bytes; absent: memory of the call's own, on a GPU a stream-ordered
  /// allocation.
  std::optional<Workspace> workspace = {};
  RunningStatistics running = {};  ///< training mode: what it updates
};

/// What a workspace is for, by name.
struct WorkspaceOptions {
  Mode mode = Mode::eval;
  Output output = Output::softmax;
  std::optional<Dtype> y = {};  ///< dtype of y; absent: that of the operands
};

namespace detail {

/// The element types that y may have beside operands of T: theirs, or that of their accumulator.
template <class U, class T>
concept HeadOutputOf = std::is_same_v<U, T> || std::is_same_v<U, Accumulator<T>>;

}  // namespace detail

/// One forward pass of a head: y = softmax(scale * BatchNorm1d(x weight^T + bias), dim=1).
template <Element T, Element U>
struct HeadArguments {
  Matrix<const T> x = {};  ///< (batch, in_features)
  Parameters<T> parameters = {};
  Matrix<U> y = {};  ///< (batch, out_features); dtype of the operands or of the accumulator
  Output output = Output::softmax;
};

}  // namespace masthead::inline v0

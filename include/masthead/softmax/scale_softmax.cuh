#pragma once
/// The second half of the head alone: y = softmax(scale * x, dim=1).

#include <cstdint>
#include <type_traits>

#include "masthead/host/launch.cuh"
#include "masthead/kernel/softmax.cuh"

namespace masthead::inline v0 {

namespace detail {

/// Whether every row of `m` starts at a multiple of `bytes`. Asked of the stride even if there is one row
/// only: the way a row is read, and with it its bits, must not depend on the number of rows.
template <class T>
bool rows_aligned(const Matrix<T>& m, std::int64_t bytes) {
  return reinterpret_cast<std::uintptr_t>(m.data) % static_cast<std::uintptr_t>(bytes) == 0 &&
         m.row_stride * size_of(dtype_of<T>) % bytes == 0;
}

/// Whether a vector, unless it is absent, can be read 16 bytes at a time as `Sum`.
template <class Sum>
bool sums_aligned(const ConstVector& v) {
  return !v.present() || (v.dtype == dtype_of<Sum> && reinterpret_cast<std::uintptr_t>(v.data) % 16 == 0);
}

/// The quickest way that x, y, multiplier and addend allow.
template <class In, class Out>
ColumnAccess column_access(const SoftmaxParams<In, Out>& p) {
  using Sum = Accumulator<In>;
  constexpr int vector = row_vector_items<In>;
  const bool vectors = p.x.columns % vector == 0 && rows_aligned(p.x, 16) &&
                       rows_aligned(p.y, vector * size_of(dtype_of<Out>));
  if (vectors && p.multiplier.size <= 1 && !p.addend.present()) return ColumnAccess::vectors;
  if (vectors && p.multiplier.size > 1 && sums_aligned<Sum>(p.multiplier) && sums_aligned<Sum>(p.addend)) {
    return ColumnAccess::affine_vectors;
  }
  return ColumnAccess::elements;
}

/// Which kernels a policy is built with: those that hold a row, the one that streams it, or whichever it
/// needs.
enum class SoftmaxKernels : std::uint8_t { holding, streaming, both };

template <class Policy, SoftmaxKernels kernels, ColumnAccess access, Output output, class In, class Out>
void launch_softmax(SoftmaxParams<In, Out> p, const Device& device, cudaStream_t stream) {
  constexpr SoftmaxSpec spec = Policy::spec;
  constexpr bool vectors = softmax_holds_vectors<In>(access);
  const std::int64_t block_columns = spec.block_columns(vectors && kernels != SoftmaxKernels::streaming);
  // A block of several rows holds short rows only; longer ones are streamed, a row a cluster.
  const int cluster = spec.rows > 1 && p.x.columns <= block_columns
                          ? 1
                          : softmax_cluster(p.x.columns, block_columns, device.architecture);
  p.segment = ceil_div(ceil_div(p.x.columns, cluster), 8) * 8;
  LaunchConfig config{.blocks = p.x.rows * cluster,
                      .block_threads = spec.threads,
                      .stream = stream,
                      .cluster = cluster,
                      .overlap_previous = device.architecture >= 90};
  if constexpr (kernels != SoftmaxKernels::streaming) {
    if (p.segment <= block_columns && (spec.rows == 1 || cluster == 1)) {
      config.blocks = ceil_div(p.x.rows, spec.rows) * cluster;
      config.block_threads = spec.block_threads();
      if constexpr (vectors) {
        config.shared_bytes = spec.threads * spec.shared_items * static_cast<int>(sizeof(In));
        return launch("softmax_vectors_kernel", softmax_vectors_kernel<In, Out, Policy, output>, config, p);
      } else {
        return launch("softmax_kernel", softmax_kernel<In, Out, Policy, access, output>, config, p);
      }
    }
  }
  if constexpr (kernels != SoftmaxKernels::holding) {
    using Streaming = SoftmaxPolicy<spec.threads, spec.items>;
    launch("softmax_streaming_kernel", softmax_streaming_kernel<In, Out, Streaming, access, output>, config,
           p);
  }
}

/// An Output that is known when the code is compiled: the kernels of the other are not.
template <Output output>
using OutputConstant = std::integral_constant<Output, output>;

template <class Policy, SoftmaxKernels kernels, ColumnAccess access, Output output, class In, class Out>
void launch_softmax(const SoftmaxParams<In, Out>& p, OutputConstant<output>, const Device& device,
                    cudaStream_t stream) {
  launch_softmax<Policy, kernels, access, output>(p, device, stream);
}
template <class Policy, SoftmaxKernels kernels, ColumnAccess access, class In, class Out>
void launch_softmax(const SoftmaxParams<In, Out>& p, Output output, const Device& device,
                    cudaStream_t stream) {
  output == Output::softmax ? launch_softmax<Policy, kernels, access, Output::softmax>(p, device, stream)
                            : launch_softmax<Policy, kernels, access, Output::log_softmax>(p, device, stream);
}

/// Calls launch.operator()<access>() with column_access(p).
template <class In, class Out, class Launch>
void with_column_access(const SoftmaxParams<In, Out>& p, const Launch& launch) {
  switch (column_access(p)) {
    case ColumnAccess::vectors:
      return launch.template operator()<ColumnAccess::vectors>();
    case ColumnAccess::affine_vectors:
      return launch.template operator()<ColumnAccess::affine_vectors>();
    case ColumnAccess::elements:
      return launch.template operator()<ColumnAccess::elements>();
  }
}

/// Runs the policy `select_softmax_policy` names. `output` is an Output or an OutputConstant.
template <ColumnAccess access, int index, class In, class Out, class AnyOutput>
void launch_selected_softmax(const SoftmaxParams<In, Out>& p, AnyOutput output, const Device& device,
                             cudaStream_t stream) {
  constexpr int bytes = static_cast<int>(sizeof(In));
  constexpr auto& policies = softmax_policies<bytes>;
  constexpr SoftmaxSpec spec = policies[index];
  constexpr bool vectors = softmax_holds_vectors<In>(access);
  constexpr bool last = index + 1 == static_cast<int>(policies.size());
  if constexpr (!last) {
    constexpr int next = index == 3 && !vectors ? 5 : index + 1;
    if (select_softmax_policy<bytes>(p.x.columns, device.architecture, vectors) != index) {
      return launch_selected_softmax<access, next>(p, output, device, stream);
    }
  }
  launch_softmax<SoftmaxPolicy<spec.threads, spec.items, spec.rows, spec.shared_items, spec.past_l1>,
                 last ? SoftmaxKernels::streaming : SoftmaxKernels::holding, access>(p, output, device,
                                                                                     stream);
}

template <class In, class Out, class AnyOutput>
void launch_selected_softmax(const SoftmaxParams<In, Out>& p, AnyOutput output, const Device& device,
                             cudaStream_t stream) {
  with_column_access(
      p, [&]<ColumnAccess access>() { launch_selected_softmax<access, 0>(p, output, device, stream); });
}

template <class In, class Out>
SoftmaxParams<In, Out> scale_softmax_params(const Matrix<const In>& x, const ConstVector& scale,
                                            const Matrix<Out>& y, const Device& device) {
  require(check_scale_softmax(x, scale, y));
  require(check_device_pointer("x", x.data, device));
  require(check_device_pointer("scale", scale.data, device));
  require(check_device_pointer("y", y.data, device));
  return {.x = x,
          .y = y,
          .multiplier = scale,
          .addend = {},
          .unit = static_cast<Accumulator<In>>(log2e),
          .segment = 0};
}

}  // namespace detail

/// y = softmax(scale * x, dim=1), or its natural logarithm.
///
/// x: (rows, columns) of double, float, __half or __nv_bfloat16, computed in float (double for double). y:
/// the same shape, any of these dtypes that is not wider than the computation; it may be x itself. scale: (1)
/// or (columns) of any dtype, read on the device; absent means 1. Any length of row. On sm_90 rows
/// are read once up to 131072 columns (65536 of double), elsewhere up to an eighth of that, and twice beyond.
/// scale * x may be up to 2^29 in magnitude (float; beyond, its distance to the next float makes powers of
/// two overflow). Probabilities below 2^-126 may come out as 0.
///
/// Queued on `stream`; does not synchronise or allocate, can be captured in a graph. Deterministic, and a
/// row's bits do not depend on the other rows. NaN, +inf and rows of -inf give what torch.softmax gives.
/// Throws Error, with y untouched, for bad arguments and for a launch that is refused.
template <class In, class Out>
void scale_softmax(const Matrix<const In>& x, const ConstVector& scale, const Matrix<Out>& y,
                   cudaStream_t stream, Output output = Output::softmax) {
  const Device device = Device::current(stream);
  detail::launch_selected_softmax(detail::scale_softmax_params(x, scale, y, device), output, device, stream);
}

/// The same with an output that is fixed when the code is compiled: half the kernels to compile.
template <Output output, class In, class Out>
void scale_softmax(const Matrix<const In>& x, const ConstVector& scale, const Matrix<Out>& y,
                   cudaStream_t stream) {
  const Device device = Device::current(stream);
  detail::launch_selected_softmax(detail::scale_softmax_params(x, scale, y, device),
                                  detail::OutputConstant<output>(), device, stream);
}

/// The same with an explicit policy.
template <class Policy, class In, class Out>
void scale_softmax(const Matrix<const In>& x, const ConstVector& scale, const Matrix<Out>& y,
                   cudaStream_t stream, Output output = Output::softmax) {
  const Device device = Device::current(stream);
  const auto p = detail::scale_softmax_params(x, scale, y, device);
  detail::with_column_access(p, [&]<ColumnAccess access>() {
    detail::launch_softmax<Policy, detail::SoftmaxKernels::both, access>(p, output, device, stream);
  });
}

}  // namespace masthead::inline v0

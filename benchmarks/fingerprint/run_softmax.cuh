#pragma once
/// A case of scale_softmax: all that the program uses of it is here.

#include <cstdint>

#include "fingerprint/memory.cuh"
#include "fingerprint/run.hpp"
#include "fingerprint/two_passes.cuh"
#include "masthead/core/dtype.cuh"
#include "masthead/scale_softmax.cuh"

namespace benchmark {

/// In place, the second pass is not: its bits must be the same, and it shows what is not written.
template <masthead::Dtype x_dtype, masthead::Dtype y_dtype>
Outcome run_softmax(const SoftmaxCase& of, Arena& arena, cudaStream_t stream) {
  namespace mh = masthead;
  using T = mh::DeviceElement<x_dtype>;
  using U = mh::DeviceElement<y_dtype>;
  using Sum = mh::Accumulator<T>;
  arena.reset();
  Seeds seeds(of.name());
  const std::uint64_t x_seed = seeds.next();
  const auto x = Region<T>::take(arena, of.rows, of.columns, of.x);
  const auto y = Region<U>::take(arena, of.rows, of.columns, of.y);
  const auto fill_x = [&](const Region<T>& region, int around) {
    fill(region, UniformProduct{8}, x_seed, stream, around);
    if (of.non_finite) place_non_finite(region, stream);
  };
  fill_x(x, poisons[0]);
  const auto scale = Region<Sum>::take(arena, 1, of.scale == ScaleOf::per_column ? of.columns : 1);
  fill(scale, Uniform{0.75, 1.25}, seeds.next(), stream);
  const mh::ConstVector scale_view =
      of.scale == ScaleOf::absent ? mh::ConstVector{} : mh::ConstVector{scale.data(), scale.columns};
  const mh::Output output = of.log_softmax ? mh::Output::log_softmax : mh::Output::softmax;

  return two_passes(arena, stream, [&](int pass, Digester& digester) {
    mh::Matrix<const T> x_view(x.data(), x.rows, x.columns, x.row_stride);
    const mh::Matrix<U> y_view(y.data(), y.rows, y.columns, y.row_stride);
    poison(y, poisons[pass], stream);
    if constexpr (x_dtype == y_dtype) {
      if (of.in_place && pass == 0) {
        fill_x(y, poisons[pass]);
        x_view = y_view;
      }
    }
    mh::scale_softmax(x_view, scale_view, y_view, output, stream);
    digester.add(y, poisons[pass]);
  });
}

}  // namespace benchmark

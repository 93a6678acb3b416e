// Calls that name the elements, hand in a mutable x, write in place, or take views in braces: each finds one
// overload.
#include <cstddef>

#include "masthead/scale_softmax.cuh"

namespace mh = masthead;

void calls(const float* in, float* out, const float* scale, __half* half, std::size_t rows,
           std::size_t columns, cudaStream_t stream) {
  using Policy = mh::SoftmaxPolicy<128, 16>;
  constexpr mh::Output log = mh::Output::log_softmax;
  const mh::Matrix<const float> x(in, rows, columns);
  const mh::Matrix<float> y(out, rows, columns);
  const mh::Matrix<__half> h(half, rows, columns);

  mh::scale_softmax(x, {scale, 1}, y, stream);
  mh::scale_softmax(x, {scale, columns}, y, log, stream);
  mh::scale_softmax<log>(x, {scale, 1}, y, stream);
  mh::scale_softmax<Policy>(x, {scale, 1}, y, log, stream);

  // x is mutable, and in place.
  mh::scale_softmax(y, {}, y, stream);
  mh::scale_softmax(y, {scale, 1}, h, log, stream);
  mh::scale_softmax<log>(y, {scale, 1}, y, stream);
  mh::scale_softmax<Policy>(h, {scale, 1}, y, mh::Output::softmax, stream);

  // The elements are named.
  mh::scale_softmax<float, float>(x, {scale, 1}, y, stream);
  mh::scale_softmax<float, float>(y, {scale, 1}, y, stream);
  mh::scale_softmax<const float, float>(x, {scale, 1}, y, log, stream);
  mh::scale_softmax<float, float>({in, rows, columns}, {scale, 1}, {out, rows, columns}, stream);
  mh::scale_softmax<float, float>({out, rows, columns}, {scale, 1}, {out, rows, columns}, log, stream);
  mh::scale_softmax<log, float, float>({out, rows, columns}, {scale, 1}, {out, rows, columns}, stream);
  mh::scale_softmax<Policy, float, float>({in, rows, columns}, {scale, 1}, {out, rows, columns}, log, stream);
}

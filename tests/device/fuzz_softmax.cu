#include "../support/fuzz_device.cuh"
#include "masthead/scale_softmax.cuh"

namespace test::fuzz {

namespace {

template <class T, class Y>
void run_into(Workplace& place) {
  const Case& c = place.c;
  const auto call = [&](const masthead::Matrix<const T>& x, const masthead::Matrix<Y>& y) {
    masthead::scale_softmax(x, masthead::ConstVector(vector_of(place.scale)), y, c.output, place.stream());
  };
  const masthead::Matrix<T> x = matrix_of<T>(place.x);
  place.poison(0);
  // Before the others, which may write over x.
  if (place.part.present()) {
    call({x.data + c.part_first * x.row_stride, c.part_rows, x.columns, x.row_stride},
         matrix_of<Y>(place.part));
  }
  call(x, matrix_of<Y>(place.y));
}

}  // namespace

void run_softmax(Workplace& place) {
  const Case& c = place.c;
  if (c.x == Dtype::f64) return run_into<double, double>(place);
  if (c.x == Dtype::f16) return run_into<__half, __half>(place);
  if (c.x == Dtype::bf16 && c.y == Dtype::bf16) return run_into<__nv_bfloat16, __nv_bfloat16>(place);
  if (c.x == Dtype::bf16) return run_into<__nv_bfloat16, float>(place);
  if (c.y == Dtype::bf16) return run_into<float, __nv_bfloat16>(place);
  run_into<float, float>(place);
}

}  // namespace test::fuzz

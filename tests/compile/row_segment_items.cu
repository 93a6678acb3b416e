// expect: masthead::RowSegment: items must be whole 16-byte vectors of x: a multiple of 8 for 16-bit elements
#include "masthead/softmax/row_segment.cuh"

using namespace masthead::detail;

__global__ void kernel(const RowSegment<__half, __half, 128, 12, ColumnAccess::vectors>* segment) {
  segment->columns();
}

// expect: masthead::RowReduce: threads must be a power of two between 32 and 1024
#include "masthead/reduce/row_reduce.cuh"

namespace masthead {
template class RowReduce<float, 48>;
}

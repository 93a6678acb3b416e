// expect: masthead::RowReduce: threads must be a power of two between 32 and 1024
#include "masthead/reduce/row_reduce.cuh"

template class masthead::RowReduce<float, 48>;

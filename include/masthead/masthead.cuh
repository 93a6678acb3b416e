#pragma once
/// The whole API of the GPU library, for users; the library's own headers include what they need instead. Not
/// in it: the CPU executor (cpu/head.hpp) and the functions for kernels of one's own
/// (gemm/block_gemm_simt.cuh, softmax/row_softmax.cuh, reduce/).

#include "masthead/fold_batch_norm.cuh"
#include "masthead/head.cuh"
#include "masthead/linear_batch_norm_softmax.cuh"
#include "masthead/scale_softmax.cuh"

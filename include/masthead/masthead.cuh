#pragma once
/// Everything, for users; the library's own headers include what they need instead.

#include "masthead/fold_batch_norm.cuh"
#include "masthead/head.cuh"

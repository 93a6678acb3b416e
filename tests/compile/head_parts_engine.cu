// expect: masthead::Head: fp64 and fp32_ieee have no engine but SIMT
#include "masthead/head.cuh"

using namespace masthead;

constexpr std::size_t size = sizeof(Head<Precision::fp64, HeadParts{.simt = false}>);

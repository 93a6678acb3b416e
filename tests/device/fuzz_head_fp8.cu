#include "../support/fuzz_head.cuh"

namespace test::fuzz {

template void run_head<masthead::Precision::fp8>(Workplace&, Found&, bool&);

}  // namespace test::fuzz

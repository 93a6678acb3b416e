#include "../support/fuzz_head.cuh"

namespace test::fuzz {

template void run_head<masthead::Precision::tf32>(Workplace&, Found&, bool&);

}  // namespace test::fuzz

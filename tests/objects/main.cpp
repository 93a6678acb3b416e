// Compiled without CUDA and linked with part.cu in three forms: see objects.py.
#include <cstdio>

#include "masthead/core/error.hpp"
#include "part.hpp"

namespace {

int failures = 0;

void expect(bool good, const char* what) {
  if (good) return;
  std::printf("FAILED: %s\n", what);
  ++failures;
}

void expect_error(void (*fail)()) {
  try {
    fail();
    expect(false, "an object throws");
  } catch (const masthead::Error& error) {
    expect(error.argument() == "a call" && error.cuda_error() == 1,
           "the Error keeps the call and the cudaError_t");
  }
}

}  // namespace

int main() {
  const Part of_80 = part_80(), of_90 = part_90(), of_90a = part_90a();
  expect(of_80.device_limits != of_90.device_limits,
         "objects for sm_80 and sm_90 have functions of their own");
  expect(of_80.compiled_for_sm90a != of_90a.compiled_for_sm90a,
         "objects for sm_80 and sm_90a ask for themselves");
  expect(of_90.compiled_for_sm90a != of_90a.compiled_for_sm90a,
         "objects for sm_90 and sm_90a ask for themselves");
  // A control: nothing tells the lists of sm_90 and sm_90a apart, so what has external linkage is merged.
  expect(of_90.device_limits == of_90a.device_limits, "the comparison of addresses can fail");
  for (void (*fail)() : {fail_80, fail_90, fail_90a}) expect_error(fail);
  if (failures == 0) std::puts("4 comparisons and 3 errors as they must be");
  return failures != 0;
}

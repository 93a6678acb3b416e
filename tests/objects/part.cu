// Compiled for several architectures by objects.py, which defines SUFFIX.
#include "part.hpp"

#include "masthead/launch/probe.cuh"

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

Part JOIN(part_, SUFFIX)() {
  return {reinterpret_cast<const void*>(&masthead::detail::Device::current),
          reinterpret_cast<const void*>(&masthead::detail::check_compiled_for_sm90a<>)};
}

void JOIN(fail_, SUFFIX)() { masthead::require_success(cudaErrorInvalidValue, "a call"); }

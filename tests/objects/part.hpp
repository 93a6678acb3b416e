#pragma once
/// What the objects of the program exchange.

#include "masthead/core/parameters.hpp"

/// Addresses of functions that must be an object's own.
struct Part {
  const void* device_limits;       ///< asks the device by a kernel of the object
  const void* compiled_for_sm90a;  ///< branches on what the object was compiled for
};

Part part_80();
Part part_90();
Part part_90a();

/// Throws Error from inside the object.
void fail_80();
void fail_90();
void fail_90a();

#pragma once
/// The one exception type of the library.

#include <cstdint>
#include <stdexcept>
#include <string>

#include "masthead/core/config.hpp"

namespace masthead::inline v0 {

/// Thrown for every bad argument and every failed CUDA call, before anything is launched or overwritten.
///
/// `what()` reads "masthead: <argument> = <value>: <rule>"; the three parts can also be had one by one, so
/// that callers and tests need not parse text.
class Error : public std::runtime_error {
 public:
  // The texts are copied: a move would be spelled like a macro that curses headers have.
  Error(const std::string& argument, const std::string& value, const std::string& rule)
      : std::runtime_error("masthead: " + argument + " = " + value + ": " + rule),
        argument_(argument),
        value_(value),
        rule_(rule) {}

  Error(const std::string& argument, std::int64_t value, const std::string& rule)
      : Error(argument, std::to_string(value), rule) {}

  /// The error of a CUDA call that failed with `cuda_error`.
  Error(const std::string& call, const std::string& name, const std::string& text, int cuda_error)
      : Error(call, name, text) {
    cuda_error_ = cuda_error;
  }

  const std::string& argument() const noexcept { return argument_; }
  const std::string& value() const noexcept { return value_; }
  const std::string& rule() const noexcept { return rule_; }
  /// The cudaError_t of the call that failed, as a number; 0 (cudaSuccess) when a rule of ours is broken.
  int cuda_error() const noexcept { return cuda_error_; }

 private:
  std::string argument_, value_, rule_;
  int cuda_error_ = 0;
};

namespace detail {

/// The text of a CUDA error, with what it means here: `text` is cudaGetErrorString's.
inline std::string explained(int cuda_error, const std::string& text) {
  constexpr int invalid_device_function = 98;   // cudaErrorInvalidDeviceFunction
  constexpr int invalid_resource_handle = 400;  // cudaErrorInvalidResourceHandle, of a kernel launch too
  if (cuda_error != invalid_device_function && cuda_error != invalid_resource_handle) return text;
  return text + (cuda_error == invalid_resource_handle ? ": the stream is of another context, or" : ":") +
         " the program has no such kernel for this GPU. Either it is not compiled for the GPU's "
         "architecture, or a policy is a type with a float template argument: nvcc 13.0.88 spells that with "
         "six digits in host code and so registers the kernel of another policy; give the argument as an "
         "integer or a type of its own";
}

}  // namespace detail

}  // namespace masthead::inline v0

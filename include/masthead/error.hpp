#pragma once
/// The one exception type of the library.

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

#include "masthead/config.hpp"

namespace masthead::inline v0 {

/// Thrown for every bad argument and every failed CUDA call, before anything is launched or overwritten.
///
/// `what()` reads "masthead: <argument> = <value>: <rule>"; the three parts are also kept apart, so that
/// callers and tests need not parse text.
class Error : public std::runtime_error {
 public:
  Error(std::string argument, std::string value, std::string rule)
      : std::runtime_error("masthead: " + argument + " = " + value + ": " + rule),
        argument_(std::move(argument)),
        value_(std::move(value)),
        rule_(std::move(rule)) {}

  Error(std::string argument, std::int64_t value, std::string rule)
      : Error(std::move(argument), std::to_string(value), std::move(rule)) {}

  const std::string& argument() const noexcept { return argument_; }
  const std::string& value() const noexcept { return value_; }
  const std::string& rule() const noexcept { return rule_; }

 private:
  std::string argument_, value_, rule_;
};

}  // namespace masthead::inline v0

#pragma once
/// What the files of all benchmark programs share. Only the reports' sources include this, and with it the
/// JSON library.

#include <nlohmann/json.hpp>
#include <string>

#include "support/environment.hpp"

namespace benchmark {

/// One line on standard output.
void print_environment(const Environment& environment);

/// A file's "header", to which a program adds what is its own.
nlohmann::json to_json(const Environment& environment, const Clocks& after);

/// Throws where the file cannot be written.
void write_document(const std::string& path, const nlohmann::json& document);

}  // namespace benchmark

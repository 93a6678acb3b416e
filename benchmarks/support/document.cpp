#include "support/document.hpp"

#include <fstream>
#include <iostream>
#include <stdexcept>

namespace benchmark {

namespace {

nlohmann::json to_json(const Clocks& clocks) {
  const auto known = [](const std::string& text) {
    return text.empty() ? nlohmann::json(nullptr) : nlohmann::json(text);
  };
  return {{"sm", known(clocks.sm)},
          {"memory", known(clocks.memory)},
          {"maximum_sm", known(clocks.maximum_sm)},
          {"power", known(clocks.power)},
          {"temperature", known(clocks.temperature)}};
}

}  // namespace

void print_environment(const Environment& e) {
  std::cout << e.program << " on " << e.gpu << ", driver " << e.driver << ", " << e.date << ", commit "
            << e.commit << std::endl;
}

nlohmann::json to_json(const Environment& e, const Clocks& after) {
  return {{"program", e.program},
          {"commit", e.commit},
          {"date", e.date},
          {"gpu", e.gpu},
          {"driver", e.driver},
          {"architecture", e.architecture},
          {"multiprocessors", e.multiprocessors},
          {"l2_bytes", e.l2_bytes},
          {"cuda_driver", e.cuda_driver},
          {"cuda_runtime", e.cuda_runtime},
          {"clocks_before", to_json(e.before)},
          {"clocks_after", to_json(after)}};
}

void write_document(const std::string& path, const nlohmann::json& document) {
  std::ofstream file(path);
  file << document.dump(1) << '\n';
  file.flush();
  if (!file) throw std::runtime_error("cannot write '" + path + "'");
}

}  // namespace benchmark

#include "support/report.hpp"

#include <algorithm>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

namespace benchmark {

namespace {

std::string fixed(double value, int digits) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(digits) << value;
  return out.str();
}

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

Report::Report(const Environment& environment, const Sampling& sampling)
    : environment_(environment), sampling_(sampling) {
  std::cout << environment.program << " on " << environment.gpu << ", driver " << environment.driver << ", "
            << environment.date << ", commit " << environment.commit << std::endl;
}

void Report::add(const Check& check) {
  std::cout << "check " << check.of.problem << ' ' << check.of.precision << ' ' << check.of.mode << ' '
            << check.system << ": " << check.metric << ' ' << check.error
            << (check.detail.empty() ? "" : "  (" + check.detail + ")") << (check.right ? "" : "  WRONG")
            << std::endl;
  checks_.push_back(check);
}

void Report::add(const Case& of, Timing timing, const std::vector<std::string>& systems,
                 const std::vector<Statistics>& us) {
  for (std::size_t i = 0; i < systems.size(); ++i) {
    rows_.push_back({of, timing, systems[i], us[i], us[i].median / us[0].median});
  }
}

void Report::print_table() const {
  std::vector<std::vector<std::string>> cells = {
      {"problem", "precision", "mode", "timing", "system", "us median", "us min", "us max", "ratio"}};
  for (const Row& row : rows_) {
    cells.push_back({row.of.problem, row.of.precision, row.of.mode, std::string(name(row.timing)), row.system,
                     fixed(row.us.median, 2), fixed(row.us.minimum, 2), fixed(row.us.maximum, 2),
                     fixed(row.ratio, 3)});
  }
  constexpr std::size_t first_number = 5;
  std::vector<std::size_t> widths(cells[0].size(), 0);
  for (const auto& line : cells) {
    for (std::size_t c = 0; c < line.size(); ++c) widths[c] = std::max(widths[c], line[c].size());
  }
  for (std::size_t r = 0; r < cells.size(); ++r) {
    for (std::size_t c = 0; c < cells[r].size(); ++c) {
      std::cout << "| " << (c < first_number ? std::left : std::right)
                << std::setw(static_cast<int>(widths[c])) << cells[r][c] << ' ';
    }
    std::cout << "|\n";
    if (r > 0) continue;
    for (const std::size_t width : widths) std::cout << "| " << std::string(width, '-') << ' ';
    std::cout << "|\n";
  }
  std::cout << std::flush;
}

bool Report::all_right() const {
  return std::all_of(checks_.begin(), checks_.end(), [](const Check& check) { return check.right; });
}

void Report::write_json(const std::string& path, const Clocks& after) {
  const Environment& e = environment_;
  const nlohmann::json header = {{"program", e.program},
                                 {"commit", e.commit},
                                 {"date", e.date},
                                 {"gpu", e.gpu},
                                 {"driver", e.driver},
                                 {"architecture", e.architecture},
                                 {"multiprocessors", e.multiprocessors},
                                 {"l2_bytes", e.l2_bytes},
                                 {"cuda_driver", e.cuda_driver},
                                 {"cuda_runtime", e.cuda_runtime},
                                 {"repetitions", sampling_.repetitions},
                                 {"graphs", sampling_.graphs},
                                 {"clocks_before", to_json(e.before)},
                                 {"clocks_after", to_json(after)}};
  nlohmann::json checks = nlohmann::json::array(), rows = nlohmann::json::array();
  for (const Check& c : checks_) {
    checks.push_back({{"problem", c.of.problem},
                      {"precision", c.of.precision},
                      {"mode", c.of.mode},
                      {"system", c.system},
                      {"metric", c.metric},
                      {"error", c.error},
                      {"right", c.right},
                      {"detail", c.detail}});
  }
  for (const Row& r : rows_) {
    rows.push_back({{"problem", r.of.problem},
                    {"precision", r.of.precision},
                    {"mode", r.of.mode},
                    {"timing", name(r.timing)},
                    {"system", r.system},
                    {"us_median", r.us.median},
                    {"us_min", r.us.minimum},
                    {"us_max", r.us.maximum},
                    {"ratio", r.ratio}});
  }
  std::ofstream file(path);
  file << nlohmann::json{{"header", header}, {"checks", checks}, {"rows", rows}}.dump(1) << '\n';
  file.flush();
  if (!file) throw std::runtime_error("cannot write '" + path + "'");
}

}  // namespace benchmark

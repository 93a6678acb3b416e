#include "support/report.hpp"

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "support/document.hpp"
#include "support/table.hpp"

namespace benchmark {

Report::Report(const Environment& environment, const Sampling& sampling)
    : environment_(environment), sampling_(sampling) {
  print_environment(environment);
}

void Report::add(const Check& check) {
  std::cout << "check " << check.of.problem << ' ' << check.of.precision << ' ' << check.of.mode << ' '
            << check.system << ": " << check.metric << ' ' << check.error
            << (check.detail.empty() ? "" : "  (" + check.detail + ")") << (check.right ? "" : "  WRONG")
            << std::endl;
  checks_.push_back(check);
}

void Report::add(const Case& of, Timing timing, const std::vector<std::string>& systems,
                 const std::vector<Statistics>& us, const Bar& bar) {
  for (std::size_t i = 0; i < systems.size(); ++i) {
    rows_.push_back(
        {of, timing, systems[i], us[i], us[i].median / us[0].median, systems[i] == "masthead" ? bar : Bar{}});
  }
}

void Report::print_table() const {
  const auto has_bar = [](const Row& row) { return row.bar.must > 0; };
  const auto bars = std::count_if(rows_.begin(), rows_.end(), has_bar);
  std::vector<std::vector<std::string>> cells = {
      {"problem", "precision", "mode", "timing", "system", "us median", "us min", "us max", "ratio"}};
  if (bars > 0) cells[0].insert(cells[0].end(), {"must", "goal"});
  for (const Row& row : rows_) {
    cells.push_back({row.of.problem, row.of.precision, row.of.mode, std::string(name(row.timing)), row.system,
                     fixed(row.us.median, 2), fixed(row.us.minimum, 2), fixed(row.us.maximum, 2),
                     fixed(row.ratio, 3)});
    if (bars == 0) continue;
    cells.back().push_back(has_bar(row) ? fixed(row.bar.must, 3) : "");
    cells.back().push_back(has_bar(row) ? fixed(row.bar.goal, 3) : "");
  }
  print_cells(cells, 5);
  if (bars == 0) return;
  const auto kept = std::count_if(rows_.begin(), rows_.end(),
                                  [&](const Row& row) { return has_bar(row) && row.ratio <= row.bar.must; });
  std::cout << kept << " of " << bars << " ratios are within what they must be" << std::endl;
}

bool Report::all_right() const {
  return std::all_of(checks_.begin(), checks_.end(), [](const Check& check) { return check.right; });
}

void Report::write_json(const std::string& path, const Clocks& after) {
  nlohmann::json header = to_json(environment_, after);
  header["repetitions"] = sampling_.repetitions;
  header["graphs"] = sampling_.graphs;
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
    if (r.bar.must > 0) rows.back().update({{"must", r.bar.must}, {"goal", r.bar.goal}});
  }
  write_document(path, {{"header", header}, {"checks", checks}, {"rows", rows}});
}

}  // namespace benchmark

#include "support/accuracy_report.hpp"

#include <algorithm>
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>

#include "support/document.hpp"
#include "support/head_precisions.hpp"
#include "support/table.hpp"

namespace benchmark {

namespace {

/// What a figure of the head must be at most.
struct Bars {
  std::optional<double> logits_l2, logits_l2_ratio, log_difference_ratio, ulp;

  static Bars of(const AccuracyRow& row) {
    Bars bars;
    if (row.system != "masthead") return bars;
    if (row.precision == "fp8") bars.logits_l2 = 2e-4;
    if (row.precision == "fp32") bars.logits_l2_ratio = 0.8;
    if (baseline_precision(row.precision) == "tf32") bars.logits_l2_ratio = 1.5;
    const bool same_products = row.precision == "tf32" || row.precision == "bf16" || row.precision == "fp16";
    if (same_products) bars.log_difference_ratio = 1;
    if (row.ulp && row.precision != "fp8") bars.ulp = 0.75;
    return bars;
  }
};

}  // namespace

AccuracyReport::AccuracyReport(const Environment& environment, const std::string& problem, int sampled_rows)
    : environment_(environment), problem_(problem), sampled_rows_(sampled_rows) {
  print_environment(environment);
  std::cout << problem << ", " << sampled_rows << " rows sampled" << std::endl;
}

std::optional<double> AccuracyReport::ratio(const AccuracyRow& row, double AccuracyRow::*figure) const {
  if (row.system != "masthead") return std::nullopt;
  const std::string precision = baseline_precision(row.precision);
  const auto baseline = std::find_if(rows_.begin(), rows_.end(), [&](const AccuracyRow& other) {
    return other.data == row.data && other.precision == precision && other.system == "cublaslt";
  });
  if (baseline == rows_.end()) return std::nullopt;
  return row.*figure / (*baseline).*figure;
}

void AccuracyReport::print_table() const {
  std::vector<std::vector<std::string>> cells = {
      {"data", "precision", "system", "logits L2", "must", "/ cuBLASLt", "must", "logits max", "direct L2",
       "L2 of float", "max|dlogp|", "/ cuBLASLt", "must", "ulp", "must"}};
  int kept = 0, all = 0;
  for (const AccuracyRow& row : rows_) {
    std::vector<std::string>& line =
        cells.emplace_back(std::vector<std::string>{row.data, row.precision, row.system});
    const auto add = [&](const std::optional<double>& value, auto format, int digits) {
      line.push_back(value ? format(*value, digits) : "");
    };
    const auto add_with_bar = [&](const std::optional<double>& value, const std::optional<double>& bar,
                                  auto format, int digits) {
      add(value, format, digits);
      add(bar, format, digits);
      if (!value || !bar) return;
      ++all;
      if (*value <= *bar) ++kept;
    };
    const Bars bars = Bars::of(row);
    add_with_bar(row.logits_l2, bars.logits_l2, scientific, 2);
    add_with_bar(ratio(row, &AccuracyRow::logits_l2), bars.logits_l2_ratio, fixed, 2);
    add(row.logits_largest, scientific, 2);
    add(row.direct_l2, scientific, 2);
    add(row.float_l2, scientific, 2);
    add(row.log_difference, scientific, 2);
    add_with_bar(ratio(row, &AccuracyRow::log_difference), bars.log_difference_ratio, fixed, 3);
    add_with_bar(row.ulp, bars.ulp, fixed, 3);
  }
  print_cells(cells, 3);
  std::cout << kept << " of " << all << " figures are within what they must be" << std::endl;
}

bool AccuracyReport::complete() const {
  return std::none_of(rows_.begin(), rows_.end(), [](const AccuracyRow& row) {
    return std::isnan(row.logits_l2 + row.logits_largest + row.float_l2 + row.log_difference +
                      row.direct_l2.value_or(0) + row.ulp.value_or(0));
  });
}

void AccuracyReport::write_json(const std::string& path, const Clocks& after) const {
  nlohmann::json header = to_json(environment_, after);
  header["problem"] = problem_;
  header["sampled_rows"] = sampled_rows_;
  const auto known = [](const std::optional<double>& value) {
    return value ? nlohmann::json(*value) : nlohmann::json(nullptr);
  };
  nlohmann::json rows = nlohmann::json::array();
  for (const AccuracyRow& row : rows_) {
    rows.push_back({{"data", row.data},
                    {"precision", row.precision},
                    {"system", row.system},
                    {"logits_l2", row.logits_l2},
                    {"logits_l2_ratio", known(ratio(row, &AccuracyRow::logits_l2))},
                    {"logits_largest", row.logits_largest},
                    {"direct_l2", known(row.direct_l2)},
                    {"float_l2", row.float_l2},
                    {"log_difference", row.log_difference},
                    {"log_difference_ratio", known(ratio(row, &AccuracyRow::log_difference))},
                    {"ulp", known(row.ulp)},
                    {"detail", row.detail}});
  }
  write_document(path, {{"header", header}, {"rows", rows}});
}

}  // namespace benchmark

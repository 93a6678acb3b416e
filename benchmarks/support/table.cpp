#include "support/table.hpp"

#include <algorithm>
#include <iomanip>
#include <iostream>
#include <sstream>

namespace benchmark {

std::string fixed(double value, int digits) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(digits) << value;
  return out.str();
}

std::string scientific(double value, int digits) {
  std::ostringstream out;
  out << std::scientific << std::setprecision(digits) << value;
  return out.str();
}

void print_cells(const std::vector<std::vector<std::string>>& cells, std::size_t first_number) {
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

}  // namespace benchmark

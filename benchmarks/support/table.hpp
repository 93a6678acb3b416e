#pragma once
/// Numbers and tables as text.

#include <cstddef>
#include <string>
#include <vector>

namespace benchmark {

std::string fixed(double value, int digits);

/// E.g. 3.1e-07.
std::string scientific(double value, int digits);

/// Prints rows of cells, the first being the heading; columns from `first_number` on are set to the right.
void print_cells(const std::vector<std::vector<std::string>>& cells, std::size_t first_number);

}  // namespace benchmark

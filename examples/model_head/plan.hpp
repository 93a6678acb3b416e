#pragma once
/// Which kernels a GPU runs a problem with, and what they keep in a workspace: `--plan`.

#include <functional>
#include <string>

#include "backend.hpp"
#include "masthead/plan/forward_plan.hpp"
#include "problem.hpp"

namespace model_head {

/// Plans of one problem on one device.
struct Planner {
  std::string device;
  std::function<masthead::ForwardPlan(masthead::Dtype y)> plan;  ///< of a pass that stores y in this dtype
};

/// What masthead::Head plans on the current GPU.
Planner gpu_planner(const Shape& shape, const Settings& settings);

/// What masthead::Head plans on an H200, on any machine: a plan needs the numbers of a device, not the device.
Planner h200_planner(const Shape& shape, const Settings& settings);

/// Prints the plan for each dtype that y may have. Throws masthead::Error where the problem has no plan.
void print_plans(const Planner& planner, const Shape& shape, const Settings& settings);

/// Whether the rows of a y of its own start at multiples of 16 bytes.
constexpr bool is_whole_vectors(const Shape& shape, masthead::Dtype y) {
  return shape.out_features * masthead::size_of(y) % 16 == 0;
}

}  // namespace model_head

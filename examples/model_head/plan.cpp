#include "plan.hpp"

#include <iostream>

#include "masthead/policy/select.hpp"

namespace model_head {

Planner h200_planner(const Shape& shape, const Settings& settings) {
  return {"H200 by its numbers, sm_90, 132 multiprocessors", [shape, settings](masthead::Dtype y) {
            constexpr masthead::DeviceLimits h200{.architecture = 90,
                                                  .multiprocessors = 132,
                                                  .shared_bytes_per_block = 232448,
                                                  .clusters = {132, 66, 33, 16}};
            const masthead::PolicySpec policy =
                select_policy(settings.precision, h200.architecture, shape.batch, shape.in_features,
                              shape.out_features, true, settings.mode == masthead::Mode::training);
            return plan_forward(policy,
                                {.batch = shape.batch,
                                 .in_features = shape.in_features,
                                 .out_features = shape.out_features,
                                 .mode = settings.mode,
                                 .output = settings.output,
                                 .y = y,
                                 .y_by_tma = is_whole_vectors(shape, y)},
                                h200);
          }};
}

void print_plans(const Planner& planner, const Shape& shape, const Settings& settings) {
  if (settings.mode == masthead::Mode::training && shape.batch < 2) {
    throw masthead::Error("x.rows", shape.batch, "training mode needs more than 1 value per feature");
  }
  const masthead::Dtype operand = operand_dtype(settings.precision), sum = accumulator_dtype(operand);
  std::cout << "GPU        " << planner.device << "\nproblem    " << shape.batch << " x " << shape.in_features
            << " -> " << shape.out_features << ", " << name(settings.precision) << ", " << name(settings.mode)
            << ", " << name(settings.output) << '\n';
  const auto print = [&](masthead::Dtype y, const char* remark) {
    const masthead::ForwardPlan plan = planner.plan(y);
    std::cout << "\ny          " << y << remark << '\n' << plan;
  };
  if (operand != sum) print(operand, "");
  print(sum, ", as this program has it");
  std::cout << std::flush;
}

}  // namespace model_head

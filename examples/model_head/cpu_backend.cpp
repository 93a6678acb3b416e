/// The head on the CPU, through masthead::cpu.

#include <chrono>
#include <string>
#include <vector>

#include "backend.hpp"
#include "masthead/cpu/executor.hpp"
#include "masthead/cpu/head.hpp"

namespace model_head {
namespace {

template <masthead::Precision precision>
class CpuBackend final : public Backend {
  using Element = masthead::HostElement<masthead::operand_dtype(precision)>;
  using Result = masthead::Accumulator<Element>;

 public:
  CpuBackend(const Problem& problem, const Settings& settings)
      : problem_(problem),
        settings_(settings),
        executor_(settings.threads),
        x_(to_elements<Element>(problem.x)),
        weight_(to_elements<Element>(problem.weight)),
        running_{problem.running_mean, problem.running_var},
        y_(static_cast<std::size_t>(problem.shape.batch * problem.shape.out_features)),
        head_(parameters(), executor_) {}

  std::string device() const override {
    return "CPU, " + std::to_string(settings_.threads) + (settings_.threads == 1 ? " thread" : " threads");
  }
  std::string policy() const override { return head_.policy(problem_.shape.batch); }

  double forward() override {
    const auto [batch, in, out] = problem_.shape;
    const masthead::Matrix<const Element> x(x_.data(), batch, in);
    const masthead::Matrix<Result> y(y_.data(), batch, out);
    const auto start = std::chrono::steady_clock::now();
    if (settings_.mode == masthead::Mode::eval) {
      head_.forward(x, y, {.output = settings_.output}, executor_);
    } else {
      const masthead::RunningStatistics running{.mean = {running_.mean.data(), out},
                                                .var = {running_.var.data(), out}};
      head_.forward_training(x, y, {.output = settings_.output, .running = running}, executor_);
    }
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  }

  std::vector<double> read_rows(const std::vector<std::int64_t>& rows) const override {
    std::vector<double> values;
    for (const std::int64_t row : rows) {
      const auto first = y_.begin() + row * problem_.shape.out_features;
      values.insert(values.end(), first, first + problem_.shape.out_features);
    }
    return values;
  }

  Statistics read_running() const override { return running_; }

 private:
  masthead::Parameters<Element> parameters() const {
    const std::int64_t n = problem_.shape.out_features;
    return {.weight = {weight_.data(), n, problem_.shape.in_features},
            .bias = {problem_.bias.data(), n},
            .gamma = {problem_.gamma.data(), n},
            .beta = {problem_.beta.data(), n},
            .running_mean = {problem_.running_mean.data(), n},
            .running_var = {problem_.running_var.data(), n},
            .scale = {problem_.scale.data(), static_cast<std::int64_t>(problem_.scale.size())},
            .epsilon = problem_.epsilon};
  }

  const Problem& problem_;
  Settings settings_;
  masthead::cpu::Executor executor_;
  std::vector<Element> x_, weight_;
  Statistics running_;
  std::vector<Result> y_;
  masthead::cpu::Head<precision> head_;
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(const Problem& problem, const Settings& settings) {
  return make_backend<CpuBackend>(problem, settings);
}

}  // namespace model_head

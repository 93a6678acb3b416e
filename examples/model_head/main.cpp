/// Runs a classifier's head, softmax(scale * BatchNorm1d(x W^T + b)), on a GPU or a CPU: on the handwritten
/// digits, against what PyTorch computed in float64, or on generated data of any shape. `--help` lists the
/// options.

#include <algorithm>
#include <cstdio>
#include <exception>
#include <fstream>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "backend.hpp"
#include "options.hpp"
#include "plan.hpp"
#include "problem.hpp"
#include "verify.hpp"

namespace {

using namespace model_head;

/// Whether to use a GPU. Where there is none and none was asked for, says so and what happens `instead`.
bool uses_gpu(const Options& options, const char* instead) {
  if (options.device == Device::cpu) return false;
  const std::optional<std::string> reason = why_no_gpu();
  if (!reason) return true;
  if (options.device == Device::gpu) throw std::runtime_error("--device gpu: no GPU: " + *reason);
  std::printf("no GPU (%s): %s\n", reason->c_str(), instead);
  std::fflush(stdout);
  return false;
}

std::unique_ptr<Backend> make_backend(const Options& options, const Problem& problem) {
  return uses_gpu(options, "using the CPU") ? make_device_backend(problem, options.settings)
                                            : make_cpu_backend(problem, options.settings);
}

void show_plans(const Options& options) {
  const Shape shape = options.problem ? *options.problem : read_digits(options.data).problem.shape;
  const bool gpu = uses_gpu(options, "planning for an H200");
  print_plans(gpu ? gpu_planner(shape, options.settings) : h200_planner(shape, options.settings), shape,
              options.settings);
}

struct Timing {
  std::vector<double> milliseconds;  // sorted

  double median() const {
    const std::size_t n = milliseconds.size();
    return (milliseconds[(n - 1) / 2] + milliseconds[n / 2]) / 2;
  }
};

/// `runs` passes, or about three seconds' worth where that is 0, given how long the first pass took.
Timing time_passes(Backend& backend, int runs, double first) {
  constexpr double budget = 3000, most = 100;
  if (runs == 0) {
    const double estimate = first < budget ? backend.forward() : first;  // a first pass pays for set-up too
    runs = static_cast<int>(std::clamp(budget / estimate, 1.0, most));
  }
  Timing timing;
  for (int run = 0; run < runs; ++run) timing.milliseconds.push_back(backend.forward());
  std::sort(timing.milliseconds.begin(), timing.milliseconds.end());
  return timing;
}

int run(const Options& options) {
  if (options.plan) {
    show_plans(options);
    return 0;
  }
  std::ofstream json;
  if (!options.json.empty()) {
    json.open(options.json);
    if (!json) throw std::runtime_error("--json " + options.json.string() + ": cannot be written");
  }

  const Settings& settings = options.settings;
  Digits digits;
  if (options.problem) {
    digits.problem = generate(*options.problem, settings.precision, options.seed);
  } else {
    digits = read_digits(options.data);
  }
  const auto& [batch, in, out] = digits.problem.shape;
  const std::unique_ptr<Backend> backend = make_backend(options, digits.problem);

  std::printf("device     %s\npolicy     %s\n", backend->device().c_str(), backend->policy().c_str());
  std::printf("problem    %lld x %lld -> %lld, %s, %s, %s, %s\n", static_cast<long long>(batch),
              static_cast<long long>(in), static_cast<long long>(out),
              options.problem ? "generated" : "digits", std::string(name(settings.precision)).c_str(),
              std::string(name(settings.mode)).c_str(), std::string(name(settings.output)).c_str());
  std::fflush(stdout);

  const double first = backend->forward();
  const Statistics running = backend->read_running();
  const Timing timing = time_passes(*backend, options.runs, first);
  const double seconds = timing.median() / 1000;
  const double rows_per_second = static_cast<double>(batch) / seconds;
  const double tflops =
      2e-12 * static_cast<double>(batch) * static_cast<double>(in) * static_cast<double>(out) / seconds;
  std::printf("time       median %.4g ms of %zu passes (%.4g to %.4g), %.4g rows per second, %.4g TFLOP/s\n",
              timing.median(), timing.milliseconds.size(), timing.milliseconds.front(),
              timing.milliseconds.back(), rows_per_second, tflops);
  std::fflush(stdout);

  nlohmann::json results = {
      {"device", backend->device()},
      {"policy", backend->policy()},
      {"data", options.problem ? "generated" : "digits"},
      {"problem", std::to_string(batch) + "x" + std::to_string(in) + "x" + std::to_string(out)},
      {"precision", name(settings.precision)},
      {"mode", name(settings.mode)},
      {"output", name(settings.output)},
      {"milliseconds", timing.milliseconds},
      {"milliseconds_median", timing.median()},
      {"rows_per_second", rows_per_second},
      {"tflops", tflops}};
  const Findings findings = options.problem ? verify_generated(digits.problem, settings, *backend, running)
                                            : verify_digits(digits, settings, *backend, running);
  std::fflush(stdout);
  for (const std::string& failure : findings.failures) {
    std::fprintf(stderr, "model_head: FAILED: %s\n", failure.c_str());
  }
  results.update(findings.figures);
  results["passed"] = findings.failures.empty();
  if (json.is_open() && !(json << results.dump(2) << '\n').flush()) {
    throw std::runtime_error("--json " + options.json.string() + ": cannot be written");
  }
  return findings.failures.empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::optional<Options> options = parse_options(argc, argv);
    return options ? run(*options) : 0;
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "model_head: not enough memory for this problem\n");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "model_head: %s\n", error.what());
  }
  return 2;
}

#include "options.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>

#include "masthead/core/checks.hpp"

namespace model_head {
namespace {

using masthead::Mode;
using masthead::Output;
using masthead::Precision;

constexpr std::array precisions = {Precision::fp64, Precision::fp32_ieee,   Precision::fp32,
                                   Precision::tf32, Precision::fp16_scaled, Precision::bf16,
                                   Precision::fp16};
constexpr std::array modes = {Mode::eval, Mode::training};
constexpr std::array outputs = {Output::softmax, Output::log_softmax};

template <class Values>
std::vector<std::string> names_of(const Values& values) {
  std::vector<std::string> names;
  for (const auto value : values) names.emplace_back(name(value));
  return names;
}

/// The value called `text`, which CLI11 has found among the names already.
template <class Values>
auto named(const Values& values, const std::string& text) {
  return *std::find_if(values.begin(), values.end(), [&](auto value) { return name(value) == text; });
}

/// "1024x8192x8192" as batch x in_features x out_features.
Shape parse_shape(const std::string& text) {
  const auto fail = [&text](const std::string& rule) -> std::runtime_error {
    return std::runtime_error("--problem " + text + ": " + rule);
  };
  std::array<std::int64_t, 3> sizes{};
  const char* at = text.data();
  const char* const end = at + text.size();
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const auto [next, error] = std::from_chars(at, end, sizes[i]);
    const bool last = i + 1 == sizes.size();
    if (error == std::errc::result_out_of_range) throw fail("a size is too large");
    if (error != std::errc() || (last ? next != end : next == end || *next != 'x')) {
      throw fail("must be BATCHxINxOUT, three whole numbers such as 1024x8192x8192");
    }
    if (sizes[i] < 1) throw fail("every size must be at least 1");
    at = next + 1;
  }
  const auto [batch, in, out] = sizes;
  for (const auto& [rows, columns] : {std::pair{batch, in}, {out, in}, {batch, out}}) {
    if (!masthead::detail::checked_product(rows, columns, sizeof(double)))
      throw fail("its matrices do not fit in memory");
  }
  return {batch, in, out};
}

}  // namespace

std::optional<Options> parse_options(int argc, char** argv) {
  Options options;
  std::string problem, device = "auto", data = "examples/model_head/data", json;
  std::string precision = "fp32", mode = "eval", output = "softmax";
  options.settings.threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));

  CLI::App app(
      "softmax(scale * BatchNorm1d(x W^T + b)): classifies the handwritten digits with a trained head and "
      "compares with PyTorch's float64, or times generated data of any shape and checks sampled rows.\n"
      "Exit code: 0 done and right, 1 a check failed, 2 a wrong option or file or no device.",
      "model_head");
  app.option_defaults()->always_capture_default();
  app.add_option("--data", data, "folder of digits, head and expected .safetensors");
  app.add_option("--problem", problem, "generated data of this shape instead of the digits: BATCHxINxOUT");
  app.add_option("--device", device, "auto takes the CPU where there is no GPU")
      ->check(CLI::IsMember({"auto", "gpu", "cpu"}));
  app.add_option("--precision", precision, "what the head computes in")
      ->check(CLI::IsMember(names_of(precisions)));
  app.add_option("--mode", mode, "BatchNorm's statistics: running (eval) or the batch's (training)")
      ->check(CLI::IsMember(names_of(modes)));
  app.add_option("--output", output, "what the head writes")->check(CLI::IsMember(names_of(outputs)));
  app.add_option("--runs", options.runs, "timed passes (default: about three seconds' worth, at most 100)")
      ->always_capture_default(false)
      ->default_str("")
      ->check(CLI::Range(1, 1000000));
  app.add_option("--threads", options.settings.threads, "CPU threads")->check(CLI::Range(1, 4096));
  app.add_option("--seed", options.seed, "of the generated data")->check(CLI::Range(0, 2147483647));
  auto* const json_option = app.add_option("--json", json, "also write the results to this file");
  app.add_flag(
         "--plan", options.plan,
         "print which kernels a GPU runs this with and what they keep in a workspace, and exit; without a "
         "GPU and with --device cpu, for an H200")
      ->excludes(json_option);

  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    app.exit(help);
    return {};
  } catch (const CLI::ParseError& error) {
    throw std::runtime_error(error.what());
  }

  if (!problem.empty() || app.count("--problem") > 0) options.problem = parse_shape(problem);
  options.device = device == "gpu" ? Device::gpu : device == "cpu" ? Device::cpu : Device::automatic;
  options.settings.precision = named(precisions, precision);
  options.settings.mode = named(modes, mode);
  options.settings.output = named(outputs, output);
  options.data = data;
  options.json = json;
  return options;
}

}  // namespace model_head

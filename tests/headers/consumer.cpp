// A program that calls everything the headers have for the CPU. It is compiled with all warnings that strict
// projects turn on as errors, by g++ and clang++, with the headers on -I: a warning in a template is one in
// the user's build.
#include <cstddef>
#include <iostream>
#include <vector>

#include "masthead/core/checks.hpp"
#include "masthead/core/version.hpp"
#include "masthead/cpu/fold_batch_norm.hpp"
#include "masthead/cpu/head.hpp"
#include "masthead/cpu/linear_batch_norm_softmax.hpp"
#include "masthead/cpu/softmax.hpp"
#include "masthead/numeric/split.hpp"
#include "masthead/plan/forward_plan.hpp"
#include "masthead/plan/softmax_plan.hpp"
#include "masthead/policy/select.hpp"
#include "masthead/policy/softmax_policy.hpp"

namespace mh = masthead;

namespace {

template <class T, class U>
void softmax(const mh::cpu::Executor& executor) {
  std::vector<T> x(6);
  std::vector<U> y(6);
  mh::cpu::scale_softmax(mh::Matrix<const T>(x.data(), 2, 3), {}, mh::Matrix<U>(y.data(), 2, 3), executor);
}

template <mh::Precision precision>
void head(const mh::cpu::Executor& executor) {
  using Head = mh::cpu::Head<precision>;
  using T = typename Head::Element;
  using Sum = typename Head::Sum;
  // Sizes as programs have them, std::size_t: braces take them.
  const std::size_t batch = 3, in = 4, out = 2;
  std::vector<T> x(batch * in), weight(out * in), y(batch * out), folded(out * in);
  std::vector<Sum> wide(batch * out);
  std::vector<double> zeros(out), ones(out, 1.0);
  std::vector<float> bias(out);
  const mh::Parameters<T> parameters{.weight = {weight.data(), out, in},
                                     .bias = {bias.data(), out},
                                     .gamma = {ones.data(), out},
                                     .beta = {zeros.data(), out},
                                     .running_mean = {zeros.data(), out},
                                     .running_var = {ones.data(), out},
                                     .scale = {ones.data(), 1}};
  const Head run(parameters, executor);
  alignas(256) unsigned char memory[4096];
  const mh::Workspace workspace{memory, sizeof(memory)};
  run.forward({x.data(), batch, in}, {y.data(), batch, out}, executor);
  run.forward({x.data(), batch, in}, mh::Matrix<Sum>(wide.data(), batch, out),
              {.output = mh::Output::log_softmax, .workspace = workspace}, executor);
  run.forward_training({x.data(), batch, in}, {y.data(), batch, out},
                       {.running = {.mean = {zeros.data(), out}, .var = {ones.data(), out}, .momentum = 0.5}},
                       executor);
  run.forward_training({x.data(), batch, in}, mh::Matrix<Sum>(wide.data(), batch, out), {}, executor);
  mh::cpu::fold_batch_norm(parameters, {folded.data(), out, in}, {bias.data(), out}, executor);
  std::cout << run.policy(3) << ' ' << run.workspace_bytes({x.data(), batch, in}) << '\n';
  std::cout << mh::plan_forward(mh::select_policy(precision, 90, 3, 4, 2),
                                {.batch = 3, .in_features = 4, .out_features = 2}, mh::DeviceLimits{})
            << '\n';
}

}  // namespace

int main() {
  const mh::cpu::Executor executor(2);
  try {
    head<mh::Precision::fp64>(executor);
    head<mh::Precision::fp32>(executor);
    head<mh::Precision::fp32_ieee>(executor);
    head<mh::Precision::tf32>(executor);
    head<mh::Precision::fp16_scaled>(executor);
    head<mh::Precision::bf16>(executor);
    head<mh::Precision::fp16>(executor);
    softmax<float, float>(executor);
    softmax<double, double>(executor);
    softmax<mh::Half, float>(executor);
    softmax<mh::BFloat16, mh::BFloat16>(executor);
    softmax<float, mh::Half>(executor);
  } catch (const mh::Error& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}

#pragma once
/// Heads off the beaten track: logits up to the largest float, means far from 0 beside the deviation, batches
/// of millions of rows.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

#include "device_problem.cuh"
#include "hard_problems.hpp"

namespace test {

/// Shapes that reach every path of a 16-bit or float output.
inline std::vector<Shape> shapes_of_all_paths() {
  if (small_sizes()) return {{4, 8, 7}, {3, 8, 1100}, {130, 8, 520}};
  return {{4, 8, 7},     {40, 8, 300},   {300, 8, 700},  {3, 8, 1100},
          {60, 8, 2100}, {300, 8, 1100}, {1100, 8, 4096}};
}

/// Logits up to the largest float, in both outputs.
template <Precision precision>
void test_huge_logits() {
  using T = ElementOf<precision>;
  using Sum = masthead::Accumulator<T>;
  for (const Shape& shape : shapes_of_all_paths()) {
    for (const std::vector<double>& pattern :
         {std::vector<double>{3e38, 1e38, 3e38}, {3e38, 2.5e38}, {-3e38, -2.5e38}, {2.5e38, 3.25e38, 0}}) {
      const HeadCase c{.shape = shape};
      constexpr bool by_operands = precision == Precision::fp8;
      HeadProblem p = huge_logits(shape.batch, shape.out_features, pattern, by_operands);
      // Every operand exact in every precision: logits are tenths of 1e38, rounded to e4m3.
      if (!by_operands) {
        for (double& w : p.weight) w = std::round(w * 4) / 4;
      }
      const HeadReference reference = head_reference(p, false);
      DeviceProblem<T> problem(p, c);
      const Stream stream;
      const Head<precision> head(problem.parameters(), stream);
      const auto check = [&]<class U>(U, double epsilon) {
        Findings findings;
        const std::vector<double> y =
            forward<U>(head, problem.x.view(), shape.out_features, Mode::eval, stream, findings).values();
        std::int64_t wrong = 0;
        for (std::size_t i = 0; i < y.size(); ++i) {
          const double right = reference.softmax.probability[i];
          wrong += !(std::abs(y[i] - right) <= epsilon * right);
        }
        std::ostringstream what;
        what << shape << " to " << name(masthead::dtype_of<U>) << ", logits " << pattern[0];
        CHECK_MESSAGE(wrong == 0, what.str(), ": ", wrong, " wrong");
        for (const Finding& f : findings) CHECK_MESSAGE(f.good, f.text);
      };
      check(T{}, sizeof(T) == 2 ? 0x1p-7 : 1e-6);
      if constexpr (!std::is_same_v<T, Sum>) check(Sum{}, 1e-6);
    }
  }
}

/// Means up to 1e5 deviations from 0, running variances of 0, and columns that are constant over a batch.
template <Precision precision>
void test_far_means() {
  using T = ElementOf<precision>;
  using Sum = masthead::Accumulator<T>;
  for (const Shape& shape : shapes_of_all_paths()) {
    for (const Mode mode : {Mode::eval, Mode::training}) {
      for (const Far far : {Far::bias, Far::sum}) {
        for (const double ratio : {1.0, 10.0, 100.0, 1e3, 1e5}) {
          // The largest shape is for its path, and for one ratio: its reference takes seconds.
          if (shape.batch * shape.out_features > 1'000'000 && ratio != 100.0) continue;
          const HeadCase c{.shape = shape};
          HeadProblem p = far_means(shape.batch, shape.out_features, ratio, far, ratio < 1e3, 5);
          const bool constant = mode == Mode::training && shape.out_features > 2;
          if (constant) {
            for (std::int64_t k = 1; k < 8; ++k) p.weight[at(2, 8, k)] = 0;
            p.weight[at(2, 8, 0)] = 112;
          }
          if (precision == Precision::fp8 && far == Far::sum) continue;  // a large weight rounds its row
          if (masthead::dtype_of<T> == Dtype::f16 && ratio > 1e4 && far == Far::sum)
            continue;  // beyond 65504
          std::ostringstream text;
          text << shape << ' ' << name(mode) << (far == Far::sum ? " sums" : " biases") << ", ratio "
               << ratio;
          const std::string what = text.str();
          DeviceProblem<T> problem(p, c);
          const Stream stream;
          const Head<precision> head(problem.parameters(), stream);
          Findings findings;
          const std::vector<double> y = forward<Sum>(head, problem.x.view(), shape.out_features, mode, stream,
                                                     findings, Output::log_softmax)
                                            .values();
          const HeadReference reference = head_reference(p, mode == Mode::training);
          const LogError worst = log_error(reference.softmax, y, sizeof(Sum) == 8);
          // Statistics of a batch are rounded in Sum on the way, as torch's are.
          const double lost =
              mode == Mode::eval ? 0 : separate_operators_error<Sum>(p, reference.softmax, true);
          CHECK_MESSAGE(worst.error <= std::max(worst.bound, 2 * lost), what, " error ", worst.error,
                        " bound ", worst.bound, " or twice ", lost, " at ", worst.where);
          if constexpr (!std::is_same_v<T, Sum>) {
            // What leaves as 16 bits passes another end of the tile.
            const std::vector<double> narrow =
                forward<T>(head, problem.x.view(), shape.out_features, mode, stream, findings).values();
            std::int64_t wrong = 0;
            for (std::size_t i = 0; i < narrow.size(); ++i) {
              const double right = reference.softmax.probability[i];
              wrong += !(std::abs(narrow[i] - right) <= (0.01 + 2 * lost) * right + 1e-6);
            }
            CHECK_MESSAGE(wrong == 0, what, ": ", wrong, " wrong");
          }
          for (const Finding& f : findings) CHECK_MESSAGE(f.good, f.text);
        }
      }
    }
  }
}

/// Statistics of a million rows near 1000 that drift by five deviations.
template <Precision precision>
void test_long_batch() {
  using T = ElementOf<precision>;
  if (small_sizes()) return skip("statistics of a million rows: not under MASTHEAD_TEST_SMALL");
  const std::int64_t batch = (std::int64_t{1} << 20) + 17, features = 4;
  HeadProblem p{batch, 1, features, {}, {1, 0.5, 2, -1}, {}, {}, {}, {}, {}, {1}};
  Random random(3);
  for (std::int64_t m = 0; m < batch; ++m) {
    const double drift = 5 * static_cast<double>(m) / static_cast<double>(batch);
    p.x.push_back(static_cast<double>(static_cast<float>(random.normal(1000 + drift, 1))));
  }
  const HeadCase c{.shape = {batch, 1, features}};
  DeviceProblem<T> problem(p, c);
  const Stream stream;
  const Head<precision> head(problem.parameters(), stream);
  const DeviceRunning running({{0, 0, 0, 0}, {1, 1, 1, 1}, 0}, Dtype::f64);
  Findings findings;
  const std::vector<double> y = forward<T>(head, problem.x.view(), features, Mode::training, stream, findings,
                                           Output::log_softmax, running.view(1.0))
                                    .values();
  double mean = 0, var = 0;
  for (const double v : p.x) mean += v / static_cast<double>(batch);
  for (const double v : p.x) var += (v - mean) * (v - mean) / static_cast<double>(batch - 1);
  for (std::int64_t n = 0; n < features; ++n) {
    const double w = p.weight[at(n)], deviation = std::sqrt(var) * std::abs(w);
    CHECK(std::abs(running.mean.values()[at(n)] - w * mean) < 2e-5 * deviation);
    CHECK(std::abs(running.var.values()[at(n)] / (w * w * var) - 1) < 2e-5);
  }
  const HeadReference reference = head_reference(p, true);
  double error = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    error = std::max(error, std::abs(y[i] - reference.softmax.log_probability[i]));
  }
  CHECK(error < 1e-4);
  for (const Finding& f : findings) CHECK_MESSAGE(f.good, f.text);
}

/// Counts elements of `rows` rows of y that differ by more than `tolerance` from those of the row of the same
/// number in a batch of `period`.
template <class T>
__global__ void count_other_elements(const T* y, const T* of_period, std::int64_t rows, std::int64_t columns,
                                     std::int64_t period, float tolerance, unsigned long long* wrong) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  unsigned long long count = 0;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < rows * columns; i += step) {
    const float right = masthead::widen(of_period[i / columns % period * columns + i % columns]);
    count += !(fabsf(static_cast<float>(masthead::widen(y[i])) - right) <= tolerance);
  }
  if (count > 0) atomicAdd(wrong, count);
}

/// More than 2^31 rows. They repeat, so in eval mode each must have the bits it has in a small batch; and as
/// they repeat a whole number of times, batch statistics are those of the small batch too.
template <Precision precision>
void test_rows_beyond_2_31(Mode mode) {
  using T = ElementOf<precision>;
  if (small_sizes()) return skip("more than 2^31 rows: not under MASTHEAD_TEST_SMALL");
  const std::int64_t features = 2, k = 8, period = 1024, batch = (std::int64_t{1} << 31) + period;
  const HeadCase c{.shape = {period, k, features}, .seed = 18};
  DeviceProblem<T> problem(c);
  const Stream stream;
  const Head<precision> head(problem.parameters(), stream);
  const masthead::WorkspaceOptions options{.mode = mode, .y = masthead::dtype_of<T>};
  const std::int64_t element = sizeof(T), x_bytes = batch * k * element, y_bytes = batch * features * element,
                     workspace_bytes = head.workspace_bytes(batch, options);
  std::size_t free = 0, total = 0;
  succeed(cudaMemGetInfo(&free, &total));
  if (static_cast<std::int64_t>(free) < x_bytes + y_bytes + workspace_bytes + (std::int64_t{1} << 28)) {
    return skip("more than 2^31 rows: the device is short of memory");
  }
  const auto run = [&](const masthead::Matrix<const T>& x, const masthead::Matrix<T>& y,
                       const masthead::Workspace& workspace) {
    if (mode == Mode::eval) {
      head.forward(x, y, {.workspace = workspace}, stream);
    } else {
      head.forward_training(x, y, {.workspace = workspace}, stream);
    }
  };
  DeviceMatrix<T> expected(period, features);
  const DeviceBytes x(at(x_bytes)), y(at(y_bytes) + 256), workspace(at(workspace_bytes) + 256),
      wrong(sizeof(unsigned long long));
  const masthead::Workspace whole{workspace.data(), workspace_bytes};
  run(problem.x.view(), expected.view(), whole);
  std::int64_t done = period * k * element;
  succeed(cudaMemcpyAsync(x.data(), problem.x.view().data, at(done), cudaMemcpyDeviceToDevice, stream));
  for (; done < x_bytes; done *= 2) {
    succeed(cudaMemcpyAsync(x.data() + done, x.data(), at(std::min(done, x_bytes - done)),
                            cudaMemcpyDeviceToDevice, stream));
  }
  succeed(cudaMemsetAsync(y.data(), 0xff, y.size(), stream));
  succeed(cudaMemsetAsync(wrong.data(), 0, wrong.size(), stream));
  run({reinterpret_cast<const T*>(x.data()), batch, k}, {reinterpret_cast<T*>(y.data()), batch, features},
      whole);
  count_other_elements<T><<<1024, 256, 0, stream>>>(
      reinterpret_cast<const T*>(y.data()), expected.view().data, batch, features, period,
      mode == Mode::eval ? 0.0f : 0.01f, reinterpret_cast<unsigned long long*>(wrong.data()));
  stream.synchronize();
  unsigned long long count = 1;
  succeed(cudaMemcpy(&count, wrong.data(), sizeof(count), cudaMemcpyDeviceToHost));
  CHECK(count == 0);
  std::vector<unsigned char> end(256);
  succeed(cudaMemcpy(end.data(), y.data() + y_bytes, end.size(), cudaMemcpyDeviceToHost));
  CHECK(end == std::vector<unsigned char>(256, 0xff));
}

}  // namespace test

#include <cstdint>
#include <type_traits>
#include <vector>

#include "../support/device_problem.cuh"

using masthead::Head;
using masthead::HeadParts;
using masthead::Mode;
using masthead::Precision;
using test::Shape;

namespace {

/// softmax in both modes, values of y one after the other.
template <class U, class AnyHead, class T>
std::vector<double> passes(const AnyHead& head, const masthead::Matrix<const T>& x, std::int64_t features) {
  const test::Stream stream;
  std::vector<double> values;
  for (const Mode mode : {Mode::eval, Mode::training}) {
    test::DeviceMatrix<U> y(x.rows, features);
    const test::DeviceWorkspace workspace(
        head.workspace_bytes(x.rows, {.mode = mode, .y = masthead::dtype_of<U>}));
    if (mode == Mode::eval) {
      head.forward(x, y.view(), {.workspace = workspace.view()}, stream);
    } else {
      head.forward_training(x, y.view(), {.workspace = workspace.view()}, stream);
    }
    stream.synchronize();
    CHECK(workspace.intact());
    const auto written = y.download();
    CHECK(written.intact());
    const std::vector<double> more = written.values();
    values.insert(values.end(), more.begin(), more.end());
  }
  return values;
}

/// A Head of `parts` computes what one of all parts does, with every policy that a width and a batch select.
template <Precision precision, HeadParts parts>
void check_parts() {
  using T = test::ElementOf<precision>;
  using Sum = masthead::Accumulator<T>;
  const std::int64_t k = 136;
  for (const std::int64_t features : {72, 512, 520, 1024, 1032, 16384, 16392}) {
    for (const std::int64_t batch : {2, 20, 60, 120, 200, 700}) {
      if (test::small_sizes() && batch * features > 1 << 16) continue;
      CAPTURE(features);
      CAPTURE(batch);
      test::DeviceProblem<T> problem(test::HeadCase{.shape = {batch, k, features}, .scale = {3}});
      const test::Stream stream;
      const Head<precision> all(problem.parameters(), stream);
      const Head<precision, parts> some(problem.parameters(), stream);
      stream.synchronize();
      CHECK(some.policy(batch) == all.policy(batch));
      const masthead::Matrix<const T> x = problem.x.view();
      CHECK(passes<T>(some, x, features) == passes<T>(all, x, features));
      if constexpr (!std::is_same_v<T, Sum>) {
        CHECK(passes<Sum>(some, x, features) == passes<Sum>(all, x, features));
      }
    }
  }
}

bool runs_wgmma() {
  if (masthead::detail::Device::current(cudaStream_t{}).limits.architecture == 90) return true;
  test::skip("a Head without SIMT: the GPU is not sm_90");
  return false;
}

}  // namespace

TEST_SUITE("device head parts") {
  TEST_CASE("bf16, fp16 and tf32 without SIMT and log-softmax compute the same") {
    if (!runs_wgmma()) return;
    constexpr HeadParts parts{.simt = false, .log_softmax = false};
    check_parts<Precision::bf16, parts>();
    check_parts<Precision::fp16, parts>();
    check_parts<Precision::tf32, parts>();
  }

  TEST_CASE("fp32 without SIMT computes the same") {
    if (runs_wgmma()) check_parts<Precision::fp32, HeadParts{.simt = false}>();
  }

  TEST_CASE("fp64 without log-softmax computes the same") {
    check_parts<Precision::fp64, HeadParts{.log_softmax = false}>();
  }
}

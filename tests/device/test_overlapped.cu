#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "../support/device_problem.cuh"

using namespace masthead;
using namespace masthead::detail;
using test::DeviceMatrix;
using test::DeviceProblem;
using test::DeviceWorkspace;
using test::HeadCase;
using test::Stream;

namespace {

constexpr PolicySpec m128n256 = shipped_wgmma(MathMode::plain, Dtype::bf16).m128;
constexpr PolicySpec m128n256_f16 = shipped_wgmma(MathMode::plain, Dtype::f16).m128;

bool runs_wgmma() {
  if (!check_compiled_for_sm90a(m128n256, Device::current(cudaStream_t{}))) return true;
  test::skip("overlapped normalization: not sm_90a");
  return false;
}

/// How many tiles of the schedule each cluster is given, which rows it completes early, and how they are
/// claimed.
struct Shape {
  int clusters, raster_m_blocks, split_columns;
  bool whole_rows = false;
};

/// A head whose schedule the test chooses, on a stream of its own.
template <PolicySpec spec, class T>
class Runs {
  using Policy = PolicyFor<spec>;

 public:
  explicit Runs(const HeadCase& c, std::int64_t pad = 0)
      : problem_(c),
        y_(c.shape.batch, c.shape.out_features, c.shape.out_features + pad),
        limits_(Device::current(stream_).limits),
        workspace_(two_pass().workspace.bytes + *overlap_bytes(c.shape.out_features)) {}

  void queue(const Shape& shape) {
    ForwardPlan plan = two_pass();
    plan.path = Path::overlapped;
    plan.workspace.overlap = {plan.workspace.partials.offset + plan.workspace.partials.bytes,
                              *overlap_bytes(problem_.shape.out_features)};
    PersistentSchedule& schedule = plan.persistent;
    schedule.clusters = std::min(schedule.clusters, shape.clusters);
    schedule.raster_m_blocks = shape.raster_m_blocks;
    schedule.split_columns = std::min(shape.split_columns, schedule.grid.tiles_n);
    plan.overlap = overlap_ = OverlapSections::of(schedule, spec.tile.m, spec.cluster_m);
    REQUIRE(overlap_.count() > 0);
    plan.tasks = NormalizeTasks::of(problem_.shape.out_features, shape.whole_rows ? 512 : 8192);
    plan.tasks.whole_rows = shape.whole_rows;
    progress_ = plan.workspace.overlap.offset;
    launch(plan);
  }
  /// Rows are normalized behind the GEMM.
  std::vector<unsigned char> run_two_pass() {
    y_.poison();
    launch(two_pass());
    return bytes();
  }

  std::vector<unsigned char> bytes() {
    stream_.synchronize();
    CHECK(workspace_.intact());
    CHECK(y_.download().intact());
    return y_.download().bytes;
  }
  std::vector<unsigned char> run(const Shape& shape) {
    y_.poison();
    test::succeed(cudaMemsetAsync(workspace_.view().data, 0xff,
                                  static_cast<std::size_t>(workspace_.view().bytes), stream_));
    queue(shape);
    return bytes();
  }
  void poison() { y_.poison(); }

  /// How many tasks, or whole rows, were normalized under the mainloop in the last run, which must be over;
  /// checks that all tiles of all sections were counted.
  unsigned normalized_under_mainloop() {
    std::vector<SectionProgress> progress(static_cast<std::size_t>(overlap_.count()));
    test::succeed(cudaMemcpy(progress.data(), static_cast<unsigned char*>(workspace_.view().data) + progress_,
                             progress.size() * sizeof(SectionProgress), cudaMemcpyDeviceToHost));
    unsigned claimed = 0;
    for (int s = 0; s < overlap_.count(); ++s) {
      CHECK(progress[test::at(s)].stored == overlap_.blocks_in(s));
      claimed += progress[test::at(s)].claimed;
    }
    return claimed;
  }
  const OverlapSections& overlap() const { return overlap_; }
  cudaStream_t stream() const { return stream_; }

 private:
  /// The plan without overlap: for a y that TMA cannot store there is none, and for a device of one cluster
  /// nothing is resident.
  ForwardPlan two_pass() const {
    DeviceLimits one = limits_;
    one.clusters = {1, 1, 1, 1};
    ForwardPlan plan = plan_forward(spec,
                                    {.batch = problem_.shape.batch,
                                     .in_features = problem_.shape.in_features,
                                     .out_features = problem_.shape.out_features,
                                     .y = dtype_of<T>,
                                     .y_by_tma = false},
                                    one);
    REQUIRE(plan.path == Path::two_pass);
    plan.persistent.clusters =
        std::min(limits_.resident_clusters(spec.cluster_m), plan.persistent.grid.size());
    return plan;
  }
  void launch(const ForwardPlan& plan) {
    launch_forward<Policy, Mode::eval, ForwardUse{}>(
        plan, ForwardCall<T, T>{.arguments = {problem_.x.view(), problem_.parameters(), y_.view()},
                                .mode = Mode::eval,
                                .stream = stream_,
                                .architecture = limits_.architecture,
                                .workspace = static_cast<unsigned char*>(workspace_.view().data),
                                .packed_x = {},
                                .packed_weight = {},
                                .update = {}});
  }

  DeviceProblem<T> problem_;
  DeviceMatrix<T> y_;
  Stream stream_;
  DeviceLimits limits_;
  DeviceWorkspace workspace_;
  OverlapSections overlap_;
  std::int64_t progress_ = 0;
};

constexpr Shape shapes[] = {
    {1000, 1, 0},      {3, 1, 0}, {2, 2, 1},       {1, 2, 3},       {3, 1000, 2},
    {1, 1000, 1000},   {2, 3, 1}, {3, 1, 0, true}, {1, 2, 3, true}, {1, 1000, 1000, true},
    {1000, 2, 1, true}};

template <PolicySpec spec, class T>
void check_shapes(const HeadCase& c, std::int64_t pad = 0) {
  CAPTURE(c);
  CAPTURE(to_string(spec));
  Runs<spec, T> runs(c, pad);
  const std::vector<unsigned char> expected = runs.run_two_pass();
  unsigned claimed = 0;
  for (const Shape& shape : shapes) {
    CAPTURE(shape.clusters);
    CAPTURE(shape.raster_m_blocks);
    CAPTURE(shape.split_columns);
    CAPTURE(shape.whole_rows);
    int different = 0;
    for (int i = 0; i < (test::small_sizes() ? 2 : 20); ++i) {
      different += runs.run(shape) != expected;
      claimed += runs.normalized_under_mainloop();
    }
    CHECK(different == 0);
  }
  CHECK(claimed > 0);
}

}  // namespace

TEST_SUITE("device overlapped") {
  TEST_CASE("rows normalized under the mainloop have the bits of rows normalized behind it") {
    if (!runs_wgmma()) return;
    const std::int64_t batch = test::small_sizes() ? 600 : 1100, features = test::small_sizes() ? 1000 : 9000;
    check_shapes<m128n256, __nv_bfloat16>({.shape = {batch, 136, 1032}, .seed = 31}, 16);
    check_shapes<m128n256, __nv_bfloat16>({.shape = {batch, 72, features}, .seed = 32});
    check_shapes<m128n256_f16, __half>({.shape = {batch, 136, 776}, .seed = 33});
  }

  TEST_CASE("more bands than sections") {
    if (!runs_wgmma()) return;
    const std::int64_t batch = test::small_sizes() ? 33 * 256 + 1 : 70 * 256 + 3;
    Runs<m128n256, __nv_bfloat16> runs({.shape = {batch, 8, 264}, .seed = 35});
    const auto expected = runs.run_two_pass();
    CHECK(runs.run({4, 1, 0}) == expected);
    CHECK(runs.overlap().count() > 16);
    CHECK(runs.overlap().count() <= OverlapSections::most);
  }

  TEST_CASE("long rows: the upper half of a batch is normalized early, with the bits of smaller batches") {
    if (!runs_wgmma()) return;
    if (test::small_sizes()) return test::skip("1024 x 4096 -> 40960: not under MASTHEAD_TEST_SMALL");
    using T = __nv_bfloat16;
    DeviceProblem<T> problem(HeadCase{.shape = {1024, 4096, 40960}, .scale = {3}, .seed = 39});
    const Stream stream;
    const Head<Precision::bf16> head(problem.parameters(), stream);
    DeviceMatrix<T> y(1024, 40960);
    const auto in_batches_of = [&](std::int64_t rows) {
      y.poison();
      for (std::int64_t first = 0; first < 1024; first += rows) {
        const Matrix<const T> x = problem.x.view();
        const Matrix<T> out = y.view();
        head.forward({x.data + first * x.row_stride, rows, x.columns, x.row_stride},
                     Matrix<T>(out.data + first * out.row_stride, rows, out.columns, out.row_stride), stream);
      }
      stream.synchronize();
      return y.download().bytes;
    };
    CHECK(in_batches_of(1024) == in_batches_of(512));
  }

  TEST_CASE("two streams at once, and a graph replayed over poisoned memory") {
    if (!runs_wgmma()) return;
    using T = __nv_bfloat16;
    const HeadCase c{.shape = {1100, 264, 2056}, .seed = 37}, other_case{.shape = c.shape, .seed = 38};
    Runs<m128n256, T> runs(c), other(other_case);
    const auto expected = runs.run_two_pass(), other_expected = other.run_two_pass();
    REQUIRE(expected != other_expected);
    for (const Shape& shape : {Shape{1000, 1, 0}, Shape{1000, 2, 5}, Shape{40, 1, 0}}) {
      for (int round = 0; round < (test::small_sizes() ? 1 : 10); ++round) {
        runs.poison(), other.poison();
        for (int i = 0; i < 3; ++i) runs.queue(shape), other.queue(shape);
        CHECK(runs.bytes() == expected);
        CHECK(other.bytes() == other_expected);
      }
    }

    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    test::succeed(cudaStreamBeginCapture(runs.stream(), cudaStreamCaptureModeGlobal));
    for (int i = 0; i < 3; ++i) runs.queue({1000, 2, 5});
    test::succeed(cudaStreamEndCapture(runs.stream(), &graph));
    test::succeed(cudaGraphInstantiate(&executable, graph, 0));
    for (int replay = 0; replay < (test::small_sizes() ? 2 : 20); ++replay) {
      runs.poison();
      test::succeed(cudaGraphLaunch(executable, runs.stream()));
      CHECK(runs.bytes() == expected);
    }
    test::succeed(cudaGraphExecDestroy(executable));
    test::succeed(cudaGraphDestroy(graph));
  }
}

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "../support/device_problem.cuh"

using namespace masthead;
using test::DeviceMatrix;
using test::DeviceProblem;
using test::DeviceWorkspace;
using test::HeadCase;
using test::Stream;

namespace {

constexpr PolicySpec wide = shipped_wgmma_policies(Dtype::bf16).wide;
constexpr PolicySpec wide_f16 = shipped_wgmma_policies(Dtype::f16).wide;

bool runs_wgmma() {
  if (!check_compiled_for_sm90a<PolicyFor<wide>>(Device::current(cudaStream_t{}))) return true;
  test::skip("rows finalised early: not sm_90a");
  return false;
}

/// How many tiles of the schedule each cluster is given, which rows it completes early, and how they are
/// claimed.
struct Shape {
  int clusters, raster_groups, split_columns;
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
        device_(Device::current(stream_)),
        layout_(HeadWorkspace::of(spec, dtype_of<T>, Mode::eval, Output::softmax, c.shape.batch,
                                  c.shape.in_features, c.shape.out_features)),
        workspace_(layout_.bytes + early_bytes_sm90(c.shape.out_features)) {}

  void queue(const Shape& shape) {
    const LinearSoftmaxSm90<Policy, T> linear = this->linear();
    PersistentSchedule schedule = linear.template early_schedule<T>();
    schedule.clusters = std::min(schedule.clusters, shape.clusters);
    schedule.raster_groups = shape.raster_groups;
    schedule.split_columns = std::min(shape.split_columns, schedule.grid.tiles_n);
    early_ = EarlySections::of(schedule, spec.tile.m, spec.cluster_m);
    REQUIRE(early_.count() > 0);
    FinaliseUnits units = FinaliseUnits::of(problem_.shape.out_features, shape.whole_rows ? 512 : 8192);
    units.whole_rows = shape.whole_rows;
    linear.softmax_early(y_.view(), partials(), schedule, early_, units);
  }
  /// Without early rows.
  std::vector<unsigned char> run_late() {
    y_.poison();
    linear().softmax(y_.view(), partials());
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

  /// How many units, or whole rows, of the early rows were finalised under the mainloop in the last run,
  /// which must be over; checks that all tiles of all sections were counted.
  unsigned finalised_early() {
    std::vector<SectionProgress> progress(static_cast<std::size_t>(early_.count()));
    const std::int64_t parts = ceil_div(problem_.shape.out_features, spec.tile.n);
    test::succeed(cudaMemcpy(progress.data(), partials() + problem_.shape.batch * parts,
                             progress.size() * sizeof(SectionProgress), cudaMemcpyDeviceToHost));
    unsigned claimed = 0;
    for (int s = 0; s < early_.count(); ++s) {
      CHECK(progress[test::at(s)].stored == early_.blocks_in(s));
      claimed += progress[test::at(s)].claimed;
    }
    return claimed;
  }
  const EarlySections& early() const { return early_; }
  cudaStream_t stream() const { return stream_; }

 private:
  LinearSoftmaxSm90<Policy, T> linear() {
    const Parameters<T> parameters = problem_.parameters();
    return {Matrix<const T>(problem_.x.view()), parameters.weight, parameters, device_, stream_};
  }
  RowPartial* partials() const {
    return reinterpret_cast<RowPartial*>(static_cast<unsigned char*>(workspace_.view().data) +
                                         layout_.partials);
  }

  DeviceProblem<T> problem_;
  DeviceMatrix<T> y_;
  Stream stream_;
  Device device_;
  HeadWorkspace layout_;
  DeviceWorkspace workspace_;
  EarlySections early_;
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
  const std::vector<unsigned char> expected = runs.run_late();
  unsigned claimed = 0;
  for (const Shape& shape : shapes) {
    CAPTURE(shape.clusters);
    CAPTURE(shape.raster_groups);
    CAPTURE(shape.split_columns);
    CAPTURE(shape.whole_rows);
    int different = 0;
    for (int i = 0; i < (test::small_sizes() ? 2 : 20); ++i) {
      different += runs.run(shape) != expected;
      claimed += runs.finalised_early();
    }
    CHECK(different == 0);
  }
  CHECK(claimed > 0);
}

}  // namespace

TEST_SUITE("device early sections") {
  TEST_CASE("rows finalised under the mainloop have the bits of rows finalised behind it") {
    if (!runs_wgmma()) return;
    const std::int64_t batch = test::small_sizes() ? 600 : 1100, features = test::small_sizes() ? 1000 : 9000;
    check_shapes<wide, __nv_bfloat16>({.shape = {batch, 136, 1032}, .seed = 31}, 16);
    check_shapes<wide, __nv_bfloat16>({.shape = {batch, 72, features}, .seed = 32});
    check_shapes<wide_f16, __half>({.shape = {batch, 136, 776}, .seed = 33});
  }

  TEST_CASE("more bands than sections") {
    if (!runs_wgmma()) return;
    const std::int64_t batch = test::small_sizes() ? 33 * 256 + 1 : 70 * 256 + 3;
    Runs<wide, __nv_bfloat16> runs({.shape = {batch, 8, 264}, .seed = 35});
    const auto expected = runs.run_late();
    CHECK(runs.run({4, 1, 0}) == expected);
    CHECK(runs.early().count() > 16);
    CHECK(runs.early().count() <= EarlySections::most);
  }

  TEST_CASE("long rows: the upper half of a batch is finalised early, with the bits of smaller batches") {
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
    Runs<wide, T> runs(c), other(other_case);
    const auto expected = runs.run_late(), other_expected = other.run_late();
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

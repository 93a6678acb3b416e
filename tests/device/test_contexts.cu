#include <cuda.h>
#include <cudaTypedefs.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../support/device_problem.cuh"
#include "masthead/linear_batch_norm_softmax.cuh"
#include "masthead/scale_softmax.cuh"

using namespace masthead;
using test::DeviceMatrix;
using test::DeviceProblem;
using test::DeviceRunning;
using test::DeviceWorkspace;
using test::HeadCase;
using test::Stream;

namespace {

void succeed(CUresult status) {
  if (status != CUDA_SUCCESS) throw std::runtime_error("CUresult " + std::to_string(status));
}

/// A function of the driver, found as the library finds its own.
template <class Function>
Function driver(const char* name, unsigned version) {
  return detail::driver_function<Function>(name, version);
}

/// Which multiprocessors a green context gets.
struct Part {
  unsigned least;             ///< multiprocessors, at least
  bool scattered = false;     ///< they need not lie in one processing cluster
  bool rest = false;          ///< all but those
  const char* name = "part";  ///< for messages
};

constexpr Part parts[] = {{.least = 16, .name = "16 multiprocessors"},
                          {.least = 8, .name = "8 multiprocessors"},
                          {.least = 16, .rest = true, .name = "all but 16 multiprocessors"}};

/// A green context of device 0 with a stream in it.
class Green {
 public:
  /// Null where the device or its driver has none of this part.
  static std::unique_ptr<Green> make(const Part& part) {
    test::succeed(cudaFree(nullptr));  // green contexts are parts of the primary one, which must be there
    auto green = std::unique_ptr<Green>(new Green);
    CUdevResource whole{}, some{}, rest{};
    unsigned count = 1;
    if (driver<PFN_cuDeviceGetDevResource_v12040>("cuDeviceGetDevResource", 12040)(
            0, &whole, CU_DEV_RESOURCE_TYPE_SM) != CUDA_SUCCESS) {
      return nullptr;
    }
    const auto split =
        driver<CUresult(CUDAAPI*)(CUdevResource*, unsigned*, const CUdevResource*, CUdevResource*, unsigned,
                                  unsigned)>("cuDevSmResourceSplitByCount", 12040);
    if (split(&some, &count, &whole, &rest,
              part.scattered ? CU_DEV_SM_RESOURCE_SPLIT_IGNORE_SM_COSCHEDULING : 0,
              part.least) != CUDA_SUCCESS ||
        count != 1) {
      return nullptr;
    }
    CUdevResource& used = part.rest ? rest : some;
    if (used.type != CU_DEV_RESOURCE_TYPE_SM || used.sm.smCount == 0) return nullptr;
    green->multiprocessors_ = static_cast<int>(used.sm.smCount);
    CUdevResourceDesc description;
    succeed(driver<PFN_cuDevResourceGenerateDesc_v12040>("cuDevResourceGenerateDesc", 12040)(&description,
                                                                                             &used, 1));
    if (driver<PFN_cuGreenCtxCreate_v12040>("cuGreenCtxCreate", 12040)(
            &green->green_, description, 0, CU_GREEN_CTX_DEFAULT_STREAM) != CUDA_SUCCESS) {
      return nullptr;
    }
    succeed(driver<PFN_cuGreenCtxStreamCreate_v12050>("cuGreenCtxStreamCreate", 12050)(
        &green->stream_, green->green_, CU_STREAM_NON_BLOCKING, 0));
    return green;
  }
  Green(const Green&) = delete;
  Green& operator=(const Green&) = delete;
  ~Green() {
    if (stream_ != nullptr) cudaStreamDestroy(stream_);
    if (green_ != nullptr) driver<PFN_cuGreenCtxDestroy_v12040>("cuGreenCtxDestroy", 12040)(green_);
  }

  int multiprocessors() const { return multiprocessors_; }
  cudaStream_t stream() const { return stream_; }
  CUcontext context() const {
    CUcontext context = nullptr;
    succeed(driver<PFN_cuCtxFromGreenCtx_v12040>("cuCtxFromGreenCtx", 12040)(&context, green_));
    return context;
  }

 private:
  Green() = default;

  CUgreenCtx green_ = nullptr;
  CUstream stream_ = nullptr;
  int multiprocessors_ = 0;
};

/// Makes a green context current as long as it lives.
class Current {
 public:
  explicit Current(const Green& green) {
    succeed(driver<PFN_cuCtxPushCurrent_v4000>("cuCtxPushCurrent", 4000)(green.context()));
  }
  Current(const Current&) = delete;
  Current& operator=(const Current&) = delete;
  ~Current() {
    CUcontext popped = nullptr;
    driver<PFN_cuCtxPopCurrent_v4000>("cuCtxPopCurrent", 4000)(&popped);
  }
};

std::unique_ptr<Green> green_or_skip(const Part& part) {
  std::unique_ptr<Green> green = Green::make(part);
  if (green == nullptr) test::skip(std::string("green contexts: none of ") + part.name);
  return green;
}

/// What a pass writes.
struct Written {
  std::vector<unsigned char> y;
  std::vector<double> mean, var;
  std::int64_t tracked = 0;

  friend bool operator==(const Written&, const Written&) = default;
};

/// Queues a pass of `head` on `stream` by queue(call), which runs call() once, and reads what it wrote.
template <Precision precision, class T, class Queue>
Written written(const Head<precision>& head, DeviceProblem<T>& problem, Mode mode, Output output,
                cudaStream_t stream, const Queue& queue) {
  const std::int64_t features = problem.shape.out_features;
  DeviceMatrix<T> y(problem.shape.batch, features);
  DeviceRunning running(test::running_start(features, Dtype::f32), Dtype::f32);
  const auto x = problem.x.view_const();
  const DeviceWorkspace workspace(head.workspace_bytes(x, {.mode = mode, .output = output}));
  queue([&] {
    const ForwardOptions options{
        .output = output, .workspace = workspace.view(), .running = running.view(std::nullopt)};
    if (mode == Mode::eval) {
      head.forward(x, y.view(), {.output = output, .workspace = workspace.view()}, stream);
    } else {
      head.forward_training(x, y.view(), options, stream);
    }
  });
  test::succeed(cudaStreamSynchronize(stream));
  CHECK(workspace.intact());
  CHECK(y.download().intact());
  CHECK(running.intact());
  return {y.download().bytes, running.mean.values(), running.var.values(), running.batches_tracked()};
}

constexpr auto at_once = [](const auto& call) { call(); };

/// Captures the call, and launches the graph.
struct InGraph {
  cudaStream_t stream;

  template <class Call>
  void operator()(const Call& call) const {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    test::succeed(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    call();
    test::succeed(cudaStreamEndCapture(stream, &graph));
    test::succeed(cudaGraphInstantiate(&executable, graph, 0));
    test::succeed(cudaGraphLaunch(executable, stream));
    test::succeed(cudaStreamSynchronize(stream));
    test::succeed(cudaGraphExecDestroy(executable));
    test::succeed(cudaGraphDestroy(graph));
  }
};

/// A problem, with the paths that it takes on a whole H200 and on 16 of its multiprocessors.
struct PartCase {
  test::Shape shape;
  Mode mode;
  std::optional<Path> whole, part;
  Output output = Output::softmax;
};

template <Precision precision>
void check_parts(const std::vector<PartCase>& cases) {
  using T = test::ElementOf<precision>;
  for (const PartCase& c : cases) {
    const test::Shape shape = test::small_sizes() ? test::Shape{c.shape.batch / 4 + 2, c.shape.in_features,
                                                                c.shape.out_features / 32 * 8}
                                                  : c.shape;
    CAPTURE(shape);
    CAPTURE(name(c.mode));
    DeviceProblem<T> problem(HeadCase{.shape = shape, .scale = {3}, .seed = 31});
    const Stream stream;
    const Head<precision> head(problem.parameters(), stream);
    const auto x = problem.x.view_const();
    const WorkspaceOptions options{.mode = c.mode, .output = c.output};
    const Written expected = written(head, problem, c.mode, c.output, stream, at_once);
    const bool on_wgmma = head.plan(x, options).policy.engine != Engine::simt && !test::small_sizes();
    if (on_wgmma && c.whole && detail::Device::current(stream).limits.multiprocessors >= 132) {
      CHECK(name(head.plan(x, options).path) == name(*c.whole));
    }
    for (const Part& part : parts) {
      CAPTURE(part.name);
      const auto green = green_or_skip(part);
      if (green == nullptr) continue;
      CHECK(written(head, problem, c.mode, c.output, green->stream(), at_once) == expected);
      const Head<precision> own(problem.parameters(), green->stream());
      const ForwardPlan plan = own.plan(x, options);
      if (plan.cooperative) CHECK(plan.resident.clusters() * plan.cluster <= green->multiprocessors());
      if (on_wgmma && c.part && green->multiprocessors() <= 16) CHECK(name(plan.path) == name(*c.part));
      CHECK(plan.workspace.bytes == head.workspace_bytes(x, options));
      {
        const Current current(*green);
        CHECK(written(own, problem, c.mode, c.output, green->stream(), at_once) == expected);
        CHECK(written(head, problem, c.mode, c.output, nullptr, at_once) == expected);
        CHECK(written(head, problem, c.mode, c.output, stream, at_once) == expected);
      }
      CHECK(written(own, problem, c.mode, c.output, green->stream(), InGraph{green->stream()}) == expected);
      // The first call of a context may be one that is captured.
      const auto fresh = Green::make(part);
      REQUIRE(fresh != nullptr);
      CHECK(written(head, problem, c.mode, c.output, fresh->stream(), InGraph{fresh->stream()}) == expected);
    }
    CHECK(written(head, problem, c.mode, c.output, stream, at_once) == expected);
  }
}

}  // namespace

TEST_SUITE("device contexts") {
  TEST_CASE("the limits are those of the stream's context, current or not") {
    const Stream stream;
    const DeviceLimits whole = detail::Device::current(stream).limits;
    int multiprocessors = 0;
    test::succeed(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, 0));
    CHECK(whole.multiprocessors == multiprocessors);
    const auto check = [&](const Part& part) {
      CAPTURE(part.name);
      const auto green = green_or_skip(part);
      if (green == nullptr) return;
      const DeviceLimits limits = detail::Device::current(green->stream()).limits;
      CHECK(limits.multiprocessors == green->multiprocessors());
      CHECK(limits.architecture == whole.architecture);
      for (int i = 0; i < 4; ++i) {
        const std::size_t at = test::at(i);
        CHECK((limits.clusters[at] << i) <= green->multiprocessors());
        CHECK(limits.clusters[at] <= whole.clusters[at]);
      }
      MESSAGE(part.name, ": ", limits.multiprocessors,
              " multiprocessors, clusters of 1, 2, 4, 8: ", limits.clusters[0], ", ", limits.clusters[1],
              ", ", limits.clusters[2], ", ", limits.clusters[3]);
      CHECK(detail::Device::current(stream).limits == whole);
      CHECK(detail::Device::current(cudaStream_t{}).limits == whole);
      const Current current(*green);
      CHECK(detail::Device::current(green->stream()).limits == limits);
      CHECK(detail::Device::current(stream).limits == whole);
      CHECK(detail::Device::current(cudaStream_t{}).limits == limits);
      CHECK(detail::Device::current(cudaStreamLegacy).limits == limits);
    };
    for (const Part& part : parts) check(part);
    check({.least = 2, .scattered = true, .name = "2 multiprocessors anywhere"});
    check({.least = 6, .scattered = true, .name = "6 multiprocessors anywhere"});
    CHECK(detail::Device::current(stream).limits == whole);
  }

  TEST_CASE("a context is not taken for one that was destroyed") {
    for (int i = 0; i < (test::small_sizes() ? 6 : 150); ++i) {
      const auto green = green_or_skip(parts[i % 2]);
      if (green == nullptr) return;
      CHECK(detail::Device::current(green->stream()).limits.multiprocessors == green->multiprocessors());
    }
  }

  TEST_CASE("on part of a device a Head takes a path that fits, with the same bits: bf16") {
    check_parts<Precision::bf16>(
        {{{1024, 512, 8192}, Mode::eval, Path::resident, Path::two_pass},
         {{1024, 512, 8192}, Mode::training, Path::resident_training, Path::two_pass_training},
         {{1000, 136, 8184}, Mode::training, Path::resident_training, Path::two_pass_training},
         {{1000, 136, 8190}, Mode::training, Path::resident_training, Path::two_pass_training},
         {{250, 136, 30000}, Mode::training, Path::resident_training, Path::two_pass_training},
         {{2, 136, 33000}, Mode::training, Path::resident_training, Path::two_pass_training},
         {{4096, 128, 8192}, Mode::eval, Path::overlapped, {}},
         {{4096, 128, 8192}, Mode::training, Path::training, Path::training},
         {{1024, 512, 500}, Mode::eval, Path::one_cluster, Path::one_cluster},
         {{16, 512, 8192}, Mode::eval, Path::row_blocks, Path::row_blocks},
         {{100, 512, 17000}, Mode::eval, Path::two_pass, Path::two_pass},
         {{1024, 512, 8192}, Mode::eval, Path::logits, Path::logits, Output::log_softmax}});
  }

  TEST_CASE("on part of a device a Head takes a path that fits, with the same bits: fp32") {
    check_parts<Precision::fp32>({{{1000, 136, 8200}, Mode::eval, Path::logits, Path::logits},
                                  {{1000, 136, 8200}, Mode::training, Path::training, Path::training}});
  }

  TEST_CASE(
      "the two-pass training path has the bits of the resident one for NaN, infinities and dead columns") {
    const auto green = green_or_skip(parts[0]);
    if (green == nullptr) return;
    const HeadCase c{.shape = {1024, 136, 8192}, .scale = {30}, .seed = 32};
    test::HeadProblem p = test::problem_of<Precision::bf16>(c);
    for (std::int64_t k = 0; k < p.in_features; ++k) {
      p.weight[test::at(17 * p.in_features + k)] = 0;  // a constant column
      p.weight[test::at(300 * p.in_features + k)] = std::numeric_limits<double>::infinity();
      p.x[test::at(5 * p.in_features + k)] = std::numeric_limits<double>::quiet_NaN();
      p.x[test::at(700 * p.in_features + k)] *= 1000;
    }
    DeviceProblem<__nv_bfloat16> problem(p, c);
    const Stream stream;
    const Head<Precision::bf16> head(problem.parameters(), stream);
    const Written whole = written(head, problem, Mode::training, Output::softmax, stream, at_once);
    const Written part = written(head, problem, Mode::training, Output::softmax, green->stream(), at_once);
    CHECK(part.y == whole.y);
    CHECK(part.tracked == whole.tracked);
  }

  TEST_CASE("an explicit policy takes a path that fits, with the same bits") {
    constexpr PolicySpec m128n256 = detail::shipped_wgmma(MathMode::plain, Dtype::bf16).m128;
    using Policy = PolicyFor<m128n256>;
    const Stream stream;
    if (detail::check_compiled_for_sm90a(m128n256, detail::Device::current(stream))) {
      return test::skip("an explicit policy of the wgmma engine: not sm_90a");
    }
    const auto green = green_or_skip(parts[0]);
    if (green == nullptr) return;
    DeviceProblem<__nv_bfloat16> problem(HeadCase{
        .shape = {test::small_sizes() ? 64 : 1024, 512, test::small_sizes() ? 256 : 8192}, .seed = 33});
    for (const Mode mode : {Mode::eval, Mode::training}) {
      const auto run = [&](cudaStream_t used) {
        DeviceMatrix<__nv_bfloat16> y(problem.shape.batch, problem.shape.out_features);
        const HeadArguments<__nv_bfloat16, __nv_bfloat16> arguments{
            .x = problem.x.view(), .parameters = problem.parameters(), .y = y.view()};
        const DeviceWorkspace workspace(workspace_bytes<Policy>(arguments, mode));
        if (mode == Mode::eval) {
          linear_batch_norm_softmax<Policy>(arguments, workspace.view(), used);
        } else {
          linear_batch_norm_softmax_training<Policy>(arguments, {}, workspace.view(), used);
        }
        test::succeed(cudaStreamSynchronize(used));
        CHECK(workspace.intact());
        return y.download().bytes;
      };
      CHECK(run(green->stream()) == run(stream));
    }
  }

  TEST_CASE("scale_softmax on part of a device, down to 2 multiprocessors") {
    for (const Part& part : {parts[0], parts[1], Part{.least = 2, .scattered = true, .name = "2 anywhere"}}) {
      CAPTURE(part.name);
      const auto green = green_or_skip(part);
      if (green == nullptr) continue;
      for (const std::int64_t columns : {5, 3000, 12288, 100000, 200000}) {
        CAPTURE(columns);
        const std::int64_t rows = test::small_sizes() ? 3 : 300;
        test::Random random(7);
        DeviceMatrix<float> x(rows, columns);
        x.set(random.normals(rows * columns));
        const auto run = [&](cudaStream_t used) {
          DeviceMatrix<float> y(rows, columns);
          scale_softmax(x.view_const(), ConstVector{}, y.view(), used);
          test::succeed(cudaStreamSynchronize(used));
          return y.download().bytes;
        };
        const Stream stream;
        // Long rows are shared by a cluster, where there is one, and summed in another order where not.
        if (columns <= 3000 || detail::Device::current(green->stream()).limits.resident_clusters(8) > 0) {
          CHECK(run(green->stream()) == run(stream));
          continue;
        }
        const auto values = [&](cudaStream_t used) {
          const std::vector<unsigned char> bytes = run(used);
          std::vector<float> floats(bytes.size() / sizeof(float));
          std::memcpy(floats.data(), bytes.data(), bytes.size());
          return floats;
        };
        const std::vector<float> part_of = values(green->stream()), whole = values(stream);
        REQUIRE(part_of.size() == whole.size());
        std::int64_t wrong = 0;
        for (std::size_t i = 0; i < whole.size(); ++i) {
          // What lies around y is no number, and the same.
          const bool same = std::memcmp(&part_of[i], &whole[i], sizeof(float)) == 0;
          wrong += !same && !(std::abs(part_of[i] - whole[i]) <= 1e-5f * whole[i]);
        }
        CHECK(wrong == 0);
      }
    }
  }

  TEST_CASE("what this process has of the device computes bits that others can compare") {
    // Under MPS a process has a share: tests/contexts/mps.py runs this case alone and whole.
    std::uint64_t hash = 14695981039346656037u;
    for (const Mode mode : {Mode::eval, Mode::training}) {
      for (const test::Shape& shape : {test::Shape{1024, 512, 8192}, test::Shape{16, 512, 8192}}) {
        DeviceProblem<__nv_bfloat16> problem(HeadCase{.shape = shape, .seed = 34});
        const Stream stream;
        const Head<Precision::bf16> head(problem.parameters(), stream);
        const Written result = written(head, problem, mode, Output::softmax, stream, at_once);
        for (const unsigned char byte : result.y) hash = (hash ^ byte) * 1099511628211u;
        std::printf("%d multiprocessors, %s\n", detail::Device::current(stream).limits.multiprocessors,
                    std::string(name(head.plan(problem.x.view(), {.mode = mode}).path)).c_str());
      }
    }
    std::printf("bits %016llx\n", static_cast<unsigned long long>(hash));
  }
}

// --- lifetimes ---

namespace {

/// A Head of a problem that it owns, with what its pass writes.
template <Precision precision>
struct Owned {
  using T = test::ElementOf<precision>;

  DeviceProblem<T> problem;
  Written expected;

  explicit Owned(std::uint64_t seed, const test::Shape& shape = {64, 136, 264})
      : problem(HeadCase{.shape = shape, .seed = seed}) {
    const Stream stream;
    expected = run(head(stream), stream);
    REQUIRE(!expected.y.empty());
  }
  Head<precision> head(cudaStream_t stream) { return Head<precision>(problem.parameters(), stream); }
  Written run(const Head<precision>& head, cudaStream_t stream) {
    return written(head, problem, Mode::eval, Output::softmax, stream, at_once);
  }
};

/// Bytes that stream-ordered allocations of device 0 have in use.
std::uint64_t used_bytes() {
  cudaMemPool_t pool = nullptr;
  test::succeed(cudaDeviceSynchronize());
  test::succeed(cudaDeviceGetDefaultMemPool(&pool, 0));
  std::uint64_t used = 0;
  test::succeed(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &used));
  return used;
}

template <Precision precision>
void check_streams_that_go_first() {
  Owned<precision> owned(41);
  const std::uint64_t before = used_bytes();
  for (int i = 0; i < 20; ++i) {
    cudaStream_t stream = nullptr;
    test::succeed(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    auto head = std::make_unique<Head<precision>>(owned.problem.parameters(), stream);
    CHECK(owned.run(*head, stream) == owned.expected);
    test::succeed(cudaStreamDestroy(stream));
    // A Head outlives its stream, and serves others.
    const Stream other;
    CHECK(owned.run(*head, other) == owned.expected);
    head.reset();
    CHECK(cudaPeekAtLastError() == cudaSuccess);
  }
  CHECK(used_bytes() == before);
}

template <Precision precision>
void check_many_heads() {
  Owned<precision> owned(42);
  const std::uint64_t before = used_bytes();
  {
    constexpr int count = 200;
    std::vector<std::unique_ptr<Stream>> streams;
    std::vector<Head<precision>> heads;
    std::vector<std::unique_ptr<DeviceMatrix<test::ElementOf<precision>>>> ys;
    for (int i = 0; i < count; ++i) {
      streams.push_back(std::make_unique<Stream>());
      heads.emplace_back(owned.problem.parameters(), *streams.back());  // moves those before, now and then
      ys.push_back(std::make_unique<DeviceMatrix<test::ElementOf<precision>>>(
          owned.problem.shape.batch, owned.problem.shape.out_features));
    }
    for (int round = 0; round < 2; ++round) {
      for (int i = 0; i < count; ++i) {
        heads[test::at(i)].forward(owned.problem.x.view(), ys[test::at(i)]->view(), *streams[test::at(i)]);
      }
    }
    int different = 0;
    for (const auto& y : ys) different += y->download().bytes != owned.expected.y;
    CHECK(different == 0);
    heads.clear();
  }
  CHECK(used_bytes() == before);
}

template <Precision precision>
void check_moves(bool packs) {
  Owned<precision> owned(43), other(44);
  REQUIRE(owned.expected.y != other.expected.y);
  const Stream stream;
  const std::uint64_t before = used_bytes();
  {
    Head<precision> first = owned.head(stream);
    Head<precision> moved = std::move(first);
    CHECK(owned.run(moved, stream) == owned.expected);
    Head<precision> target = other.head(stream);
    CHECK(other.run(target, stream) == other.expected);
    target = std::move(moved);
    CHECK(owned.run(target, stream) == owned.expected);
    Head<precision>& same = target;
    target = std::move(same);
    CHECK(owned.run(target, stream) == owned.expected);
    target.update(stream);
    CHECK(owned.run(target, stream) == owned.expected);
    if (packs) {
      // What was moved from is refused, with y untouched, until it is assigned to.
      DeviceMatrix<test::ElementOf<precision>> y(owned.problem.shape.batch, owned.problem.shape.out_features);
      const auto bytes = y.download().bytes;
      for (Head<precision>* gone : {&first, &moved}) {
        CHECK_THROWS_AS(gone->forward(owned.problem.x.view(), y.view(), stream), Error);
        CHECK_THROWS_AS(gone->update(stream), Error);
      }
      CHECK(y.download().bytes == bytes);
    }
    first = other.head(stream);
    CHECK(other.run(first, stream) == other.expected);
    std::swap(first, target);
    CHECK(owned.run(first, stream) == owned.expected);
    CHECK(other.run(target, stream) == other.expected);
  }
  CHECK(used_bytes() == before);
}

/// Heads that are destroyed when the process ends, after what the runtime tears down by itself or before.
std::optional<Head<Precision::bf16>> last_bf16;
std::optional<Head<Precision::fp32>> last_fp32;

}  // namespace

TEST_SUITE("device lifetimes") {
  TEST_CASE("a Head is destroyed after its stream") {
    check_streams_that_go_first<Precision::bf16>();
    check_streams_that_go_first<Precision::fp32>();
  }

  TEST_CASE("200 heads on 200 streams") {
    check_many_heads<Precision::bf16>();
    check_many_heads<Precision::fp32>();
  }

  TEST_CASE("moved heads") {
    const Stream stream;
    check_moves<Precision::bf16>(false);
    check_moves<Precision::fp32>(!detail::check_compiled_for_sm90a(
        detail::shipped_wgmma(MathMode::f16x3, Dtype::f32).m128, detail::Device::current(stream)));
  }

  TEST_CASE("global heads live until the process ends") {
    static Owned<Precision::bf16>* const bf16 = new Owned<Precision::bf16>(45);
    static Owned<Precision::fp32>* const fp32 = new Owned<Precision::fp32>(46);
    static Stream* const stream = new Stream;
    last_bf16.emplace(bf16->problem.parameters(), *stream);
    last_fp32.emplace(fp32->problem.parameters(), *stream);
    CHECK(bf16->run(*last_bf16, *stream) == bf16->expected);
    CHECK(fp32->run(*last_fp32, *stream) == fp32->expected);
  }
}

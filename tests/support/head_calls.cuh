#pragma once
/// How calls of Head behave, in every precision: reproducible bits, concurrency, graphs, pending errors,
/// size.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "device_problem.cuh"

namespace test {

/// Bits: over 20 runs (3 under MASTHEAD_TEST_SMALL), and of a row in batches of any size, at any place and
/// with whatever policy.
template <Precision precision>
void test_bits() {
  using T = ElementOf<precision>;
  const std::int64_t pool = small_sizes() ? 130 : 1024;
  struct Widths {
    std::int64_t k, features;
  };
  const std::int64_t wide = small_sizes() ? 1032 : 4104, narrow = small_sizes() ? 72 : 500;
  for (const auto& [k, features] :
       {Widths{133, wide}, Widths{136, wide}, Widths{136, narrow}, Widths{1544, wide / 4}}) {
    CAPTURE(k);
    CAPTURE(features);
    const std::size_t row_bytes = at(features) * sizeof(T);
    DeviceProblem<T> problem(HeadCase{.shape = {pool, k, features}, .scale = {3}, .seed = 11});
    const Stream stream;
    const Head<precision> head(problem.parameters(), stream);
    const masthead::Matrix<const T> x = problem.x.view();
    const DeviceBytes y(at(pool) * row_bytes),
        workspace(
            at(std::max(head.workspace_bytes(pool, {.mode = Mode::training}), head.workspace_bytes(pool))) +
            256);
    const std::vector<unsigned char> poison(y.size(), 0xff);
    // The rows of x from `first` on.
    const auto run = [&](Mode mode, std::int64_t first, std::int64_t count) {
      const masthead::Matrix<const T> rows(x.data + first * x.row_stride, count, k, x.row_stride);
      const masthead::Matrix<T> out(reinterpret_cast<T*>(y.data()), count, features);
      const masthead::Workspace space{workspace.data(), head.workspace_bytes(count, {.mode = mode})};
      succeed(cudaMemsetAsync(y.data(), 0xff, y.size(), stream));
      succeed(cudaMemsetAsync(workspace.data(), 0xff, workspace.size(), stream));
      if (mode == Mode::eval) {
        head.forward(rows, out, {.workspace = space}, stream);
      } else {
        head.forward_training(rows, out, {.workspace = space}, stream);
      }
      stream.synchronize();
      std::vector<unsigned char> bytes(at(count) * row_bytes);
      y.download(bytes);
      return bytes;
    };
    for (const Mode mode : {Mode::eval, Mode::training}) {
      CAPTURE(name(mode));
      const std::vector<unsigned char> all = run(mode, 0, pool);
      CHECK(all != poison);
      int different_runs = 0;
      for (int i = 0; i < (small_sizes() ? 3 : 20); ++i) different_runs += run(mode, 0, pool) != all;
      CHECK(different_runs == 0);
      if (mode == Mode::training) continue;
      for (const std::int64_t count : {1, 2, 16, 17, 128, 129, 257, 1024}) {
        for (const std::int64_t first : {std::int64_t{0}, pool / 3 + 1, pool - count}) {
          if (first < 0 || first + count > pool) continue;
          const std::vector<unsigned char> part = run(mode, first, count);
          const bool same = std::equal(part.begin(), part.end(),
                                       all.begin() + first * static_cast<std::int64_t>(row_bytes));
          CHECK_MESSAGE(same, count, " rows from ", first, " differ");
        }
      }
    }
  }
}

/// Whether `head` multiplies as its precision does on sm_90; if not, says that the case is skipped.
template <Precision precision>
bool runs_math_mode(const Head<precision>& head) {
  if (head.policy(1).math_mode == masthead::math_mode_of(precision)) return true;
  skip("the operands' rounding: not sm_90a");
  return false;
}

/// y of the problem in its operands' dtype, as bytes.
template <Precision precision>
std::vector<unsigned char> bits_of(const HeadProblem& p, const HeadCase& c, Mode mode) {
  using T = ElementOf<precision>;
  DeviceProblem<T> problem(p, c);
  const Stream stream;
  const Head<precision> head(problem.parameters(), stream);
  Findings findings;
  const auto y = forward<T>(head, problem.x.view(), p.out_features, mode, stream, findings);
  for (const Finding& f : findings) CHECK_MESSAGE(f.good, f.text);
  return y.bytes;
}

/// Counts the words in which `a` and `b` differ.
template <class Word>
__global__ void count_differences_kernel(const Word* a, const Word* b, std::int64_t words,
                                         unsigned long long* count) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  unsigned long long different = 0;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < words; i += step) {
    different += a[i] != b[i];
  }
  if (different != 0) atomicAdd(count, different);
}

/// How many 32-bit words of results differ from those there were at first. Kept on the device, so that a
/// thousand results need no copy and no wait.
class Differences {
 public:
  Differences(const DeviceBytes& first, const Stream& stream)
      : first_(first.size()), count_(sizeof(unsigned long long)), stream_(stream) {
    REQUIRE(first.size() % sizeof(unsigned) == 0);
    succeed(cudaMemcpyAsync(first_.data(), first.data(), first.size(), cudaMemcpyDeviceToDevice, stream_));
    succeed(cudaMemsetAsync(count_.data(), 0, count_.size(), stream_));
  }

  void add(const DeviceBytes& result) {
    count_differences_kernel<<<256, 256, 0, stream_>>>(
        reinterpret_cast<const unsigned*>(first_.data()), reinterpret_cast<const unsigned*>(result.data()),
        static_cast<std::int64_t>(words()), reinterpret_cast<unsigned long long*>(count_.data()));
    succeed(cudaGetLastError());
  }

  std::size_t words() const { return first_.size() / sizeof(unsigned); }
  /// Of all results that were added. Waits.
  unsigned long long count() const {
    std::vector<unsigned char> bytes(count_.size());
    count_.download(bytes);
    unsigned long long count;
    std::memcpy(&count, bytes.data(), sizeof(count));
    return count;
  }

 private:
  DeviceBytes first_, count_;
  const Stream& stream_;
};

/// A head, and the path it takes on a whole H100 or H200.
struct RepeatCase {
  Shape shape;
  Mode mode;
  masthead::Path path;
};

/// Bits over 1000 launches and 100 replays of a graph. y is poisoned before each, the workspace before every
/// other one: a call must be at home in what the last one left, too. MASTHEAD_TEST_SMALL makes it 20, 5 and a
/// smaller shape, which no resident kernel takes.
template <Precision precision>
void test_repeats(const std::vector<RepeatCase>& cases) {
  using T = ElementOf<precision>;
  const int launches = small_sizes() ? 20 : 1000, replays = small_sizes() ? 5 : 100;
  int multiprocessors = 0;
  succeed(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, 0));
  for (const auto& [full, mode, path] : cases) {
    const Shape shape =
        small_sizes() ? Shape{full.batch / 4 + 2, full.in_features, full.out_features / 32 * 8} : full;
    CAPTURE(shape);
    CAPTURE(name(mode));
    DeviceProblem<T> problem(HeadCase{.shape = shape, .scale = {3}, .seed = 21});
    const Stream stream;
    const Head<precision> head(problem.parameters(), stream);
    const std::int64_t workspace_bytes = head.workspace_bytes(shape.batch, {.mode = mode});
    const DeviceBytes y(at(shape.batch * shape.out_features) * sizeof(T)),
        workspace(at(workspace_bytes) + 256);
    const auto poison = [&](const DeviceBytes& memory) {
      succeed(cudaMemsetAsync(memory.data(), 0xff, memory.size(), stream));
    };
    const auto call = [&] {
      const masthead::Matrix<T> out(reinterpret_cast<T*>(y.data()), shape.batch, shape.out_features);
      const masthead::Workspace space{workspace.data(), workspace_bytes};
      if (mode == Mode::eval) {
        head.forward(problem.x.view(), out, {.workspace = space}, stream);
      } else {
        head.forward_training(problem.x.view(), out, {.workspace = space}, stream);
      }
    };

    poison(y);
    poison(workspace);
    Differences from_poison(y, stream);
    call();
    from_poison.add(y);
    CHECK(from_poison.count() == from_poison.words());

    Differences from_first(y, stream);
    const auto repeat = [&](int times, const auto& run) {
      for (int i = 0; i < times; ++i) {
        poison(y);
        if (i % 2 == 0) poison(workspace);
        run();
        from_first.add(y);
      }
      CHECK(from_first.count() == 0);
    };
    repeat(launches, call);

    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    succeed(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    call();
    succeed(cudaStreamEndCapture(stream, &graph));
    std::size_t nodes = 0;
    succeed(cudaGraphGetNodes(graph, nullptr, &nodes));
    // The plan says what was launched; on a whole GPU it is the path the case is about.
    const masthead::ForwardPlan plan = head.plan(problem.x.view(), {.mode = mode});
    CHECK(nodes == static_cast<std::size_t>(plan.kernel_count));
    CHECK(workspace_bytes >= plan.workspace.bytes);
    if (!small_sizes() && multiprocessors >= 132 && plan.policy.engine != masthead::Engine::simt) {
      CHECK(name(plan.path) == name(path));
    }
    succeed(cudaGraphInstantiate(&executable, graph, 0));
    repeat(replays, [&] { succeed(cudaGraphLaunch(executable, stream)); });
    succeed(cudaGraphExecDestroy(executable));
    succeed(cudaGraphDestroy(graph));

    // One changed word is told apart: no probability ends with a byte of ones.
    succeed(cudaMemsetAsync(y.data() + y.size() - 1, 0xff, 1, stream));
    from_first.add(y);
    CHECK(from_first.count() == 1);
  }
}

/// Two streams at once with a workspace each, one head in four threads, and the overloads that allocate.
template <Precision precision>
void test_concurrency() {
  using T = ElementOf<precision>;
  const std::int64_t batch = small_sizes() ? 70 : 700, features = small_sizes() ? 40 : 1000;
  const HeadCase c{.shape = {batch, 264, features}, .seed = 13};
  const HeadCase other_case{.shape = {batch, 264, features}, .seed = 14};
  DeviceProblem<T> problem(c), other_problem(other_case);
  const Stream stream, other_stream;
  const Head<precision> head(problem.parameters(), stream), other_head(other_problem.parameters(), stream);
  Findings findings;
  for (const Mode mode : {Mode::eval, Mode::training}) {
    CAPTURE(name(mode));
    const auto a = forward<T>(head, problem.x.view(), features, mode, stream, findings);
    const auto b = forward<T>(other_head, other_problem.x.view(), features, mode, stream, findings);
    REQUIRE(a.bytes != b.bytes);

    const std::int64_t bytes = head.workspace_bytes(batch, {.mode = mode});
    const DeviceWorkspace workspace(bytes), other_workspace(bytes);
    std::vector<std::unique_ptr<DeviceMatrix<T>>> ys;
    for (int i = 0; i < 10; ++i) ys.push_back(std::make_unique<DeviceMatrix<T>>(batch, features));
    for (int i = 0; i < 10; ++i) {
      const bool mine = i % 2 == 0;
      auto& used_problem = mine ? problem : other_problem;
      const auto& used_head = mine ? head : other_head;
      const auto& used_workspace = mine ? workspace : other_workspace;
      const cudaStream_t used_stream = mine ? stream : other_stream;
      if (mode == Mode::eval) {
        used_head.forward(used_problem.x.view(), ys[at(i)]->view(), {.workspace = used_workspace.view()},
                          used_stream);
      } else {
        used_head.forward_training(used_problem.x.view(), ys[at(i)]->view(),
                                   {.workspace = used_workspace.view()}, used_stream);
      }
    }
    for (int i = 0; i < 10; ++i) CHECK(ys[at(i)]->download().bytes == (i % 2 == 0 ? a : b).bytes);
    CHECK(workspace.intact());
    CHECK(other_workspace.intact());

    // racecheck loses track of launches from several threads: one then.
    std::vector<std::string> wrong(under_racecheck() ? 1 : 4);
    std::vector<std::thread> threads;
    for (std::string& text : wrong) {
      threads.emplace_back([&] {
        try {
          const Stream own;
          const DeviceWorkspace own_workspace(bytes);
          DeviceMatrix<T> y(batch, features);
          for (int i = 0; i < 5; ++i) {
            y.poison();
            if (mode == Mode::eval) {
              head.forward(problem.x.view(), y.view(), {.workspace = own_workspace.view()}, own);
            } else {
              head.forward_training(problem.x.view(), y.view(), {.workspace = own_workspace.view()}, own);
            }
            own.synchronize();
            if (y.download().bytes != a.bytes) text = "different bits";
          }
        } catch (const std::exception& error) {
          text = error.what();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const std::string& text : wrong) CHECK(text == "");

    DeviceMatrix<T> y(batch, features);
    DeviceMatrix<masthead::Accumulator<T>> wide(batch, features);
    const auto allocate_and_forward = [&](const auto& out) {
      if (mode == Mode::eval) {
        head.forward(problem.x.view(), out, stream);
      } else {
        head.forward_training(problem.x.view(), out, {}, stream);
      }
    };
    if (mode == Mode::training && sizeof(T) == 2 && under_initcheck()) {
      skip("a 16-bit y in training mode without a workspace: its logits come by TMA, unseen by initcheck");
    } else {
      allocate_and_forward(y.view());
      CHECK(y.download().bytes == a.bytes);
    }
    allocate_and_forward(wide.view());
    CHECK(wide.download().bytes ==
          forward<masthead::Accumulator<T>>(head, problem.x.view(), features, mode, stream, findings).bytes);
  }
  for (const Finding& f : findings) CHECK_MESSAGE(f.good, f.text);
}

/// A captured graph replays what a call does, with what x, the scale and the weight hold by then.
template <Precision precision>
void test_graph() {
  using T = ElementOf<precision>;
  const std::int64_t batch = 70, features = 136;
  HeadCase c{.shape = {batch, 64, features}, .scale = {2}, .seed = 15};
  DeviceProblem<T> problem(c);
  const Stream stream;
  Head<precision> head(problem.parameters(), stream);
  const DeviceRunning running(running_start(features, Dtype::f32), Dtype::f32);
  const DeviceWorkspace workspace(head.workspace_bytes(batch)),
      training_workspace(head.workspace_bytes(batch, {.mode = Mode::training}));
  DeviceMatrix<T> y(batch, features), y_allocated(batch, features), y_training(batch, features);

  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  succeed(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  head.update(stream);  // for heads that multiply a packed copy of the weight
  head.forward(problem.x.view(), y.view(), {.workspace = workspace.view()}, stream);
  head.forward(problem.x.view(), y_allocated.view(), stream);
  head.forward_training(problem.x.view(), y_training.view(),
                        {.workspace = training_workspace.view(), .running = running.view(std::nullopt)},
                        stream);
  succeed(cudaStreamEndCapture(stream, &graph));
  CHECK(y.download().untouched());
  succeed(cudaGraphInstantiate(&executable, graph, 0));

  std::vector<unsigned char> before;
  for (std::uint64_t replay = 0; replay < 3; ++replay) {
    CAPTURE(replay);
    c.seed = 15 + replay;
    HeadProblem p = problem_of<precision>(c);
    p.scale = {2 - 3.0 * static_cast<double>(replay)};
    problem.x.set(p.x);
    problem.weight.set(p.weight);
    problem.scale.set(p.scale);
    // The other vectors stay those of the first replay.
    const HeadProblem first = problem_of({.shape = c.shape, .scale = {2}, .seed = 15}, masthead::dtype_of<T>);
    p.bias = first.bias, p.gamma = first.gamma, p.beta = first.beta;
    p.running_mean = first.running_mean, p.running_var = first.running_var;
    y.poison();
    y_allocated.poison();
    y_training.poison();
    succeed(cudaGraphLaunch(executable, stream));
    stream.synchronize();

    Findings findings;
    const auto fresh = forward<T>(head, problem.x.view(), features, Mode::eval, stream, findings);
    const auto fresh_training =
        forward<T>(head, problem.x.view(), features, Mode::training, stream, findings);
    CHECK(y.download().bytes == fresh.bytes);
    CHECK(y_allocated.download().bytes == fresh.bytes);
    CHECK(y_training.download().bytes == fresh_training.bytes);
    CHECK(running.batches_tracked() == 5 + static_cast<std::int64_t>(replay));
    CHECK(before != fresh.bytes);
    before = fresh.bytes;
    compare_into(findings, "replay", head_reference(p, false).softmax, fresh.values(),
                 masthead::accumulator_dtype(masthead::dtype_of<T>), masthead::dtype_of<T>, Output::softmax,
                 true, stored_ulps(head.policy(batch)));
    for (const Finding& f : findings) CHECK_MESSAGE(f.good, f.text);
  }
  CHECK(workspace.intact());
  CHECK(training_workspace.intact());
  CHECK(running.intact());
  succeed(cudaGraphExecDestroy(executable));
  succeed(cudaGraphDestroy(graph));
}

/// Writes `fresh` to `target` long after it has let the next kernel start.
template <class T>
__global__ void late_write_kernel(T* target, const T* fresh, std::int64_t size) {
  masthead::ptx::grid_dependency_trigger();
  const long long start = clock64();
  while (clock64() - start < 200000) {
  }
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < size; i += step) {
    target[i] = fresh[i];
  }
}

/// What the kernel before writes while the head may have started is what the head multiplies.
template <Precision precision>
void test_late_writes() {
  using T = ElementOf<precision>;
  const HeadCase c{.shape = {16, 1544, 1032}, .scale = {2}, .seed = 18};
  HeadCase other = c;
  other.seed = 19;
  DeviceProblem<T> problem(c), fresh(other);
  const Stream stream;
  Head<precision> head(problem.parameters(), stream);
  const DeviceWorkspace workspace(head.workspace_bytes(c.shape.batch));
  DeviceMatrix<T> y(c.shape.batch, c.shape.out_features);
  const auto forward = [&] {
    y.poison();
    head.update(stream);  // for heads that multiply a packed copy of the weight
    head.forward(problem.x.view(), y.view(), {.workspace = workspace.view()}, stream);
  };
  forward();
  stream.synchronize();
  const auto before = y.download().bytes;
  const auto write = [&](DeviceMatrix<T>& target, DeviceMatrix<T>& source) {
    const auto to = target.view();
    late_write_kernel<<<16, 256, 0, stream>>>(to.data, source.view().data, to.rows * to.row_stride);
    succeed(cudaGetLastError());
  };
  y.poison();
  stream.synchronize();
  write(problem.x, fresh.x);
  write(problem.weight, fresh.weight);
  head.update(stream);
  head.forward(problem.x.view(), y.view(), {.workspace = workspace.view()}, stream);
  stream.synchronize();
  const auto late = y.download().bytes;
  forward();
  stream.synchronize();
  CHECK(late == y.download().bytes);
  CHECK(late != before);
  CHECK(workspace.intact());
}

/// An error the caller has pending neither fails a call nor vanishes in it.
template <Precision precision>
void test_pending_error() {
  using T = ElementOf<precision>;
  if (small_sizes()) return skip("a CUDA call that fails on purpose: compute-sanitizer would report it");
  const HeadCase c{.shape = {33, 40, 70}, .seed = 16};
  DeviceProblem<T> problem(c);
  const Stream stream;
  const Head<precision> head(problem.parameters(), stream);
  Findings findings;
  const auto expected = forward<T>(head, problem.x.view(), 70, Mode::eval, stream, findings);
  DeviceMatrix<T> y(33, 70), y_training(33, 70);
  void* none = nullptr;
  const cudaError_t pending = cudaMalloc(&none, std::size_t{1} << 60);
  REQUIRE(pending == cudaErrorMemoryAllocation);
  REQUIRE(cudaPeekAtLastError() == pending);
  CHECK_NOTHROW(head.forward(problem.x.view(), y.view(), stream));
  CHECK_NOTHROW(head.forward_training(problem.x.view(), y_training.view(), {}, stream));
  CHECK(cudaGetLastError() == pending);
  CHECK(cudaPeekAtLastError() == cudaSuccess);
  CHECK(y.download().bytes == expected.bytes);
  CHECK_FALSE(y_training.download().untouched());
}

/// More than 2^31 outputs: rows repeat, so each must have the bits it has in a small batch.
template <Precision precision>
void test_beyond_2_31() {
  using T = ElementOf<precision>;
  if (small_sizes()) return skip("more than 2^31 outputs: not under MASTHEAD_TEST_SMALL");
  const std::int64_t features = 1024, k = 8, period = 1000, batch = (std::int64_t{1} << 31) / features + 5;
  const HeadCase c{.shape = {period, k, features}, .seed = 17};
  DeviceProblem<T> problem(c);
  const Stream stream;
  const Head<precision> head(problem.parameters(), stream);
  std::size_t free = 0, total = 0;
  succeed(cudaMemGetInfo(&free, &total));
  const std::int64_t x_bytes = batch * k * static_cast<std::int64_t>(sizeof(T)),
                     y_bytes = batch * features * static_cast<std::int64_t>(sizeof(T)),
                     workspace_bytes = head.workspace_bytes(batch);
  if (static_cast<std::int64_t>(free) < x_bytes + y_bytes + workspace_bytes + (std::int64_t{1} << 28)) {
    return skip("more than 2^31 outputs: the device is short of memory");
  }
  Findings findings;
  const masthead::Matrix<const T> x = problem.x.view();
  const auto expected = forward<T>(head, x, features, Mode::eval, stream, findings);
  const DeviceBytes many_x(at(x_bytes)), y(at(y_bytes) + 256), workspace(at(workspace_bytes) + 256);
  const std::size_t block = at(period * k) * sizeof(T);
  for (std::size_t done = 0; done < at(x_bytes); done += block) {
    succeed(cudaMemcpyAsync(many_x.data() + done, x.data, std::min(block, at(x_bytes) - done),
                            cudaMemcpyDeviceToDevice, stream));
  }
  succeed(cudaMemsetAsync(y.data(), 0xff, y.size(), stream));
  head.forward(masthead::Matrix<const T>(reinterpret_cast<const T*>(many_x.data()), batch, k),
               masthead::Matrix<T>(reinterpret_cast<T*>(y.data()), batch, features),
               {.workspace = masthead::Workspace{workspace.data(), workspace_bytes}}, stream);
  stream.synchronize();
  const std::size_t row_bytes = at(features) * sizeof(T);
  std::vector<unsigned char> row(row_bytes);
  for (const std::int64_t m : {std::int64_t{0}, std::int64_t{999}, batch / 2, batch - 7, batch - 6, batch - 5,
                               batch - 2, batch - 1}) {
    CAPTURE(m);
    succeed(cudaMemcpy(row.data(), y.data() + at(m) * row_bytes, row_bytes, cudaMemcpyDeviceToHost));
    CHECK(row == expected.row_bytes(m % period));
  }
  std::vector<unsigned char> end(256);
  succeed(cudaMemcpy(end.data(), y.data() + y_bytes, end.size(), cudaMemcpyDeviceToHost));
  CHECK(end == std::vector<unsigned char>(256, 0xff));
  for (const Finding& f : findings) CHECK_MESSAGE(f.good, f.text);
}

}  // namespace test

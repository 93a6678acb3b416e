#include <cmath>
#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

#include "../support/device_problem.cuh"
#include "masthead/fold_batch_norm.cuh"
#include "masthead/scale_softmax.cuh"

using namespace masthead;
using test::at;
using test::DeviceMatrix;
using test::DeviceVector;
using test::DeviceWorkspace;
using test::Stream;

/// A policy type of a user's with a float template argument.
template <float>
struct WithFloat : SoftmaxPolicy<128, 16> {};

namespace {

constexpr std::int64_t huge = std::int64_t{1} << 62;

std::string address_of(const void* pointer) {
  std::ostringstream out;
  out << pointer;
  return out.str();
}

/// The call throws Error, which names the argument and the value, and whose rule contains a phrase.
template <class Call>
void refused(const Call& call, const std::string& argument, const std::string& value,
             const std::string& rule) {
  CAPTURE(argument);
  CAPTURE(value);
  try {
    call();
  } catch (const Error& error) {
    CHECK(error.argument() == argument);
    CHECK(error.value() == value);
    CHECK_MESSAGE(error.rule().find(rule) != std::string::npos, error.rule());
    CHECK(error.what() == "masthead: " + error.argument() + " = " + error.value() + ": " + error.rule());
    return;
  }
  FAIL_CHECK("was not refused");
}

template <class T>
T* off_by_a_byte(T* pointer) {
  return reinterpret_cast<T*>(reinterpret_cast<std::uintptr_t>(pointer) + 1);
}

const char pageable[] = "must be device memory, is pageable host memory";

/// A head of 4 x 5 -> 6 with all it needs, and everything it could write to.
template <Precision precision>
struct Fixture {
  using T = typename Head<precision>::Element;
  test::HeadCase c{.shape = {4, 5, 6}};
  test::DeviceProblem<T> problem{c};
  Stream stream;
  Head<precision> head{problem.parameters(), stream};
  DeviceMatrix<T> y{4, 6};
  test::DeviceRunning running{test::running_start(6, Dtype::f32), Dtype::f32};
  DeviceWorkspace workspace{head.workspace_bytes(4, {.mode = Mode::training})};
  std::vector<T> host = std::vector<T>(100);

  Matrix<const T> x() { return problem.x.view(); }
  void untouched() {
    CHECK(y.download().untouched());
    CHECK(running.mean.untouched());
    CHECK(running.var.untouched());
    CHECK(running.tracked.untouched());
    CHECK(cudaGetLastError() == cudaSuccess);
  }
};

}  // namespace

TEST_SUITE("device errors") {
  TEST_CASE("parameters are checked by the constructor") {
    Fixture<Precision::fp32> f;
    const auto with = [&](const auto& change) {
      return [&f, change] {
        Parameters<float> parameters = f.problem.parameters();
        change(parameters);
        Head<Precision::fp32>(parameters, f.stream);
      };
    };
    using P = Parameters<float>;
    refused(with([](P& p) { p.weight.data = nullptr; }), "weight.data", "null", "must point to the elements");
    refused(with([](P& p) { p.weight.rows = 0; }), "weight.rows", "0", "at least 1");
    refused(with([](P& p) { p.weight.columns = -1; }), "weight.columns", "-1", "at least 1");
    refused(with([](P& p) { p.weight.row_stride = 4; }), "weight.row_stride", "4", "number of columns, 5");
    refused(with([](P& p) {
              p.weight = {p.weight.data, huge, 5};
            }),
            "weight.rows * row_stride", std::to_string(huge) + " * 5", "must fit in 63 bits");
    const float* const odd = off_by_a_byte(f.problem.parameters().weight.data);
    refused(with([odd](P& p) { p.weight.data = odd; }), "weight.data", address_of(odd),
            "aligned to its element size of 4 bytes");
    refused(with([](P& p) { p.bias.size = 5; }), "bias.size", "5", "must be 6");
    refused(with([](P& p) { p.gamma.size = 7; }), "gamma.size", "7", "must be 6");
    refused(with([](P& p) { p.beta.data = nullptr; }), "beta.data", "null", "must point to the elements");
    refused(with([](P& p) { p.running_mean.size = 1; }), "running_mean.size", "1", "must be 6");
    refused(with([](P& p) { p.running_var.size = -6; }), "running_var.size", "-6", "must be 6");
    refused(with([](P& p) { p.scale.size = 3; }), "scale.size", "3", "must be 1 or 6");
    refused(with([](P& p) { p.epsilon = -1; }), "epsilon", "-1.000000", "at least 0");
    refused(with([](P& p) { p.epsilon = NAN; }), "epsilon", "nan", "at least 0");
    const void* const host = f.host.data();
    refused(with([host](P& p) { p.weight.data = static_cast<const float*>(host); }), "weight.data",
            address_of(host), pageable);
    const auto vector_on_host = [&](const std::string& name, auto member) {
      refused(with([host, member](P& p) { (p.*member).data = host; }), name + ".data", address_of(host),
              pageable);
    };
    vector_on_host("bias", &P::bias);
    vector_on_host("gamma", &P::gamma);
    vector_on_host("beta", &P::beta);
    vector_on_host("running_mean", &P::running_mean);
    vector_on_host("running_var", &P::running_var);
    vector_on_host("scale", &P::scale);
    f.untouched();
  }

  TEST_CASE_TEMPLATE("x, y and their shapes", P, std::integral_constant<Precision, Precision::fp32>,
                     std::integral_constant<Precision, Precision::bf16>) {
    using F = Fixture<P::value>;
    using T = typename F::T;
    F f;
    const Matrix<const T> x = f.x();
    const Matrix<T> y = f.y.view();
    // Every overload checks the same.
    const auto all_refused = [&](const Matrix<const T>& bad_x, const Matrix<T>& bad_y,
                                 const std::string& argument, const std::string& value,
                                 const std::string& rule) {
      const RunningStatistics running = f.running.view(0.1);
      refused([&] { f.head.forward(bad_x, bad_y, {.workspace = f.workspace.view()}, f.stream); }, argument,
              value, rule);
      refused([&] { f.head.forward(bad_x, bad_y, f.stream); }, argument, value, rule);
      refused(
          [&] {
            f.head.forward_training(bad_x, bad_y, {.workspace = f.workspace.view(), .running = running},
                                    f.stream);
          },
          argument, value, rule);
      refused([&] { f.head.forward_training(bad_x, bad_y, {.running = running}, f.stream); }, argument, value,
              rule);
    };
    all_refused({nullptr, 4, 5}, y, "x.data", "null", "must point to the elements");
    all_refused({x.data, 0, 5}, y, "x.rows", "0", "at least 1");
    all_refused({x.data, -3, 5}, y, "x.rows", "-3", "at least 1");
    all_refused({x.data, 4, 0}, y, "x.columns", "0", "at least 1");
    all_refused({x.data, 4, 5, 4}, y, "x.row_stride", "4", "number of columns, 5");
    all_refused({x.data, 4, 5, -5}, y, "x.row_stride", "-5", "number of columns, 5");
    all_refused({x.data, huge, 5}, y, "x.rows * row_stride", std::to_string(huge) + " * 5", "63 bits");
    all_refused({x.data, 4, 4}, y, "x.columns", "4", "must equal weight.columns, 5");
    const T* const odd_x = off_by_a_byte(x.data);
    all_refused({odd_x, 4, 5}, y, "x.data", address_of(odd_x), "aligned to its element size");
    const T* const host_x = f.host.data();
    all_refused({host_x, 4, 5}, y, "x.data", address_of(host_x), pageable);
    all_refused(x, {nullptr, 4, 6}, "y.data", "null", "must point to the elements");
    all_refused(x, {y.data, 4, 6, 5}, "y.row_stride", "5", "number of columns, 6");
    all_refused(x, {y.data, 4, 6, huge}, "y.rows * row_stride", "4 * " + std::to_string(huge), "63 bits");
    all_refused(x, {y.data, 3, 6}, "y.shape", "(3, 6)", "must be (x.rows, weight.rows), (4, 6)");
    all_refused(x, {y.data, 4, 5}, "y.shape", "(4, 5)", "(4, 6)");
    T* const odd_y = off_by_a_byte(y.data);
    all_refused(x, {odd_y, 4, 6}, "y.data", address_of(odd_y), "aligned to its element size");
    T* const host_y = f.host.data();
    all_refused(x, {host_y, 4, 6}, "y.data", address_of(host_y), pageable);
    T* const in_x = const_cast<T*>(x.data) + 19;
    all_refused(x, {in_x, 4, 6}, "y.data", address_of(in_x), "must not overlap x");
    T* const in_weight = const_cast<T*>(f.problem.parameters().weight.data) + 29;
    all_refused(x, {in_weight, 4, 6}, "y.data", address_of(in_weight), "must not overlap weight");
    f.untouched();
  }

  TEST_CASE("eval mode needs running statistics, training mode more than one row") {
    Fixture<Precision::fp32> f;
    Parameters<float> parameters = f.problem.parameters();
    parameters.running_mean = {};
    const Head<Precision::fp32> without_mean(parameters, f.stream);
    const char missing[] =
        "must point to the elements: eval mode and fold_batch_norm normalize with running_mean and "
        "running_var; "
        "only training mode does without";
    refused([&] { without_mean.forward(f.x(), f.y.view(), f.stream); }, "running_mean.data", "null", missing);
    parameters = f.problem.parameters();
    parameters.running_var = {};
    const Head<Precision::fp32> without_var(parameters, f.stream);
    refused([&] { without_var.forward(f.x(), f.y.view(), f.stream); }, "running_var.data", "null", missing);
    refused(
        [&] {
          f.head.forward_training({f.x().data, 1, 5}, Matrix<float>(f.y.view().data, 1, 6),
                                  {.running = f.running.view(0.1)}, f.stream);
        },
        "x.rows", "1", "training mode needs more than 1 value per feature");
    f.untouched();
    // Without either, a Head trains, to the bits of one that has them.
    parameters.running_mean = parameters.running_var = {};
    const Head<Precision::fp32> without(parameters, f.stream);
    refused([&] { without.forward(f.x(), f.y.view(), f.stream); }, "running_mean.data", "null", missing);
    DeviceMatrix<float> y(4, 6);
    without.forward_training(f.x(), f.y.view(), {}, f.stream);
    f.head.forward_training(f.x(), y.view(), {}, f.stream);
    CHECK(f.y.download().bytes == y.download().bytes);
    CHECK_FALSE(y.download().untouched());
  }

  TEST_CASE("a transposed weight is told by its shape") {
    Fixture<Precision::fp32> f;
    Parameters<float> parameters = f.problem.parameters();
    parameters.weight = {parameters.weight.data, 5, 6};
    refused([&] { Head<Precision::fp32>(parameters, f.stream); }, "weight.shape", "(5, 6)",
            "must be (out_features, in_features): ");
    const Head<Precision::fp32> head({.weight = parameters.weight}, f.stream);
    refused([&] { head.forward_training(f.x(), f.y.view(), {}, f.stream); }, "weight.shape", "(5, 6)",
            "x has 5 columns and y 6, so it seems transposed");
    f.untouched();
  }

  TEST_CASE_TEMPLATE("what is written overlaps nothing else", P,
                     std::integral_constant<Precision, Precision::fp32>,
                     std::integral_constant<Precision, Precision::bf16>) {
    using F = Fixture<P::value>;
    using T = typename F::T;
    F f;
    const Matrix<const T> x = f.x();
    const Matrix<T> y = f.y.view();
    Parameters<T> parameters = f.problem.parameters();
    // y over every vector, in both modes.
    const auto y_over = [&](auto member, const std::string& name) {
      Parameters<T> bad = parameters;
      (bad.*member).data = y.data;
      (bad.*member).dtype = dtype_of<T>;
      (bad.*member).size = 6;
      const Head<P::value> head(bad, f.stream);
      refused([&] { head.forward(x, y, f.stream); }, "y.data", address_of(y.data),
              "must not overlap " + name);
      refused([&] { head.forward_training(x, y, {.running = f.running.view(0.1)}, f.stream); }, "y.data",
              address_of(y.data), "must not overlap " + name);
    };
    y_over(&Parameters<T>::bias, "bias");
    y_over(&Parameters<T>::gamma, "gamma");
    y_over(&Parameters<T>::beta, "beta");
    y_over(&Parameters<T>::running_mean, "running_mean");
    y_over(&Parameters<T>::running_var, "running_var");
    y_over(&Parameters<T>::scale, "scale");
    // Running statistics over the weight, x and y.
    const auto running_over = [&](const T* data, const std::string& name) {
      RunningStatistics bad = f.running.view(0.1);
      bad.mean = {const_cast<T*>(data), 6};
      refused([&] { f.head.forward_training(x, y, {.running = bad}, f.stream); }, "running.mean.data",
              address_of(data), "must not overlap " + name);
      bad = f.running.view(0.1);
      bad.var = {const_cast<T*>(data), 6};
      refused([&] { f.head.forward_training(x, y, {.running = bad}, f.stream); }, "running.var.data",
              address_of(data), "must not overlap " + name);
    };
    running_over(parameters.weight.data, "weight");
    running_over(x.data, "x");
    running_over(y.data, "y");
    // A workspace in which y, x, the weight or the statistics lie.
    const std::int64_t needed = f.head.workspace_bytes(4, {.mode = Mode::training});
    const test::DeviceBytes memory(at(needed) + 4096);
    auto* const inside = reinterpret_cast<T*>(memory.data() + 256);
    const Workspace workspace{memory.data(), needed + 4096};
    const auto workspace_refused = [&](const auto& call, const std::string& name) {
      refused(call, "workspace.data", address_of(workspace.data), "must not overlap " + name);
    };
    workspace_refused([&] { f.head.forward(x, Matrix<T>(inside, 4, 6), {.workspace = workspace}, f.stream); },
                      "y");
    workspace_refused([&] { f.head.forward({inside, 4, 5}, y, {.workspace = workspace}, f.stream); }, "x");
    workspace_refused(
        [&] {
          RunningStatistics in_workspace = f.running.view(0.1);
          in_workspace.var = {inside, 6};
          f.head.forward_training(x, y, {.workspace = workspace, .running = in_workspace}, f.stream);
        },
        "running.var");
    f.untouched();
  }

  // nvcc 13.0.88 spells the argument with six digits in host code, so that the kernel of this policy is not
  // there.
  TEST_CASE("a policy with a float argument runs, or the error says why not") {
    if (test::small_sizes()) {
      return test::skip("a CUDA call that may fail: compute-sanitizer would report it");
    }
    DeviceMatrix<float> x(3, 100), y(3, 100);
    x.set(std::vector<double>(300, 1));
    const Stream stream;
    try {
      scale_softmax<WithFloat<0.123456789f>>(x.view(), {}, y.view(), Output::softmax, stream);
      for (const double p : y.download().values()) CHECK(std::abs(p - 0.01) < 1e-7);
    } catch (const Error& error) {
      // CUDA 13.0 calls a kernel that is not registered an invalid resource.
      CHECK((error.cuda_error() == cudaErrorInvalidDeviceFunction ||
             error.cuda_error() == cudaErrorInvalidResourceHandle));
      CHECK(error.value() == cudaGetErrorName(static_cast<cudaError_t>(error.cuda_error())));
      CHECK_MESSAGE(error.rule().find("float template argument") != std::string::npos, error.rule());
      CHECK(y.download().untouched());
      cudaGetLastError();
    }
  }

  TEST_CASE("running statistics") {
    Fixture<Precision::fp32> f;
    const auto with = [&](const auto& change) {
      return [&f, change] {
        RunningStatistics running = f.running.view(0.1);
        change(running);
        f.head.forward_training(f.x(), f.y.view(), {.workspace = f.workspace.view(), .running = running},
                                f.stream);
      };
    };
    using R = RunningStatistics;
    refused(with([](R& r) { r.momentum = 2; }), "running.momentum", "2.000000", "must be in [0, 1]");
    refused(with([](R& r) { r.momentum = -0.5; }), "running.momentum", "-0.500000", "must be in [0, 1]");
    refused(with([](R& r) { r.var = {}; }), "running.mean, running.var", "only mean", "together");
    refused(with([](R& r) { r.mean = {}; }), "running.mean, running.var", "only var", "together");
    refused(with([](R& r) { r.mean.size = 5; }), "running.mean.size", "5", "must be 6");
    refused(with([](R& r) { r.var.size = 1; }), "running.var.size", "1", "must be 6");
    refused(with([](R& r) { r.momentum = std::nullopt, r.batches_tracked = nullptr; }),
            "running.batches_tracked", "null", "a cumulative average");
    void* const host = f.host.data();
    refused(with([host](R& r) { r.mean.data = host; }), "running.mean.data", address_of(host), pageable);
    refused(with([host](R& r) { r.var.data = host; }), "running.var.data", address_of(host), pageable);
    refused(with([host](R& r) { r.batches_tracked = static_cast<std::int64_t*>(host); }),
            "running.batches_tracked.data", address_of(host), pageable);
    f.untouched();
  }

  TEST_CASE("the workspace: too small, null, off alignment, on the host") {
    Fixture<Precision::bf16> f;
    // K = 5 and y in 16 bit: logits must be kept somewhere, in both modes.
    const auto both_refused = [&](const auto& change, const std::string& argument, const auto& value,
                                  const std::string& rule) {
      for (const Mode mode : {Mode::eval, Mode::training}) {
        const std::int64_t needed = f.head.workspace_bytes(f.x(), {.mode = mode});
        REQUIRE(needed > 0);
        REQUIRE(needed <= f.head.workspace_bytes(4, {.mode = mode}));
        Workspace workspace{f.workspace.view().data, needed};
        change(workspace);
        refused(
            [&] {
              if (mode == Mode::eval) {
                f.head.forward(f.x(), f.y.view(), {.workspace = workspace}, f.stream);
              } else {
                f.head.forward_training(f.x(), f.y.view(),
                                        {.workspace = workspace, .running = f.running.view(0.1)}, f.stream);
              }
            },
            argument, value(workspace), rule);
      }
    };
    const auto bytes = [](const Workspace& w) { return std::to_string(w.bytes); };
    const auto pointer = [](const Workspace& w) { return address_of(w.data); };
    both_refused([](Workspace& w) { --w.bytes; }, "workspace.bytes", bytes, "must be at least ");
    both_refused([](Workspace& w) { w.bytes = 0; }, "workspace.bytes", bytes, "must be at least ");
    both_refused([](Workspace& w) { w.bytes = -1; }, "workspace.bytes", bytes, "must be at least ");
    both_refused([](Workspace& w) { w.data = nullptr; }, "workspace.data",
                 [](const Workspace&) { return std::string("null"); }, "must point to workspace.bytes");
    both_refused([](Workspace& w) { w.data = static_cast<char*>(w.data) + 128; }, "workspace.data", pointer,
                 "aligned to 256 bytes");
    static std::vector<unsigned char> host(1 << 16);
    both_refused(
        [](Workspace& w) {
          w.data = reinterpret_cast<void*>((reinterpret_cast<std::uintptr_t>(host.data()) + 255) / 256 * 256);
        },
        "workspace.data", pointer, pageable);
    refused([&] { f.head.workspace_bytes(INT64_MAX / 4, {.mode = Mode::training}); }, "workspace",
            std::to_string(INT64_MAX / 4) + " * 6", "must fit in 63 bits");
    CHECK(f.workspace.intact());
    f.untouched();
  }

  TEST_CASE("a workspace beyond 63 bits is refused, with what comes behind the partials and rounded up") {
    const PolicySpec policy = detail::shipped_wgmma(MathMode::plain, Dtype::bf16).m128;
    const std::int64_t batch = detail::most_rows_at_once, parts = (std::int64_t{1} << 36) - 1;
    // 2^63 - 2^27 bytes of partials, which fit, before what the overlapped normalization needs.
    for (const std::int64_t out_features : {parts * 256, parts * 256 + 1}) {
      refused(
          [&] {
            detail::plan_workspace(
                policy, {.batch = batch, .in_features = 1, .out_features = out_features, .y = Dtype::bf16});
          },
          "workspace", std::to_string(batch) + " * " + std::to_string(out_features), "63 bits");
    }
  }

  TEST_CASE("a Head without log-softmax refuses it") {
    Fixture<Precision::fp32> f;
    const Head<Precision::fp32, HeadParts{.log_softmax = false}> head(f.problem.parameters(), f.stream);
    const RunningStatistics running = f.running.view(0.1);
    constexpr Output log = Output::log_softmax;
    const auto log_refused = [](const auto& call) {
      refused(call, "output", "log_softmax", "must be softmax for a Head without HeadParts::log_softmax");
    };
    log_refused([&] { head.forward(f.x(), f.y.view(), {.output = log}, f.stream); });
    log_refused(
        [&] { head.forward(f.x(), f.y.view(), {.output = log, .workspace = f.workspace.view()}, f.stream); });
    log_refused(
        [&] { head.forward_training(f.x(), f.y.view(), {.output = log, .running = running}, f.stream); });
    log_refused([&] {
      head.forward_training(f.x(), f.y.view(),
                            {.output = log, .workspace = f.workspace.view(), .running = running}, f.stream);
    });
    f.untouched();
  }

  TEST_CASE_TEMPLATE("a Head without SIMT refuses what TMA cannot read, and other GPUs", P,
                     std::integral_constant<Precision, Precision::bf16>,
                     std::integral_constant<Precision, Precision::fp16>,
                     std::integral_constant<Precision, Precision::tf32>) {
    using WithoutSimt = Head<P::value, HeadParts{.simt = false}>;
    using T = typename WithoutSimt::Element;
    constexpr std::int64_t unit = 16 / static_cast<std::int64_t>(sizeof(T)), columns = 2 * unit;
    test::DeviceProblem<T> problem(test::HeadCase{.shape = {4, columns, 6}});
    const Stream stream;
    const int architecture = detail::Device::current(stream).limits.architecture;
    if (architecture != 90) {
      refused([&] { WithoutSimt(problem.parameters(), stream); }, "device.architecture",
              "sm_" + std::to_string(architecture), "must be sm_90");
      return;
    }
    const WithoutSimt head(problem.parameters(), stream);
    CHECK(head.policy(4).engine != Engine::simt);
    const std::string multiple = "must be a multiple of " + std::to_string(unit);

    using Rows = Matrix<const T>;
    const auto weight_refused = [&](const auto& change, const std::string& argument, const std::string& value,
                                    const std::string& rule) {
      Parameters<T> parameters = problem.parameters();
      change(parameters.weight);
      refused([&] { WithoutSimt(parameters, stream); }, argument, value, rule);
    };
    const T* const weight = problem.parameters().weight.data + 1;
    weight_refused([&](Rows& w) { w.data = weight; }, "weight.data", address_of(weight), "16 bytes for TMA");
    weight_refused([](Rows& w) { w.columns = unit + 1; }, "weight.columns", std::to_string(unit + 1),
                   multiple);
    weight_refused([](Rows& w) { w.row_stride = columns + 1; }, "weight.row_stride",
                   std::to_string(columns + 1), multiple);

    DeviceMatrix<T> y(3, 6);
    test::DeviceRunning running{test::running_start(6, Dtype::f32), Dtype::f32};
    const DeviceWorkspace workspace(head.workspace_bytes(3, {.mode = Mode::training}));
    const auto x_refused = [&](const Rows& x, const std::string& argument, const std::string& value,
                               const std::string& rule) {
      const RunningStatistics statistics = running.view(0.1);
      refused([&] { head.forward(x, y.view(), {.workspace = workspace.view()}, stream); }, argument, value,
              rule);
      refused([&] { head.forward(x, y.view(), stream); }, argument, value, rule);
      refused(
          [&] {
            head.forward_training(x, y.view(), {.workspace = workspace.view(), .running = statistics},
                                  stream);
          },
          argument, value, rule);
      refused([&] { head.forward_training(x, y.view(), {.running = statistics}, stream); }, argument, value,
              rule);
    };
    const T* const x = problem.x.view().data;
    x_refused({x + 1, 3, columns}, "x.data", address_of(x + 1), "16 bytes for TMA");
    x_refused({x, 3, columns, columns + 1}, "x.row_stride", std::to_string(columns + 1), multiple);
    CHECK(y.download().untouched());
    CHECK(running.mean.untouched());
    CHECK(running.var.untouched());
    CHECK(running.tracked.untouched());
    CHECK(workspace.intact());
    CHECK(cudaGetLastError() == cudaSuccess);
  }

  TEST_CASE("a stream-ordered allocation that fails leaves y untouched") {
    if (test::small_sizes()) {
      return test::skip("a CUDA call that fails on purpose: compute-sanitizer would report it");
    }
    // Terabytes of logits from megabytes of arguments: K is 1. y is a view that nothing may follow, so it
    // comes last in its allocation.
    const std::int64_t n = std::int64_t{1} << 20;
    const test::DeviceBytes memory(at(12 * n) + 4096);
    test::succeed(cudaMemset(memory.data(), 0xff, memory.size()));
    unsigned char* const base = memory.data();
    const auto* const x = reinterpret_cast<const __half*>(base);
    const Matrix<__half> y(reinterpret_cast<__half*>(base + 12 * n), n, n);
    const Parameters<__half> parameters{.weight = {x + n, n, 1},
                                        .running_mean = {base + 4 * n, Dtype::f32, n},
                                        .running_var = {base + 8 * n, Dtype::f32, n}};
    const Stream stream;
    const Head<Precision::fp16> head(parameters, stream);
    for (const Mode mode : {Mode::eval, Mode::training}) {
      CAPTURE(name(mode));
      const std::int64_t bytes = head.workspace_bytes({x, n, 1}, {.mode = mode});
      REQUIRE(bytes > std::int64_t{1} << 40);
      REQUIRE(bytes <= head.workspace_bytes(n, {.mode = mode}));
      refused(
          [&] {
            if (mode == Mode::eval) {
              head.forward({x, n, 1}, y, stream);
            } else {
              head.forward_training({x, n, 1}, y, {}, stream);
            }
          },
          "cudaMallocAsync(" + std::to_string(bytes) + " bytes)", "cudaErrorMemoryAllocation", "memory");
      cudaGetLastError();  // the runtime's own record of the failed allocation
    }
    std::vector<unsigned char> bytes(memory.size());
    memory.download(bytes);
    CHECK(bytes == std::vector<unsigned char>(memory.size(), 0xff));
  }

  TEST_CASE("scale_softmax") {
    DeviceMatrix<float> x(3, 4), y(3, 4);
    x.set(std::vector<double>(12, 1));
    const DeviceVector scale(std::vector<double>(12, 2), Dtype::f32);
    const Stream stream;
    std::vector<float> host(12);
    const Matrix<const float> good_x = x.view();
    const Matrix<float> good_y = y.view();
    const auto softmax_refused = [&](const Matrix<const float>& bad_x, const ConstVector& bad_scale,
                                     const Matrix<float>& bad_y, const std::string& argument,
                                     const std::string& value, const std::string& rule) {
      refused([&] { scale_softmax(bad_x, bad_scale, bad_y, stream); }, argument, value, rule);
      refused(
          [&] { scale_softmax<SoftmaxPolicy<128, 16>>(bad_x, bad_scale, bad_y, Output::softmax, stream); },
          argument, value, rule);
    };
    softmax_refused({nullptr, 3, 4}, {}, good_y, "x.data", "null", "must point to the elements");
    softmax_refused({good_x.data, 0, 4}, {}, good_y, "x.rows", "0", "at least 1");
    softmax_refused({good_x.data, 3, -4}, {}, good_y, "x.columns", "-4", "at least 1");
    softmax_refused({good_x.data, 3, 4, 3}, {}, good_y, "x.row_stride", "3", "number of columns, 4");
    softmax_refused({good_x.data, huge, 4}, {}, good_y, "x.rows * row_stride", std::to_string(huge) + " * 4",
                    "63 bits");
    const float* const odd = off_by_a_byte(good_x.data);
    softmax_refused({odd, 3, 4}, {}, good_y, "x.data", address_of(odd), "aligned to its element size of 4");
    softmax_refused({host.data(), 3, 4}, {}, good_y, "x.data", address_of(host.data()), pageable);
    softmax_refused(good_x, {scale.view().data, Dtype::f32, 3}, good_y, "scale.size", "3", "must be 1 or 4");
    softmax_refused(good_x, {nullptr, Dtype::f32, 4}, good_y, "scale.data", "null",
                    "must point to the elements");
    softmax_refused(good_x, {host.data(), 4}, good_y, "scale.data", address_of(host.data()), pageable);
    softmax_refused(good_x, {}, {nullptr, 3, 4}, "y.data", "null", "must point to the elements");
    softmax_refused(good_x, {}, {good_y.data, 4, 3}, "y.shape", "(4, 3)", "must be that of x, (3, 4)");
    softmax_refused(good_x, {}, {good_y.data, 3, 4, 3}, "y.row_stride", "3", "number of columns, 4");
    softmax_refused(good_x, {}, {host.data(), 3, 4}, "y.data", address_of(host.data()), pageable);
    float* const inside = x.view().data + 1;
    softmax_refused(good_x, {}, {inside, 3, 4}, "y.data", address_of(inside), "must be x itself");
    softmax_refused(good_x, {}, {x.view().data, 3, 4, 5}, "y.data", address_of(x.view().data),
                    "must be x itself");
    softmax_refused(good_x, {good_y.data + 11, 1}, good_y, "y.data", address_of(good_y.data),
                    "must not overlap scale");
    softmax_refused(good_x, {good_x.data, 4}, {x.view().data, 3, 4}, "y.data", address_of(good_x.data),
                    "must not overlap scale");
    CHECK(y.download().untouched());
    CHECK(x.download().values() == std::vector<double>(12, 1));
    CHECK(cudaGetLastError() == cudaSuccess);
  }

  TEST_CASE("fold_batch_norm") {
    Fixture<Precision::fp32> f;
    DeviceMatrix<float> weight(6, 5), bias(1, 6);
    const Matrix<float> w = weight.view();
    const MutableVector b(bias.view().data, 6);
    const auto fold_refused = [&](const Matrix<float>& bad_weight, const MutableVector& bad_bias,
                                  const std::string& argument, const std::string& value,
                                  const std::string& rule) {
      refused([&] { fold_batch_norm(f.problem.parameters(), bad_weight, bad_bias, f.stream); }, argument,
              value, rule);
    };
    fold_refused({nullptr, 6, 5}, b, "folded weight.data", "null", "must point to the elements");
    fold_refused({w.data, 5, 6}, b, "folded weight.shape", "(5, 6)", "must be that of weight, (6, 5)");
    fold_refused({w.data, 0, 5}, b, "folded weight.rows", "0", "at least 1");
    fold_refused({w.data, 6, 5, 4}, b, "folded weight.row_stride", "4", "number of columns, 5");
    fold_refused({f.host.data(), 6, 5}, b, "folded weight.data", address_of(f.host.data()), pageable);
    fold_refused(w, {}, "folded bias.data", "null", "must point to the elements");
    fold_refused(w, {b.data, Dtype::f32, 5}, "folded bias.size", "5", "must be 6");
    fold_refused(w, {f.host.data(), 6}, "folded bias.data", address_of(f.host.data()), pageable);
    Parameters<float> parameters = f.problem.parameters();
    parameters.running_var = {};
    refused([&] { fold_batch_norm(parameters, w, b, f.stream); }, "running_var.data", "null",
            "must point to the elements");
    fold_refused({w.data, 6, 5}, {w.data + 3, 6}, "folded bias.data", address_of(w.data + 3),
                 "must not overlap folded weight");
    parameters = f.problem.parameters();
    parameters.gamma = {w.data + 7, 6};
    refused([&] { fold_batch_norm(parameters, w, b, f.stream); }, "folded weight.data", address_of(w.data),
            "must not overlap gamma");
    parameters = f.problem.parameters();
    parameters.scale.size = 2;
    refused([&] { fold_batch_norm(parameters, w, b, f.stream); }, "scale.size", "2", "must be 1 or 6");
    parameters = f.problem.parameters();
    parameters.gamma.data = f.host.data();
    refused([&] { fold_batch_norm(parameters, w, b, f.stream); }, "gamma.data", address_of(f.host.data()),
            pageable);
    CHECK(weight.download().untouched());
    CHECK(bias.download().untouched());
    CHECK(cudaGetLastError() == cudaSuccess);
  }

  TEST_CASE("memory of another device") {
    int devices = 0;
    test::succeed(cudaGetDeviceCount(&devices));
    if (devices < 2) return test::skip("memory of another device: there is only one GPU");
    Fixture<Precision::fp32> f;
    test::succeed(cudaSetDevice(1));
    const test::DeviceBytes other(4096);
    test::succeed(cudaSetDevice(0));
    auto* const there = reinterpret_cast<float*>(other.data());
    const char rule[] = "must be memory of the current device, 0";
    refused(
        [&] {
          f.head.forward({there, 4, 5}, f.y.view(), f.stream);
        },
        "x.data", "memory of device 1", rule);
    refused([&] { f.head.forward(f.x(), Matrix<float>(there, 4, 6), f.stream); }, "y.data",
            "memory of device 1", rule);
    Parameters<float> parameters = f.problem.parameters();
    parameters.weight.data = there;
    refused([&] { Head<Precision::fp32>(parameters, f.stream); }, "weight.data", "memory of device 1", rule);
    refused([&] { scale_softmax(Matrix<const float>(there, 3, 4), {}, f.y.view(), f.stream); }, "y.shape",
            "(4, 6)", "must be that of x, (3, 4)");
    refused([&] { scale_softmax(Matrix<const float>(there, 4, 6), {}, f.y.view(), f.stream); }, "x.data",
            "memory of device 1", rule);
    f.untouched();
  }
}

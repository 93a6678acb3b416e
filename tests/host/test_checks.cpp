#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include "masthead/core/checks.hpp"

using namespace masthead;
using namespace masthead::detail;

namespace {

alignas(256) float memory[4096];
alignas(256) unsigned char bytes[512];
std::int64_t tracked = 0;

constexpr std::int64_t huge = std::int64_t{1} << 62;

/// x (4, 3), weight (5, 3), y (4, 5) and all vectors, each in memory of its own.
HeadArguments<float, float> good() {
  return {.x = {memory, 4, 3},
          .parameters = {.weight = {memory + 100, 5, 3},
                         .bias = {memory + 200, 5},
                         .gamma = {memory + 210, 5},
                         .beta = {memory + 220, 5},
                         .running_mean = {memory + 230, 5},
                         .running_var = {memory + 240, 5},
                         .scale = {memory + 250, 1}},
          .y = {memory + 300, 4, 5}};
}

RunningStatistics good_running() {
  return {.mean = {memory, 5}, .var = {memory + 10, 5}, .batches_tracked = &tracked};
}

/// The reason is there, names the argument and the value, and its rule contains a phrase.
void refused(const Reason& reason, const std::string& argument, const std::string& value,
             const std::string& rule) {
  CAPTURE(argument);
  REQUIRE(reason.has_value());
  CHECK(reason->argument() == argument);
  CHECK(reason->value() == value);
  CHECK(reason->rule().find(rule) != std::string::npos);
  CHECK(reason->what() == "masthead: " + argument + " = " + value + ": " + reason->rule());
}

template <class Change>
Reason head_with(const Change& change, Mode mode = Mode::eval) {
  auto arguments = good();
  change(arguments);
  return check_arguments(arguments, mode);
}

template <class Change>
Reason running_with(const Change& change) {
  auto running = good_running();
  change(running);
  return check_running(running, 5);
}

std::string address_of(const void* pointer) { return masthead::detail::address(pointer); }

/// The least an mdspan must have, for both ranks.
template <class T, int rank_>
struct Mdspan {
  using element_type = T;
  using pointer = T*;
  static constexpr int rank() { return rank_; }
  T* data;
  int extents[rank_], strides[rank_];
  T* data_handle() const { return data; }
  int extent(int i) const { return extents[i]; }
  int stride(int i) const { return strides[i]; }
};

}  // namespace

TEST_SUITE("host checks") {
  TEST_CASE("good arguments are accepted in both modes") {
    CHECK_FALSE(check_arguments(good(), Mode::eval));
    CHECK_FALSE(check_arguments(good(), Mode::training));
    CHECK_FALSE(check_running(good_running(), 5));
    CHECK_FALSE(check_running(RunningStatistics{}, 5));
    CHECK_FALSE(check_workspace({bytes, 512}, 512));
    CHECK_FALSE(check_workspace({nullptr, 0}, 0));
    // Optional vectors may be absent, the scale may be per feature, a stride may be longer than a row.
    CHECK_FALSE(head_with([](auto& a) { a.parameters.bias = a.parameters.gamma = a.parameters.beta = {}; }));
    CHECK_FALSE(head_with([](auto& a) { a.parameters.scale = {}; }));
    CHECK_FALSE(head_with([](auto& a) { a.parameters.scale = {memory, 5}; }));
    CHECK_FALSE(head_with([](auto& a) { a.x.row_stride = 7; }));
    CHECK_FALSE(head_with([](auto& a) { a.parameters.running_mean = a.parameters.running_var = {}; },
                          Mode::training));
  }

  TEST_CASE("refuse_if() throws the reason and nothing else") {
    CHECK_NOTHROW(refuse_if({}));
    CHECK_THROWS_AS(refuse_if(Error("x.rows", 0, "must be at least 1")), Error);
    CHECK_THROWS_WITH(refuse_if(Error("x.rows", 0, "must be at least 1")),
                      "masthead: x.rows = 0: must be at least 1");
  }

  TEST_CASE("null pointers") {
    refused(head_with([](auto& a) { a.x.data = nullptr; }), "x.data", "null", "must point to the elements");
    refused(head_with([](auto& a) { a.y.data = nullptr; }), "y.data", "null", "must point to the elements");
    refused(head_with([](auto& a) { a.parameters.weight.data = nullptr; }), "weight.data", "null",
            "must point to the elements");
    refused(head_with([](auto& a) { a.parameters.gamma.data = nullptr; }), "gamma.data", "null",
            "must point to the elements");
    refused(head_with([](auto& a) { a.parameters.running_mean = {}; }), "running_mean.data", "null",
            "must point to the elements: eval mode and fold_batch_norm normalize with running_mean and "
            "running_var; only training mode does without");
    refused(head_with([](auto& a) { a.parameters.running_var = {}; }), "running_var.data", "null",
            "eval mode and fold_batch_norm normalize with running_mean and running_var");
    refused(head_with([](auto& a) { a.parameters.running_var = {}; }), "running_var.data", "null",
            "only training mode does without");
  }

  TEST_CASE("sizes of 0 and below") {
    refused(head_with([](auto& a) { a.x.rows = 0; }), "x.rows", "0", "at least 1");
    refused(head_with([](auto& a) { a.x.columns = -3; }), "x.columns", "-3", "at least 1");
    refused(head_with([](auto& a) { a.parameters.weight.rows = 0; }), "weight.rows", "0", "at least 1");
    refused(head_with([](auto& a) { a.parameters.weight.columns = -1; }), "weight.columns", "-1",
            "at least 1");
    refused(head_with([](auto& a) { a.y.rows = -1; }), "y.rows", "-1", "at least 1");
    refused(head_with([](auto& a) { a.y.columns = 0; }), "y.columns", "0", "at least 1");
  }

  TEST_CASE("products that overflow") {
    refused(head_with([](auto& a) {
              a.x = {memory, huge, 3, huge};
            }),
            "x.rows * row_stride", std::to_string(huge) + " * " + std::to_string(huge), "63 bits");
    // Fits in elements, not in bytes.
    refused(head_with([](auto& a) {
              a.x = {memory, huge / 2, 1, 1};
            }),
            "x.rows * row_stride", std::to_string(huge / 2) + " * 1", "63 bits");
    CHECK(checked_product(huge, 1) == huge);
    CHECK_FALSE(checked_product(huge, 2));
    CHECK_FALSE(checked_product(1 << 30, 1 << 30, 1 << 30));
  }

  TEST_CASE("strides shorter than a row") {
    refused(head_with([](auto& a) { a.x.row_stride = 2; }), "x.row_stride", "2", "number of columns, 3");
    refused(head_with([](auto& a) { a.y.row_stride = -5; }), "y.row_stride", "-5", "number of columns, 5");
    refused(head_with([](auto& a) { a.parameters.weight.row_stride = 0; }), "weight.row_stride", "0",
            "number of columns, 3");
  }

  TEST_CASE("misaligned pointers") {
    const auto* odd = reinterpret_cast<const float*>(bytes + 1);
    refused(head_with([&](auto& a) { a.x.data = odd; }), "x.data", address_of(odd),
            "element size of 4 bytes");
    refused(head_with([&](auto& a) {
              a.parameters.beta = ConstVector{odd, Dtype::f64, 5};
            }),
            "beta.data", address_of(odd), "element size of 8 bytes");
  }

  TEST_CASE("shapes that do not match") {
    refused(head_with([](auto& a) { a.x = {memory, 4, 2}; }), "x.columns", "2", "weight.columns, 3");
    refused(head_with([](auto& a) { a.y = {memory + 300, 3, 5}; }), "y.shape", "(3, 5)", "(4, 5)");
    refused(head_with([](auto& a) { a.y = {memory + 300, 4, 6}; }), "y.shape", "(4, 6)", "(4, 5)");
  }

  TEST_CASE("vectors of the wrong length") {
    refused(head_with([](auto& a) { a.parameters.bias.size = 4; }), "bias.size", "4", "must be 5");
    refused(head_with([](auto& a) { a.parameters.gamma.size = 1; }), "gamma.size", "1", "must be 5");
    refused(head_with([](auto& a) { a.parameters.beta.size = 6; }), "beta.size", "6", "must be 5");
    refused(head_with([](auto& a) { a.parameters.running_mean.size = 0; }), "running_mean.size", "0",
            "must be 5");
    refused(head_with([](auto& a) { a.parameters.running_var.size = -5; }), "running_var.size", "-5",
            "must be 5");
    refused(head_with([](auto& a) { a.parameters.scale.size = 2; }), "scale.size", "2", "must be 1 or 5");
  }

  TEST_CASE("epsilon below 0 or NaN") {
    refused(head_with([](auto& a) { a.parameters.epsilon = -1; }), "epsilon", "-1.000000", "at least 0");
    CHECK(head_with([](auto& a) { a.parameters.epsilon = 0.0 / 0.0; }));
  }

  TEST_CASE("a transposed weight is told by its shape") {
    const auto transposed = [](auto& a) { a.parameters.weight = {memory + 100, 3, 5}; };
    refused(head_with(transposed), "weight.shape", "(3, 5)",
            "must be (out_features, in_features): bias.size is 5, its number of columns, so it seems "
            "transposed");
    refused(head_with([&](auto& a) {
              transposed(a);
              a.parameters.bias = a.parameters.gamma = a.parameters.beta = {};
            }),
            "weight.shape", "(3, 5)",
            "running_mean.size is 5, its number of columns, so it seems transposed");
    refused(head_with(
                [&](auto& a) {
                  transposed(a);
                  a.parameters = {.weight = a.parameters.weight};
                },
                Mode::training),
            "weight.shape", "(3, 5)", "x has 3 columns and y 5, so it seems transposed");
    // One vector that fits the rows, or none the columns: it is the vector that is wrong.
    refused(head_with([&](auto& a) {
              transposed(a);
              a.parameters.bias.size = 3;
            }),
            "gamma.size", "5", "must be 3");
    refused(head_with([](auto& a) { a.parameters.running_mean.size = 3; }), "running_mean.size", "3",
            "must be 5");
  }

  TEST_CASE("outputs that overlap inputs") {
    const auto y_over = [](const float* data, const std::string& name) {
      refused(head_with([data](auto& a) { a.y.data = const_cast<float*>(data); }), "y.data", address_of(data),
              "must not overlap " + name);
    };
    y_over(memory + 11, "x");
    y_over(memory + 114, "weight");
    y_over(memory + 204, "bias");
    y_over(memory + 210 - 19, "bias");
    y_over(memory + 250, "scale");
    y_over(memory + 250 - 19, "running_mean");
    for (const Mode mode : {Mode::eval, Mode::training}) {
      const auto over = [&](auto vector, const std::string& name) {
        refused(head_with(
                    [&](auto& a) {
                      a.parameters.*vector = {memory + 319, vector == &Parameters<float>::scale ? 1 : 5};
                    },
                    mode),
                "y.data", address_of(memory + 300), "must not overlap " + name);
      };
      over(&Parameters<float>::bias, "bias");
      over(&Parameters<float>::gamma, "gamma");
      over(&Parameters<float>::beta, "beta");
      over(&Parameters<float>::running_mean, "running_mean");
      over(&Parameters<float>::running_var, "running_var");
      over(&Parameters<float>::scale, "scale");
    }
    CHECK_FALSE(head_with([](auto& a) { a.y.data = memory + 12; }));
    CHECK_FALSE(head_with([](auto& a) { a.y.data = memory + 80; }));
  }

  TEST_CASE("regions: what lies between rows is not of a view") {
    const auto bytes_of = [](int first, int rows, int columns, int stride) {
      return region_of(Matrix<const float>(memory + first, rows, columns, stride));
    };
    // Every pair of small views against a count of their elements.
    for (const int stride : {3, 4, 5}) {
      for (const int other_stride : {2, 3, 4, 5}) {
        for (int first = 0; first < 20; ++first) {
          for (int rows = 1; rows <= 3; ++rows) {
            for (int columns = 1; columns <= 2; ++columns) {
              bool of_a[64] = {}, shared = false;
              for (int r = 0; r < 3; ++r) of_a[10 + r * stride] = of_a[10 + r * stride + 1] = true;
              for (int r = 0; r < rows; ++r) {
                for (int c = 0; c < columns; ++c) shared = shared || of_a[first + r * other_stride + c];
              }
              const Region a = bytes_of(10, 3, 2, stride), b = bytes_of(first, rows, columns, other_stride);
              CAPTURE(stride);
              CAPTURE(other_stride);
              CAPTURE(first);
              CAPTURE(rows);
              CAPTURE(columns);
              CHECK(overlap(a, b) == overlap(b, a));
              if (shared) CHECK(overlap(a, b));
              if (!shared && (stride == other_stride || b.contiguous())) CHECK_FALSE(overlap(a, b));
            }
          }
        }
      }
    }
    CHECK_FALSE(overlap(region_of(Workspace(memory, 4)), region_of(memory + 1, 4)));
    CHECK(overlap(region_of(Workspace(memory, 5)), region_of(memory + 1, 4)));
    CHECK_FALSE(overlap(region_of(Workspace(memory, 0)), region_of(memory, 4)));
    CHECK_FALSE(overlap(region_of(ConstVector{}), region_of(memory, 4)));
  }

  TEST_CASE("y may lie between the rows of x, as columns of one matrix") {
    CHECK_FALSE(head_with([](auto& a) {
      a.x = {memory + 400, 4, 3, 8};
      a.y = {memory + 403, 4, 5, 8};
    }));
    refused(head_with([](auto& a) {
              a.x = {memory + 400, 4, 3, 8};
              a.y = {memory + 402, 4, 5, 8};
            }),
            "y.data", address_of(memory + 402), "must not overlap x");
  }

  TEST_CASE("workspace and running statistics share nothing with what the pass reads and writes") {
    const RunningStatistics running{
        .mean = {memory + 600, 5}, .var = {memory + 610, 5}, .batches_tracked = &tracked};
    const Workspace workspace{memory + 1024, 512};
    CHECK_FALSE(check_written_apart(good(), running, workspace));
    CHECK_FALSE(check_written_apart(good(), {}, workspace));
    CHECK_FALSE(check_written_apart(good(), {}, {}));
    struct Read {
      const char* name;
      float* data;
    };
    const Read reads[] = {{"y", memory + 300},          {"x", memory},
                          {"weight", memory + 100},     {"bias", memory + 200},
                          {"gamma", memory + 210},      {"beta", memory + 220},
                          {"scale", memory + 250},      {"running_mean", memory + 230},
                          {"running_var", memory + 240}};
    for (const auto& [name, data] : reads) {
      CAPTURE(name);
      const std::string rule = std::string("must not overlap ") + name;
      refused(check_written_apart(good(), {}, {data, 4}), "workspace.data", address_of(data), rule);
      refused(check_written_apart(good(), running, {data, 4}), "workspace.data", address_of(data), rule);
      RunningStatistics bad = running;
      // One element before: what overlaps is the second.
      float* const before = data == memory ? data : data - 1;
      bad.mean = {before, 2};
      refused(check_written_apart(good(), bad, {}), "running.mean.data", address_of(before), rule);
      bad = running;
      bad.var = {before, 2};
      refused(check_written_apart(good(), bad, {}), "running.var.data", address_of(before), rule);
      bad = running;
      bad.batches_tracked = reinterpret_cast<std::int64_t*>(data);
      refused(check_written_apart(good(), bad, {}), "running.batches_tracked.data", address_of(data), rule);
    }
    RunningStatistics bad = running;
    bad.var = {memory + 604, 5};
    refused(check_written_apart(good(), bad, {}), "running.var.data", address_of(memory + 604),
            "must not overlap running.mean");
    bad = running;
    bad.batches_tracked = reinterpret_cast<std::int64_t*>(memory + 604);
    refused(check_written_apart(good(), bad, {}), "running.batches_tracked.data", address_of(memory + 604),
            "must not overlap running.mean");
    refused(check_written_apart(good(), running, {memory + 604, 4}), "workspace.data",
            address_of(memory + 604), "must not overlap running.mean");
    refused(check_written_apart(good(), running, {memory + 610, 4}), "workspace.data",
            address_of(memory + 610), "must not overlap running.var");
    refused(check_written_apart(good(), running, {&tracked, 1}), "workspace.data", address_of(&tracked),
            "must not overlap running.batches_tracked");
    // The statistics of the parameters may be those that are updated.
    const RunningStatistics own{.mean = {memory + 230, 5}, .var = {memory + 240, 5}};
    CHECK_FALSE(check_written_apart(good(), own, workspace));
    const RunningStatistics crossed{.mean = {memory + 240, 5}, .var = {memory + 230, 5}};
    refused(check_written_apart(good(), crossed, workspace), "running.mean.data", address_of(memory + 240),
            "must not overlap running_var");
  }

  TEST_CASE("a training batch of 1") {
    const auto one_row = [](auto& a) { a.x.rows = a.y.rows = 1; };
    CHECK_FALSE(head_with(one_row, Mode::eval));
    refused(head_with(one_row, Mode::training), "x.rows", "1", "more than 1 value per feature");
  }

  TEST_CASE("running statistics") {
    refused(running_with([](auto& r) { r.var = {}; }), "running.mean, running.var", "only mean", "together");
    refused(running_with([](auto& r) { r.mean = {}; }), "running.mean, running.var", "only var", "together");
    refused(running_with([](auto& r) { r.mean.size = 4; }), "running.mean.size", "4", "must be 5");
    refused(running_with([](auto& r) { r.var.size = 1; }), "running.var.size", "1", "must be 5");
    refused(running_with([](auto& r) { r.momentum = 1.5; }), "running.momentum", "1.500000", "in [0, 1]");
    refused(running_with([](auto& r) { r.momentum = -0.5; }), "running.momentum", "-0.500000", "in [0, 1]");
    CHECK(running_with([](auto& r) { r.momentum = 0.0 / 0.0; }));
    refused(running_with([](auto& r) { r.momentum = {}, r.batches_tracked = nullptr; }),
            "running.batches_tracked", "null", "cumulative average");
    CHECK_FALSE(running_with([](auto& r) { r.momentum = {}; }));
    auto* const odd = reinterpret_cast<std::int64_t*>(bytes + 4);
    refused(running_with([odd](auto& r) { r.batches_tracked = odd; }), "running.batches_tracked",
            address_of(odd), "aligned to 8 bytes");
  }

  TEST_CASE("workspaces too small, missing or misaligned") {
    refused(check_workspace({bytes, 255}, 256), "workspace.bytes", "255", "at least 256");
    refused(check_workspace({nullptr, 256}, 256), "workspace.data", "null", "workspace.bytes of memory");
    refused(check_workspace({bytes + 16, 256}, 256), "workspace.data", address_of(bytes + 16),
            "aligned to 256 bytes");
  }

  TEST_CASE("scale_softmax: exactly in place or apart") {
    const Matrix<const float> x(memory, 3, 5, 8);
    CHECK_FALSE(check_scale_softmax(x, ConstVector{}, Matrix<float>(memory, 3, 5, 8)));
    CHECK_FALSE(check_scale_softmax(x, ConstVector{}, Matrix<float>(memory + 21, 3, 5, 8)));
    refused(check_scale_softmax(x, ConstVector{}, Matrix<float>(memory, 3, 5, 9)), "y.data",
            address_of(memory), "x itself");
    refused(check_scale_softmax(x, ConstVector{}, Matrix<float>(memory + 1, 3, 5, 8)), "y.data",
            address_of(memory + 1), "x itself");
    refused(check_scale_softmax(x, ConstVector{}, Matrix<Half>(reinterpret_cast<Half*>(memory), 3, 5, 8)),
            "y.data", address_of(memory), "x itself");
    refused(check_scale_softmax(x, ConstVector{memory, 3}, Matrix<float>(memory + 100, 3, 5)), "scale.size",
            "3", "must be 1 or 5");
    refused(check_scale_softmax(x, ConstVector{}, Matrix<float>(memory + 100, 5, 3)), "y.shape", "(5, 3)",
            "(3, 5)");
    refused(check_scale_softmax(x, ConstVector{memory + 104, 5}, Matrix<float>(memory + 100, 3, 5)), "y.data",
            address_of(memory + 100), "must not overlap scale");
    refused(check_scale_softmax(x, ConstVector{memory + 2, 1}, Matrix<float>(memory, 3, 5, 8)), "y.data",
            address_of(memory), "must not overlap scale");
    // Between the rows of y.
    CHECK_FALSE(check_scale_softmax(x, ConstVector{memory + 5, 1}, Matrix<float>(memory, 3, 5, 8)));
  }

  TEST_CASE("fold_batch_norm: outputs shaped as the parameters") {
    const Parameters<float> p = good().parameters;
    const Matrix<float> weight(memory + 500, 5, 3);
    const MutableVector bias(memory + 600, 5);
    CHECK_FALSE(check_fold_batch_norm(p, weight, bias));
    refused(check_fold_batch_norm(p, Matrix<float>(memory + 500, 3, 5), bias), "folded weight.shape",
            "(3, 5)", "(5, 3)");
    refused(check_fold_batch_norm(p, weight, MutableVector{}), "folded bias.data", "null",
            "must point to the elements");
    refused(check_fold_batch_norm(p, weight, MutableVector(memory + 600, 1)), "folded bias.size", "1",
            "must be 5");
    // In place, or apart.
    CHECK_FALSE(check_fold_batch_norm(p, Matrix<float>(memory + 100, 5, 3), MutableVector(memory + 200, 5)));
    refused(check_fold_batch_norm(p, Matrix<float>(memory + 101, 5, 3), bias), "folded weight.data",
            address_of(memory + 101), "must be weight itself (same stride) or not overlap it");
    refused(check_fold_batch_norm(p, Matrix<float>(memory + 100, 5, 3, 4), bias), "folded weight.data",
            address_of(memory + 100), "must be weight itself (same stride) or not overlap it");
    refused(check_fold_batch_norm(p, Matrix<float>(memory + 186, 5, 3), bias), "folded weight.data",
            address_of(memory + 186), "must not overlap bias");
    refused(check_fold_batch_norm(p, Matrix<float>(memory + 236, 5, 3), bias), "folded weight.data",
            address_of(memory + 236), "must not overlap running_var");
    refused(check_fold_batch_norm(p, weight, MutableVector(memory + 199, 5)), "folded bias.data",
            address_of(memory + 199), "must be bias itself (same dtype) or not overlap it");
    refused(check_fold_batch_norm(p, weight, MutableVector(memory + 510, 5)), "folded bias.data",
            address_of(memory + 510), "must not overlap folded weight");
    refused(check_fold_batch_norm(p, weight, MutableVector(memory + 112, 5)), "folded bias.data",
            address_of(memory + 112), "must not overlap weight");
    refused(check_fold_batch_norm(p, weight, MutableVector(memory + 250, 5)), "folded bias.data",
            address_of(memory + 250), "must not overlap scale");
    refused(check_fold_batch_norm(p, weight, MutableVector(memory + 222, 5)), "folded bias.data",
            address_of(memory + 222), "must not overlap beta");
    Parameters<float> without = p;
    without.running_mean = {};
    refused(check_fold_batch_norm(without, weight, bias), "running_mean.data", "null",
            "eval mode and fold_batch_norm normalize with running_mean and running_var");
  }

  TEST_CASE("sizes in braces have any integer type") {
    const std::size_t rows = 4, columns = 3, stride = 8;
    const unsigned short few = 2;
    enum { three = 3 };
    const Matrix<float> m{memory, rows, columns}, strided{memory, rows, 3, stride},
        named{memory, three, three};
    CHECK((m.rows == 4 && m.columns == 3 && m.row_stride == 3));
    CHECK((strided.rows == 4 && strided.columns == 3 && strided.row_stride == 8));
    CHECK((named.rows == 3 && named.columns == 3));
    const ConstVector v{memory, rows}, raw{static_cast<const void*>(memory), Dtype::f16, few};
    CHECK((v.size == 4 && v.dtype == Dtype::f32 && raw.size == 2 && raw.dtype == Dtype::f16));
    const Workspace workspace{bytes, sizeof(bytes)};
    CHECK(workspace.bytes == 512);
    // What does not fit is refused by value.
    refused(check_matrix("x", Matrix<float>{memory, SIZE_MAX, columns}), "x.rows", "-1", "at least 1");
    static_assert(!std::is_constructible_v<Matrix<float>, float*, float*, int>);
  }

  TEST_CASE("views are made from mdspans of unit stride, and only from those") {
    const Matrix<const float> m = Mdspan<float, 2>{memory, {4, 3}, {8, 1}};
    CHECK(m.data == memory);
    CHECK((m.rows == 4 && m.columns == 3 && m.row_stride == 8));
    const ConstVector v = Mdspan<const float, 1>{memory, {7}, {1}};
    CHECK((v.data == memory && v.size == 7 && v.dtype == Dtype::f32));
    CHECK_THROWS_WITH((Matrix<float>(Mdspan<float, 2>{memory, {4, 3}, {1, 4}})),
                      "masthead: mdspan.stride(1) = 4: the last dimension must be contiguous (stride 1)");
    CHECK_THROWS_WITH((MutableVector(Mdspan<float, 1>{memory, {7}, {2}})),
                      "masthead: mdspan.stride(0) = 2: must be contiguous (stride 1)");
    // A single column or element has no stride to be wrong.
    CHECK_NOTHROW((Matrix<float>(Mdspan<float, 2>{memory, {4, 1}, {3, 5}})));
    static_assert(!std::is_constructible_v<Matrix<float>, Mdspan<const float, 2>>);
    static_assert(!std::is_constructible_v<Matrix<float>, Mdspan<float, 1>>);
    static_assert(!std::is_constructible_v<Matrix<float>, Mdspan<double, 2>>);
    static_assert(!std::is_constructible_v<MutableVector, Mdspan<const float, 1>>);
  }
}

#include <doctest/doctest.h>

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
            "must point to the elements");
    refused(head_with([](auto& a) { a.parameters.running_var = {}; }), "running_var.data", "null",
            "must point to the elements");
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

  TEST_CASE("outputs that overlap inputs") {
    refused(head_with([](auto& a) { a.y.data = memory + 11; }), "y.data", address_of(memory + 11),
            "must not overlap x");
    refused(head_with([](auto& a) { a.y.data = memory + 114; }), "y.data", address_of(memory + 114),
            "must not overlap weight");
    CHECK_FALSE(head_with([](auto& a) { a.y.data = memory + 12; }));
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

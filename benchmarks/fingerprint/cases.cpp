#include "fingerprint/cases.hpp"

#include <array>
#include <utility>

namespace benchmark {

namespace {

std::string size(std::int64_t a, std::int64_t b) { return std::to_string(a) + 'x' + std::to_string(b); }

constexpr std::array precisions{"fp64", "fp32_ieee", "fp32", "tf32", "fp16_scaled", "bf16", "fp16", "fp8"};

bool has_narrow_operands(const std::string& precision) {
  return precision == "bf16" || precision == "fp16" || precision == "fp8";
}

/// Both sides of every bound that select_policy and plan_forward compare sizes with: policies by rows, by
/// features (512, 1024, 16384), normalizing from float logits (8192, 16384), from quantized logits in several
/// blocks (8192), in more than four (32768), all tiles resident (4 << 20 elements and more, until the device
/// is full), overlapped normalization (24 << 20 elements, or 1024 rows of more than 32768).
constexpr std::array<std::int64_t, 16> batches{1,   16,  17,  32,  33,  64,   65,   128,
                                               129, 256, 257, 640, 641, 1000, 1024, 3072};
constexpr std::array<std::int64_t, 13> features{1,    33,   512,   513,   1024,  1025, 2056,
                                                8192, 8200, 16384, 16392, 30522, 40960};

/// Fewer shapes (batch, out_features), for what is crossed with modes, outputs and dtypes.
constexpr std::array<std::pair<std::int64_t, std::int64_t>, 20> few_shapes{
    {{2, 33},      {16, 1025},   {32, 8200},    {64, 16392},  {200, 512},    {641, 500},   {17, 512},
     {33, 513},    {65, 1025},   {128, 8192},   {129, 8200},  {256, 16384},  {257, 16392}, {640, 2056},
     {1000, 1024}, {1024, 8192}, {1024, 30522}, {3072, 8200}, {1024, 40960}, {3072, 1}}};

/// Even fewer, for what is crossed with the variants: one cluster, small tiles, few rows, many features,
/// resident tiles, overlapped normalization.
constexpr std::array<std::pair<std::int64_t, std::int64_t>, 6> variant_shapes{
    {{17, 512}, {129, 1000}, {96, 2056}, {640, 16392}, {1024, 8192}, {3072, 8200}}};

/// (batch, in_features, out_features) whose products are long enough to normalize rows under them, and wide
/// batches of few features.
constexpr std::array<std::array<std::int64_t, 3>, 9> overlapped_shapes{{{3072, 520, 8192},
                                                                        {3072, 4104, 8192},
                                                                        {3072, 2056, 16392},
                                                                        {1024, 2056, 40960},
                                                                        {12288, 520, 2056},
                                                                        {24600, 136, 1025},
                                                                        {4096, 4104, 8200},
                                                                        {2048, 520, 30522},
                                                                        {1024, 520, 30522}}};

struct HeadVariant {
  const char* name;
  void (*apply)(HeadCase&);
};

/// One deviation each from aligned operands, all vectors and finite data.
constexpr std::array head_variants{
    HeadVariant{"usual", [](HeadCase& c) { c.in_features = 136; }},
    HeadVariant{"usual", [](HeadCase& c) { c.in_features = 520; }},
    HeadVariant{"usual", [](HeadCase& c) { c.in_features = 133; }},
    HeadVariant{"usual", [](HeadCase& c) { c.in_features = 1001; }},
    HeadVariant{"x_off_by_one", [](HeadCase& c) { c.x.offset = 1; }},
    HeadVariant{"x_off_by_one",
                [](HeadCase& c) {
                  c.x.offset = 1;
                  c.log_softmax = true;
                }},
    HeadVariant{"x_off_by_one",
                [](HeadCase& c) {
                  c.x.offset = 1;
                  c.accumulator_y = true;
                }},
    HeadVariant{"weight_off_by_one", [](HeadCase& c) { c.weight.offset = 1; }},
    HeadVariant{"y_off_by_one", [](HeadCase& c) { c.y.offset = 1; }},
    HeadVariant{"y_off_by_one",
                [](HeadCase& c) {
                  c.y.offset = 1;
                  c.log_softmax = true;
                }},
    HeadVariant{"x_padded_by_8", [](HeadCase& c) { c.x.padding = 8; }},
    HeadVariant{"x_padded_by_1", [](HeadCase& c) { c.x.padding = 1; }},
    HeadVariant{"weight_padded_by_8", [](HeadCase& c) { c.weight.padding = 8; }},
    HeadVariant{"weight_padded_by_1", [](HeadCase& c) { c.weight.padding = 1; }},
    HeadVariant{"y_padded_by_8", [](HeadCase& c) { c.y.padding = 8; }},
    HeadVariant{"y_padded_by_1", [](HeadCase& c) { c.y.padding = 1; }},
    HeadVariant{"all_padded_by_16", [](HeadCase& c) { c.x.padding = c.weight.padding = c.y.padding = 16; }},
    HeadVariant{"column_scale", [](HeadCase& c) { c.scale = ScaleOf::per_column; }},
    HeadVariant{"no_scale", [](HeadCase& c) { c.scale = ScaleOf::absent; }},
    HeadVariant{"no_bias", [](HeadCase& c) { c.bias = false; }},
    HeadVariant{"no_gamma", [](HeadCase& c) { c.gamma = false; }},
    HeadVariant{"no_beta", [](HeadCase& c) { c.beta = false; }},
    HeadVariant{"no_vectors",
                [](HeadCase& c) {
                  c.bias = c.gamma = c.beta = false;
                  c.scale = ScaleOf::absent;
                }},
    HeadVariant{"large_x", [](HeadCase& c) { c.magnitude = 64; }},
    HeadVariant{"non_finite_x", [](HeadCase& c) { c.non_finite = true; }},
};

/// Both sides of the lengths at which scale_softmax takes another policy, a cluster or a second pass.
constexpr std::array<std::int64_t, 10> lengths{1, 33, 1000, 4096, 8192, 12288, 32768, 65544, 131072, 200000};
constexpr std::array<std::int64_t, 9> more_lengths{256, 257, 2048, 2056, 4104, 8200, 16384, 16392, 131080};
constexpr std::int64_t softmax_rows = 5;

struct SoftmaxVariant {
  const char* name;
  void (*apply)(SoftmaxCase&);
};

constexpr std::array softmax_variants{
    SoftmaxVariant{"x_off_by_one", [](SoftmaxCase& c) { c.x.offset = 1; }},
    SoftmaxVariant{"y_off_by_one", [](SoftmaxCase& c) { c.y.offset = 1; }},
    SoftmaxVariant{"padded_by_1", [](SoftmaxCase& c) { c.x.padding = c.y.padding = 1; }},
    SoftmaxVariant{"padded_by_16", [](SoftmaxCase& c) { c.x.padding = c.y.padding = 16; }},
    SoftmaxVariant{"non_finite_x", [](SoftmaxCase& c) { c.non_finite = true; }},
};

constexpr std::array<std::pair<const char*, const char*>, 6> softmax_dtypes{
    {{"f64", "f64"}, {"f32", "f32"}, {"f16", "f16"}, {"f16", "f32"}, {"bf16", "bf16"}, {"bf16", "f32"}}};

}  // namespace

std::string HeadCase::name() const {
  return "head/" + precision + '/' + std::string(benchmark::name(normalization)) + '/' +
         (log_softmax ? "log_softmax/" : "softmax/") + (accumulator_y ? "y_accumulator/" : "y_operand/") +
         size(batch, in_features) + 'x' + std::to_string(out_features) + '/' + variant;
}

std::string SoftmaxCase::name() const {
  return "softmax/" + x_dtype + '_' + y_dtype + '/' + (log_softmax ? "log_softmax/" : "softmax/") +
         std::string(benchmark::name(scale)) + '/' + size(rows, columns) + '/' + variant;
}

std::vector<HeadCase> head_cases() {
  constexpr std::int64_t usual_in_features = 64;
  std::vector<HeadCase> cases;
  for (const char* precision : precisions) {
    for (const std::int64_t out : features) {
      for (const std::int64_t batch : batches) cases.push_back({precision, batch, usual_in_features, out});
    }
    // Every other way to call it, on fewer shapes.
    for (const auto normalization : {Normalization::eval, Normalization::momentum, Normalization::cumulative,
                                     Normalization::untracked}) {
      for (const bool log_softmax : {false, true}) {
        for (const bool accumulator_y : {false, true}) {
          if (accumulator_y && !has_narrow_operands(precision)) continue;
          if (normalization == Normalization::eval && !log_softmax && !accumulator_y) continue;  // above
          for (const auto& [batch, out] : few_shapes) {
            cases.push_back(
                {precision, batch, usual_in_features, out, normalization, log_softmax, accumulator_y});
          }
        }
      }
    }
    for (const HeadVariant& variant : head_variants) {
      for (const auto normalization : {Normalization::eval, Normalization::momentum}) {
        for (const auto& [batch, out] : variant_shapes) {
          HeadCase of{precision, batch, usual_in_features, out, normalization};
          of.variant = variant.name;
          variant.apply(of);
          if (!of.accumulator_y || has_narrow_operands(precision)) cases.push_back(of);
        }
      }
    }
    for (const auto& [batch, in, out] : overlapped_shapes) cases.push_back({precision, batch, in, out});
  }
  return cases;
}

std::vector<SoftmaxCase> softmax_cases() {
  std::vector<SoftmaxCase> cases;
  for (const auto& [x, y] : softmax_dtypes) {
    const auto usual = [&, x = x, y = y](std::int64_t columns) {
      return SoftmaxCase{x, y, softmax_rows, columns};
    };
    for (const std::int64_t columns : more_lengths) cases.push_back(usual(columns));
    for (const std::int64_t columns : lengths) {
      for (const bool log_softmax : {false, true}) {
        for (const auto scale : {ScaleOf::absent, ScaleOf::one, ScaleOf::per_column}) {
          SoftmaxCase of = usual(columns);
          of.log_softmax = log_softmax;
          of.scale = scale;
          cases.push_back(of);
          if (of.x_dtype != of.y_dtype) continue;
          of.in_place = true;
          of.variant = "in_place";
          cases.push_back(of);
          of.x.offset = of.y.offset = 1;
          of.variant = "in_place_off_by_one";
          cases.push_back(of);
        }
      }
      for (const SoftmaxVariant& variant : softmax_variants) {
        for (const auto scale : {ScaleOf::one, ScaleOf::per_column}) {
          SoftmaxCase of = usual(columns);
          of.scale = scale;
          of.variant = variant.name;
          variant.apply(of);
          cases.push_back(of);
        }
      }
    }
  }
  return cases;
}

}  // namespace benchmark

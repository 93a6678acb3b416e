#pragma once
/// The random cases of tests/device/fuzz: what a seed and a number stand for.
///
/// Integer arithmetic alone makes them, so a seed means the same cases on every machine and compiler. A case
/// is plain data that kernels take by value; fuzz_values.hpp says which numbers it stands for.

#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>

#include "masthead/core/parameters.hpp"
#include "masthead/core/precision.hpp"

namespace test::fuzz {

/// splitmix64: a sequence that a seed fixes everywhere, as no std::*_distribution does.
class Draw {
 public:
  explicit Draw(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

  /// In [low, high].
  std::int64_t integer(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(next() % static_cast<std::uint64_t>(high - low + 1));
  }
  int exponent(int low, int high) { return static_cast<int>(integer(low, high)); }

  /// True `of` times in `in`.
  bool chance(int of, int in) { return integer(1, in) <= of; }

  template <class T, std::size_t count>
  T pick(const T (&from)[count]) {
    return from[static_cast<std::size_t>(integer(0, static_cast<std::int64_t>(count) - 1))];
  }

  /// A value by its share of the whole.
  template <class T, std::size_t count>
  T share(const std::pair<T, int> (&of)[count]) {
    int all = 0;
    for (const auto& [value, part] : of) all += part;
    std::int64_t left = integer(0, all - 1);
    for (const auto& [value, part] : of) {
      if (left < part) return value;
      left -= part;
    }
    return of[0].first;
  }

  /// In [1, most], each power of two as likely as the next.
  std::int64_t log_uniform(std::int64_t most) {
    int bits = 0;
    while ((most >> bits) > 1) ++bits;
    const int e = exponent(0, bits);
    const std::int64_t size = (std::int64_t{1} << e) + integer(0, (std::int64_t{1} << e) - 1);
    return size < most ? size : most;
  }

 private:
  std::uint64_t state_;
};

enum class Call : std::uint8_t { softmax, head };

/// What x, and with it the weight, holds.
enum class Data : std::uint8_t {
  normal,       ///< around 0
  positive,     ///< in [0, 1): sums of one sign
  log_uniform,  ///< head: over 24 powers of two; softmax: over all the dtype has
  // Heads alone have the next ones.
  outlier,     ///< one element per row 2^15 times as large as the others
  integers,    ///< small ones: every sum and difference is exact
  distant,     ///< near one number: deviations far below the mean
  constant,    ///< some columns of x do not vary over the batch, and every third feature sees no others
  drift,       ///< features far from 0 that drift by five deviations over the batch
  magnitudes,  ///< normal times a power of two anywhere in the dtype's range; logits up to FLT_MAX
  // scale_softmax alone has the next ones.
  equal,      ///< each row one number, of any magnitude up to the largest finite one
  neighbors,  ///< each row one number and the next below it
  peaks,      ///< some near the largest finite number among ones near the least
  masked,     ///< normal, and the least finite number in about half the places, in some rows in all
  count_
};

/// Rows of x that hold what is not finite: NaN in every fifth from row 1 on, infinity in every seventh from
/// row 2, -infinity in every eleventh from row 3; scale_softmax has -infinity in many places of its rows, in
/// every 33rd from row 3 in all.
enum class Special : std::uint8_t { none, some_rows, count_ };

/// What running_mean and running_var are, in eval mode.
enum class Statistics : std::uint8_t {
  ordinary,     ///< around 0 and 1
  far,          ///< a mean of up to 2^17 deviations
  calibrated,   ///< those of this batch, as after training
  no_variance,  ///< the mean of this batch and a variance of 0 or 1e-12
  count_
};

enum class BetaOf : std::uint8_t { absent, ordinary, infinite, lowest, count_ };  ///< -inf, -FLT_MAX in some
enum class ScaleOf : std::uint8_t { absent, one, per_column, count_ };
enum class ScaleValue : std::uint8_t { ordinary, unit, zero, power, count_ };  ///< power: times 2^exponent

/// The policy of a head's pass: the head's own choice, or one of the shipped ones of an engine.
enum class EngineOf : std::uint8_t { head, simt, wgmma, swap_ab, count_ };

constexpr std::string_view name(Data value) {
  constexpr std::string_view names[] = {"normal",    "positive", "log_uniform", "outlier",    "integers",
                                        "distant",   "constant", "drift",       "magnitudes", "equal",
                                        "neighbors", "peaks",    "masked"};
  return names[static_cast<int>(value)];
}
constexpr std::string_view name(Statistics value) {
  constexpr std::string_view names[] = {"ordinary", "far", "calibrated", "no_variance"};
  return names[static_cast<int>(value)];
}
constexpr std::string_view name(BetaOf value) {
  constexpr std::string_view names[] = {"absent", "ordinary", "infinite", "lowest"};
  return names[static_cast<int>(value)];
}
constexpr std::string_view name(ScaleOf value) {
  constexpr std::string_view names[] = {"absent", "one", "per_column"};
  return names[static_cast<int>(value)];
}
constexpr std::string_view name(ScaleValue value) {
  constexpr std::string_view names[] = {"ordinary", "unit", "zero", "power"};
  return names[static_cast<int>(value)];
}
constexpr std::string_view name(EngineOf value) {
  constexpr std::string_view names[] = {"head", "simt", "wgmma", "swap_ab"};
  return names[static_cast<int>(value)];
}

/// Where a matrix lies: elements from the end of a row to the next, and elements off an address that is
/// aligned to 256 bytes.
struct Placement {
  std::int64_t pad = 0, shift = 0;
};

/// One call, all of it.
struct Case {
  std::uint64_t seed = 0;    ///< of the run
  std::uint64_t number = 0;  ///< in the run
  std::uint64_t values = 0;  ///< the seed of what memory holds
  Call call = Call::head;
  masthead::Precision precision = masthead::Precision::fp32;  ///< of heads
  masthead::Dtype x = masthead::Dtype::f32;                   ///< of x and the weight
  masthead::Dtype y = masthead::Dtype::f32;
  masthead::Output output = masthead::Output::softmax;
  masthead::Mode mode = masthead::Mode::eval;
  std::int64_t rows = 1, in_features = 1, columns = 1;  ///< x (rows, in_features), of softmax (rows, columns)
  Placement of_x = {}, of_weight = {}, of_y = {};
  std::int64_t vector_shift = 0;
  bool in_place = false;  ///< scale_softmax: y is x
  EngineOf engine = EngineOf::head;
  int policy = 0;  ///< which of the engine's, modulo their number
  Data data = Data::normal;
  Special special = Special::none;
  int x_exponent = 0, w_exponent = 0, scale_exponent = 0;
  int spread = 0;      ///< distant: the deviation of x is 2^-spread of its mean
  bool twins = false;  ///< columns 2i and 2i + 1 are equal in everything
  ScaleOf scale_of = ScaleOf::absent;
  ScaleValue scale = ScaleValue::ordinary;
  masthead::Dtype scale_dtype = masthead::Dtype::f32;
  bool has_bias = true, has_gamma = true;
  BetaOf beta = BetaOf::ordinary;
  masthead::Dtype bias_dtype = masthead::Dtype::f32, gamma_dtype = masthead::Dtype::f32,
                  beta_dtype = masthead::Dtype::f32, mean_dtype = masthead::Dtype::f32,
                  var_dtype = masthead::Dtype::f32;
  Statistics statistics = Statistics::ordinary;
  int far_exponent = 0;                        ///< of Statistics::far
  int epsilon = 0;                             ///< an index of `epsilons`
  bool tracks = false;                         ///< training mode updates running statistics
  bool cumulative = false;                     ///< as a cumulative average
  bool allocates = false;                      ///< the call gets no workspace
  std::int64_t part_first = 0, part_rows = 0;  ///< rows that must have the same bits alone; none: 0

  bool is_head() const { return call == Call::head; }
  bool training() const { return mode == masthead::Mode::training; }
};

inline constexpr double epsilons[] = {1e-5, 1e-3, 1e-12, 0};

/// All there is of a case, on one line.
inline std::ostream& operator<<(std::ostream& out, const Case& c) {
  const auto matrix = [&](const char* what, masthead::Dtype dtype, const Placement& at) {
    out << ' ' << what << ' ' << dtype << "+pad" << at.pad << "+shift" << at.shift;
  };
  if (c.is_head()) {
    out << "head " << c.precision << ' ' << name(c.mode) << ' ' << name(c.output) << ' ' << c.rows << " x "
        << c.in_features << " -> " << c.columns << " engine " << name(c.engine) << ':' << c.policy;
  } else {
    out << "scale_softmax " << name(c.output) << ' ' << c.rows << " x " << c.columns
        << (c.in_place ? " in place" : "");
  }
  matrix("x", c.x, c.of_x);
  if (c.is_head()) matrix("weight", c.x, c.of_weight);
  matrix("y", c.y, c.of_y);
  out << " data " << name(c.data) << (c.special == Special::none ? "" : " special") << " x*2^"
      << c.x_exponent;
  if (c.is_head()) out << " w*2^" << c.w_exponent << " spread " << c.spread;
  out << (c.twins ? " twins" : "") << " scale " << name(c.scale_of) << ' ' << name(c.scale) << " 2^"
      << c.scale_exponent << ' ' << c.scale_dtype;
  if (c.is_head()) {
    out << " bias " << (c.has_bias ? name(c.bias_dtype) : "absent") << " gamma "
        << (c.has_gamma ? name(c.gamma_dtype) : "absent") << " beta " << name(c.beta) << ' ' << c.beta_dtype
        << " mean " << c.mean_dtype << " var " << c.var_dtype << " statistics " << name(c.statistics) << " 2^"
        << c.far_exponent << " eps " << epsilons[c.epsilon] << (c.tracks ? " tracks" : "")
        << (c.cumulative ? " cumulative" : "") << (c.allocates ? " allocates" : "");
  }
  out << " vectors+shift" << c.vector_shift << " part " << c.part_first << '+' << c.part_rows << " values "
      << c.values;
  return out;
}

/// How much work a case may be.
struct Limits {
  std::int64_t outputs = std::int64_t{1} << 22;   ///< rows * columns; 8 times that in one case of a hundred
  std::int64_t operand = std::int64_t{1} << 22;   ///< elements of x, and of the weight
  std::int64_t products = std::int64_t{1} << 27;  ///< rows * in_features * columns
  std::int64_t side = std::int64_t{1} << 20;      ///< rows, and columns
  std::int64_t depth = std::int64_t{1} << 14;     ///< in_features

  static Limits small() { return {1 << 15, 1 << 15, 1 << 20, 1 << 15, 1 << 10}; }
};

namespace detail {

/// Sizes at the edges of tiles, clusters, vectors and of what kernels hold.
inline constexpr std::int64_t edges[] = {
    1,     2,     3,     7,      8,      9,      15,     16,     17,     31,      32,     33,
    63,    64,    65,    96,     127,    128,    129,    192,    255,    256,     257,    319,
    320,   383,   384,   385,    448,    449,    511,    512,    513,    640,     767,    768,
    1000,  1023,  1024,  1025,   1032,   1536,   2047,   2048,   2049,   2056,    4095,   4096,
    4097,  4104,  8191,  8192,   8193,   8200,   9001,   16383,  16384,  16385,   16500,  32768,
    32769, 65536, 65544, 100000, 128256, 131072, 131080, 262144, 262152, 1048575, 1048576};

inline std::int64_t draw_size(Draw& draw, std::int64_t most) {
  if (draw.chance(1, 2)) return draw.log_uniform(most);
  const std::int64_t edge = draw.pick(edges);
  return edge <= most ? edge : draw.log_uniform(most);
}

/// Halves what is largest, sparing one size as long as the others can give, until `fits`.
template <std::size_t count, class Fits>
void shrink(std::int64_t* const (&sizes)[count], std::size_t spared, const Fits& fits) {
  while (!fits()) {
    std::int64_t* largest = nullptr;
    for (std::size_t i = 0; i < count; ++i) {
      if (i != spared && *sizes[i] > 1 && (largest == nullptr || *sizes[i] > *largest)) largest = sizes[i];
    }
    if (largest == nullptr) largest = sizes[spared];
    *largest = *largest / 2;
  }
}

/// A placement of rows of `columns` elements of `dtype`; `by_tma`: rows start at multiples of 16 bytes.
inline Placement draw_placement(Draw& draw, masthead::Dtype dtype, std::int64_t columns, bool by_tma) {
  const std::int64_t vector = 16 / masthead::size_of(dtype);
  Placement at;
  at.pad = by_tma || draw.chance(1, 2) ? (vector - columns % vector) % vector : 0;
  if (draw.chance(1, 3)) at.pad += vector * draw.integer(1, 5);
  if (by_tma) return at;
  if (draw.chance(1, 5)) at.pad += draw.integer(1, vector);
  if (draw.chance(1, 5)) at.shift = draw.integer(1, vector);
  return at;
}

inline masthead::Dtype draw_dtype(Draw& draw) {
  using masthead::Dtype;
  return draw.share<Dtype>({{Dtype::f32, 5}, {Dtype::f64, 2}, {Dtype::f16, 2}, {Dtype::bf16, 2}});
}

/// The powers of two that normal elements of a dtype may be multiplied by; double as float.
inline std::pair<int, int> exponents_of(masthead::Dtype dtype) {
  return dtype == masthead::Dtype::f16 ? std::pair(-12, 13) : std::pair(-120, 124);
}

inline void draw_softmax(Draw& draw, const Limits& limits, Case& c) {
  using masthead::Dtype;
  struct Types {
    Dtype x, y;
  };
  const Types types = draw.share<Types>({{{Dtype::f32, Dtype::f32}, 4},
                                         {{Dtype::bf16, Dtype::bf16}, 3},
                                         {{Dtype::f16, Dtype::f16}, 3},
                                         {{Dtype::bf16, Dtype::f32}, 2},
                                         {{Dtype::f32, Dtype::bf16}, 1},
                                         {{Dtype::f64, Dtype::f64}, 2}});
  c.x = types.x, c.y = types.y;
  c.rows = draw_size(draw, limits.side), c.columns = draw_size(draw, limits.side);
  shrink({&c.rows, &c.columns}, draw.chance(1, 2), [&] { return c.rows * c.columns <= limits.outputs; });
  c.data = draw.share<Data>({{Data::normal, 4},
                             {Data::positive, 2},
                             {Data::log_uniform, 3},
                             {Data::equal, 3},
                             {Data::neighbors, 3},
                             {Data::peaks, 3},
                             {Data::masked, 4},
                             {Data::magnitudes, 3}});
  c.output = draw.chance(2, 5) ? masthead::Output::log_softmax : masthead::Output::softmax;
  c.special = draw.chance(1, 6) ? Special::some_rows : Special::none;
  c.scale_of = draw.share<ScaleOf>({{ScaleOf::absent, 2}, {ScaleOf::one, 4}, {ScaleOf::per_column, 3}});
  c.scale = draw.share<ScaleValue>(
      {{ScaleValue::ordinary, 4}, {ScaleValue::unit, 2}, {ScaleValue::zero, 1}, {ScaleValue::power, 3}});
  c.scale_dtype = draw_dtype(draw);
  // Largest |x| < 2^(most + 1). Products must stay finite in float.
  const int range = exponents_of(c.x).second + 3;  // 2^16 is above half's largest, 2^127 is not above float's
  int most = 3;
  if (c.data == Data::magnitudes) {
    c.x_exponent = draw.exponent(exponents_of(c.x).first, exponents_of(c.x).second);
    most = c.x_exponent + 2;
  }
  if (c.data == Data::log_uniform || c.data == Data::equal || c.data == Data::neighbors ||
      c.data == Data::peaks || c.data == Data::masked) {
    most = range;
  }
  const int room = 126 - most;  // |scale| < 2^(room + 1)
  if (c.scale == ScaleValue::power) {
    const int highest = c.scale_dtype == Dtype::f16 ? 14 : 126,
              lowest = c.scale_dtype == Dtype::f16 ? -13 : -120;
    const int top = room < highest ? (room > lowest ? room : lowest) : highest;
    // Half of them at the top of what is allowed, the others anywhere.
    c.scale_exponent = draw.chance(1, 2) ? top - draw.exponent(0, 3) : draw.exponent(lowest, top);
    if (c.scale_exponent < lowest) c.scale_exponent = lowest;
  } else if (c.scale == ScaleValue::ordinary) {
    c.scale_exponent = room < 1 ? room : 1;  // below 2^2, or 2^-1 where x takes all there is
    if (c.scale_exponent < -1) c.scale_exponent = -1;
  }
  c.twins = draw.chance(1, 3);
  c.in_place = c.x == c.y && draw.chance(1, 5);
  c.of_x = draw_placement(draw, c.x, c.columns, false);
  c.of_y = c.in_place ? c.of_x : draw_placement(draw, c.y, c.columns, false);
}

/// The powers of two of x, the weight and the scale.
inline void draw_magnitudes(Draw& draw, Case& c) {
  using masthead::Dtype;
  using masthead::Precision;
  auto [low, high] = exponents_of(c.x);
  if (c.precision == Precision::fp8) low = -85, high = 85;
  int depth = 0;  // |x w| grows by the root of in_features; the weight is divided by it
  while ((c.in_features >> (2 * depth)) > 1) ++depth;
  c.x_exponent = draw.exponent(low, high);
  // The weight has to make of it a z in range: of a variance, too, in training mode.
  const int most = c.training() ? 50 : 118, least = c.training() ? -50 : -100;
  int w_low = least - c.x_exponent, w_high = most - c.x_exponent;
  if (w_low < low + depth) w_low = low + depth;
  if (w_high > high) w_high = high;
  if (w_low > w_high) c.x_exponent = 0, w_low = w_high = 0;
  c.w_exponent = draw.exponent(w_low, w_high);
  if (c.scale_of == ScaleOf::absent || c.scale != ScaleValue::power) return;
  const int z = c.training() ? 0 : c.x_exponent + c.w_exponent;
  const int target = draw.pick({0, 3, 10, 40, 100, 120, 122, 123});
  int exponent = target - z;
  const int highest = c.scale_dtype == Dtype::f16 ? 14 : 120,
            lowest = c.scale_dtype == Dtype::f16 ? -13 : -120;
  if (exponent > highest) exponent = highest;
  if (exponent < lowest) exponent = lowest;
  // The scale of fp8's features is folded with that of their weight: docs/arithmetic.md has its range.
  if (c.precision == Precision::fp8 && exponent + c.w_exponent > 60) exponent = 60 - c.w_exponent;
  c.scale_exponent = exponent;
}

inline void draw_head(Draw& draw, const Limits& limits, Case& c) {
  using masthead::Dtype;
  using masthead::Mode;
  using masthead::Precision;
  c.precision = draw.share<Precision>({{Precision::bf16, 5},
                                       {Precision::fp16, 3},
                                       {Precision::tf32, 3},
                                       {Precision::fp32, 3},
                                       {Precision::fp16_scaled, 2},
                                       {Precision::fp8, 2},
                                       {Precision::fp32_ieee, 2},
                                       {Precision::fp64, 1}});
  const bool in_place =
      c.precision == Precision::bf16 || c.precision == Precision::fp16 || c.precision == Precision::tf32;
  const bool packed = masthead::detail::is_packed(masthead::math_mode_of(c.precision));
  c.x = masthead::operand_dtype(c.precision);
  c.y = draw.chance(1, 2) ? c.x : masthead::accumulator_dtype(c.x);
  c.mode = draw.chance(2, 5) ? Mode::training : Mode::eval;
  if (in_place) {
    c.engine = draw.share<EngineOf>(
        {{EngineOf::head, 4}, {EngineOf::simt, 1}, {EngineOf::wgmma, 3}, {EngineOf::swap_ab, 3}});
  } else if (packed) {
    c.engine = draw.share<EngineOf>({{EngineOf::head, 4}, {EngineOf::simt, 1}, {EngineOf::wgmma, 3}});
    if (c.precision == Precision::fp8 && c.engine == EngineOf::simt) c.engine = EngineOf::head;
  } else {
    c.engine = draw.chance(1, 2) ? EngineOf::head : EngineOf::simt;
  }
  c.policy = draw.exponent(0, 23);

  c.rows = draw_size(draw, limits.side), c.columns = draw_size(draw, limits.side);
  c.in_features = draw_size(draw, limits.depth);
  const bool large = limits.outputs >= std::int64_t{1} << 22 && draw.chance(1, 50);
  if (large) {
    // Problems that fill the GPU: what is resident, and what is normalized under later tiles.
    const bool overlapped = draw.chance(1, 3);
    c.rows = overlapped ? draw.pick({3072, 3000, 2304}) : draw.integer(900, 1100);
    c.columns = overlapped ? draw.pick({8192, 10240, 8200}) : draw.integer(8000, 8300);
    c.in_features = draw.integer(8, 64);
    if (c.engine == EngineOf::swap_ab) c.engine = EngineOf::head;
    if (overlapped) c.mode = Mode::eval;
    if (draw.chance(3, 4)) c.y = c.x;
  }
  const std::int64_t outputs = large ? 8 * limits.outputs : limits.outputs;
  const std::int64_t products = large ? 16 * limits.products : limits.products;
  const std::size_t spared = static_cast<std::size_t>(draw.integer(0, 2));
  shrink({&c.rows, &c.columns, &c.in_features}, spared, [&] {
    return c.rows * c.columns <= outputs && c.rows * c.in_features <= limits.operand &&
           c.columns * c.in_features <= limits.operand && c.rows * c.columns <= products / c.in_features;
  });
  // What TMA reads: explicit policies that multiply in place ask for it, and most of the head's own passes.
  const bool by_tma = in_place && (c.engine == EngineOf::wgmma || c.engine == EngineOf::swap_ab ||
                                   (c.engine == EngineOf::head && draw.chance(3, 4)));
  const std::int64_t vector = 16 / masthead::size_of(c.x);
  if (by_tma) c.in_features = c.in_features < vector ? vector : c.in_features / vector * vector;
  if (c.mode == Mode::training && c.rows < 2) c.rows = 2;
  c.output = draw.chance(large ? 1 : 2, 5) ? masthead::Output::log_softmax : masthead::Output::softmax;

  c.data = draw.share<Data>({{Data::normal, 5},
                             {Data::positive, 2},
                             {Data::log_uniform, 2},
                             {Data::outlier, 1},
                             {Data::integers, 4},
                             {Data::distant, 3},
                             {Data::constant, 3},
                             {Data::drift, 2},
                             {Data::magnitudes, 4}});
  c.special = draw.chance(1, c.mode == Mode::training ? 40 : 8) ? Special::some_rows : Special::none;
  c.spread = draw.exponent(2, 16);
  c.twins = draw.chance(1, 3);
  c.has_bias = draw.chance(3, 4), c.has_gamma = draw.chance(3, 4);
  c.beta = draw.share<BetaOf>(
      {{BetaOf::absent, 3}, {BetaOf::ordinary, 8}, {BetaOf::infinite, 1}, {BetaOf::lowest, 1}});
  for (Dtype* dtype :
       {&c.bias_dtype, &c.gamma_dtype, &c.beta_dtype, &c.mean_dtype, &c.var_dtype, &c.scale_dtype}) {
    *dtype = draw_dtype(draw);
  }
  c.scale_of = draw.share<ScaleOf>({{ScaleOf::absent, 2}, {ScaleOf::one, 4}, {ScaleOf::per_column, 3}});
  c.scale = draw.share<ScaleValue>(
      {{ScaleValue::ordinary, 6}, {ScaleValue::unit, 2}, {ScaleValue::zero, 1}, {ScaleValue::power, 3}});
  c.statistics = draw.share<Statistics>({{Statistics::ordinary, 4},
                                         {Statistics::far, 1},
                                         {Statistics::calibrated, 4},
                                         {Statistics::no_variance, 2}});
  c.far_exponent = draw.exponent(1, 16);
  c.epsilon = draw.exponent(0, 3);
  if (c.scale == ScaleValue::ordinary) c.scale_exponent = draw.share<int>({{1, 8}, {11, 1}, {-6, 1}});
  if (c.data == Data::distant) c.x_exponent = draw.exponent(0, 6);
  if (c.data == Data::constant) c.x_exponent = draw.exponent(0, 7);
  if (c.data == Data::drift) c.x_exponent = size_of(c.x) == 2 ? 4 : 10;
  // A batch whose statistics are taken must have some that are finite; and a deviation of 0 has no slope.
  if (c.data == Data::magnitudes) {
    draw_magnitudes(draw, c);
    if (c.statistics != Statistics::far) c.statistics = Statistics::ordinary;
  } else if (c.scale == ScaleValue::power) {
    c.scale_exponent = draw.exponent(-13, 10);
  }
  if (c.special != Special::none && c.statistics != Statistics::far) c.statistics = Statistics::ordinary;
  if (epsilons[c.epsilon] == 0 &&
      (c.training() || c.statistics == Statistics::calibrated || c.statistics == Statistics::no_variance)) {
    c.epsilon = 0;
  }
  // bfloat16 and half hold running statistics coarsely, which makes means of batches far again.
  if (c.statistics == Statistics::calibrated || c.statistics == Statistics::no_variance) {
    if (c.mean_dtype == Dtype::f16) c.mean_dtype = Dtype::f32;
    if (c.var_dtype == Dtype::f16) c.var_dtype = Dtype::f32;
  }
  if (c.statistics == Statistics::far && c.mean_dtype == Dtype::f16) c.mean_dtype = Dtype::f32;
  if (c.scale != ScaleValue::power && c.scale_dtype == Dtype::f16 && c.scale_exponent > 10) {
    c.scale_dtype = Dtype::f32;
  }
  if (c.beta == BetaOf::lowest && (c.beta_dtype == Dtype::f16 || c.beta_dtype == Dtype::f64)) {
    c.beta_dtype = Dtype::f32;
  }
  if (c.beta == BetaOf::lowest && c.scale_of != ScaleOf::absent) c.scale = ScaleValue::unit;
  if (c.scale == ScaleValue::unit || c.scale == ScaleValue::zero) c.scale_exponent = 0;

  c.tracks = c.training() && c.special == Special::none && c.data != Data::magnitudes && draw.chance(1, 2);
  c.cumulative = c.tracks && draw.chance(1, 3);
  c.allocates = c.engine == EngineOf::head && draw.chance(1, 6);
  c.of_x = draw_placement(draw, c.x, c.in_features, by_tma);
  c.of_weight = draw_placement(draw, c.x, c.in_features, by_tma);
  c.of_y = draw_placement(draw, c.y, c.columns, false);
}

}  // namespace detail

/// Case `number` of a run with `seed`.
inline Case make_case(std::uint64_t seed, std::uint64_t number, const Limits& limits = {}) {
  Draw draw(Draw(seed).next() + Draw(~number).next());
  Case c;
  c.seed = seed, c.number = number;
  c.call = draw.chance(2, 5) ? Call::softmax : Call::head;
  c.is_head() ? detail::draw_head(draw, limits, c) : detail::draw_softmax(draw, limits, c);
  c.vector_shift = draw.chance(1, 3) ? draw.integer(1, 3) : 0;
  if (c.scale_of == ScaleOf::absent) c.scale = ScaleValue::unit, c.scale_exponent = 0;
  if (!c.training() && draw.chance(1, 3)) {
    c.part_rows = detail::draw_size(draw, c.rows);
    c.part_first = draw.integer(0, c.rows - c.part_rows);
  }
  c.values = draw.next();
  return c;
}

}  // namespace test::fuzz

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "masthead/plan/forward_plan.hpp"

using namespace masthead;
using namespace masthead::detail;

namespace {

// Clusters of 1, 2, 4 and 8 blocks, one to a multiprocessor: whole GPUs and slices of one.
constexpr DeviceLimits h200{90, 132, 232448, {132, 66, 33, 16}};
constexpr DeviceLimits h100_pcie{90, 114, 232448, {114, 57, 27, 12}};
constexpr DeviceLimits slice_of_60{90, 60, 232448, {60, 30, 14, 7}};
constexpr DeviceLimits slice_of_16{90, 16, 232448, {16, 8, 4, 2}};
constexpr DeviceLimits slice_of_1{90, 1, 232448, {1, 0, 0, 0}};
// MIG slices of a seventh, two and three sevenths of an H200, green contexts of 8, 24 and 116
// multiprocessors, and MPS shares of a tenth, 3 % and 1 %, whose multiprocessors need not lie in one
// processing cluster.
constexpr DeviceLimits mig_1g{90, 16, 232448, {16, 8, 4, 2}};
constexpr DeviceLimits mig_2g{90, 32, 232448, {32, 16, 8, 4}};
constexpr DeviceLimits mig_3g{90, 60, 232448, {60, 30, 15, 7}};
constexpr DeviceLimits green_8{90, 8, 232448, {8, 4, 2, 1}};
constexpr DeviceLimits green_24{90, 24, 232448, {24, 12, 6, 3}};
constexpr DeviceLimits green_116{90, 116, 232448, {116, 58, 28, 13}};
constexpr DeviceLimits mps_10{90, 14, 232448, {14, 7, 3, 1}};
constexpr DeviceLimits mps_3{90, 4, 232448, {4, 2, 1, 0}};
constexpr DeviceLimits mps_1{90, 2, 232448, {2, 1, 0, 0}};
constexpr DeviceLimits parts_of_sm90[] = {h200,      h100_pcie, slice_of_60, slice_of_16, slice_of_1,
                                          mig_1g,    mig_2g,    mig_3g,      green_8,     green_24,
                                          green_116, mps_10,    mps_3,       mps_1};

constexpr int architectures[] = {75, 80, 86, 89, 90, 100, 120};
constexpr Precision precisions[] = {Precision::fp64, Precision::fp32_ieee,   Precision::fp32,
                                    Precision::tf32, Precision::fp16_scaled, Precision::bf16,
                                    Precision::fp16, Precision::fp8};

/// A whole GPU of an architecture.
DeviceLimits limits_of(int architecture) {
  if (architecture == 90) return h200;
  return {architecture, 100, shared_bytes_per_block(architecture), {100, 0, 0, 0}};
}

/// The dtypes y may have beside operands of `precision`.
std::vector<Dtype> dtypes_of_y(Precision precision) {
  const Dtype operand = operand_dtype(precision), sum = accumulator_dtype(operand);
  return operand == sum ? std::vector{sum} : std::vector{operand, sum};
}

std::string text(const PolicySpec& spec, const ForwardShape& s, const DeviceLimits& limits) {
  std::ostringstream out;
  out << spec << ": " << s.batch << " x " << s.in_features << " -> " << s.out_features << ' ' << name(s.mode)
      << ' ' << name(s.output) << " y " << s.y << (s.y_by_tma ? "" : " not by TMA") << " on "
      << limits.multiprocessors << " SMs of sm_" << limits.architecture;
  return out.str();
}

/// The kernels of a path, but for that which packs x.
std::vector<std::string_view> kernels_of(Path path, Engine engine) {
  const bool wgmma = engine == Engine::wgmma;
  const std::string_view linear = wgmma                    ? "linear_two_pass"
                                  : engine == Engine::simt ? "linear_simt"
                                                           : "linear_swap_ab";
  switch (path) {
    case Path::logits:
      return {linear, "softmax"};
    case Path::training:
      if (wgmma) return {linear, "batch_affine", "softmax"};
      return {linear, "column_statistics", "batch_affine", "softmax"};
    case Path::two_pass:
      return {linear, "normalize"};
    case Path::overlapped:
      return {"begin_overlap", "linear_overlapped", "normalize_rest"};
    case Path::resident:
      return {"linear_resident"};
    case Path::resident_training:
      return {"linear_training"};
    case Path::two_pass_training:
      return {linear, "batch_affine_sm90", "normalize_sums"};
    case Path::one_cluster:
      return {linear};
    case Path::row_blocks:
      return {linear, "normalize_logits"};
  }
  return {};
}

bool is_resident(Path path) { return path == Path::resident || path == Path::resident_training; }

std::int64_t blocks_of(std::int64_t size, std::int64_t block) { return size / block + (size % block != 0); }

/// Bytes that a path needs of each slot, by the shapes that the slots' comments give; 0: the slot must be
/// empty.
struct Needed {
  std::int64_t packed_x = 0, logits = 0, partials = 0, overlap = 0, moments = 0, multiplier = 0, addend = 0,
               center = 0;
};

Needed needed_by(Path path, const PolicySpec& spec, const ForwardShape& s) {
  Needed n;
  const bool doubles = spec.dtype == Dtype::f64;
  const std::int64_t sum_bytes = doubles ? 8 : 4, moments_bytes = doubles ? 24 : 16;
  const bool sums_in_y = s.y == (doubles ? Dtype::f64 : Dtype::f32);
  if (spec.dtype != Dtype::e4m3 && is_packed(spec.math_mode)) {
    const std::int64_t parts = spec.math_mode == MathMode::f16x3 ? 2 : 1,
                       element_bytes = spec.math_mode == MathMode::e4m3 ? 1 : 2;
    n.packed_x = s.batch * parts * blocks_of(s.in_features * element_bytes, 16) * 16 +
                 s.batch * (spec.math_mode == MathMode::e4m3 ? 4 : 8);
  }
  const auto logits = [&] {
    if (!sums_in_y) n.logits = s.batch * blocks_of(s.out_features, 4) * 4 * sum_bytes;
  };
  const auto tiles = [&] { n.partials = s.batch * blocks_of(s.out_features, spec.tile.n) * 8; };
  const auto moments = [&](std::int64_t splits) {
    n.moments = splits * s.out_features * moments_bytes;
    n.multiplier = n.addend = s.out_features * sum_bytes;
    n.center = s.out_features * sum_bytes + 4;
  };
  switch (path) {
    case Path::logits:
    case Path::row_blocks:
      logits();
      break;
    case Path::training:
    case Path::two_pass_training:
      logits();
      moments(spec.engine == Engine::wgmma ? blocks_of(s.batch, spec.tile.m)
                                           : std::min<std::int64_t>(blocks_of(s.batch, 128), 512));
      break;
    case Path::two_pass:
      if (spec.engine == Engine::wgmma_swap_ab) {
        n.partials = s.batch * blocks_of(s.out_features, 256) * 4 * 8;  // of column groups, in whole clusters
      } else {
        tiles();
      }
      break;
    case Path::resident:
      tiles();
      break;
    case Path::overlapped:
      tiles();
      n.overlap = 32 * 8 + s.out_features * 12;
      break;
    case Path::resident_training:
      tiles();
      n.moments = blocks_of(s.batch, spec.tile.m) * s.out_features * 8;
      break;
    case Path::one_cluster:
      break;
  }
  return n;
}

/// What is wrong with where a plan keeps things, or nothing.
std::string wrong_with_slots(const ForwardPlan& plan, const ForwardShape& shape) {
  const ForwardWorkspace& w = plan.workspace;
  const Needed needed = needed_by(plan.path, plan.policy, shape);
  const struct {
    const char* name;
    WorkspaceSlot slot;
    std::int64_t needed;
  } slots[] = {{"packed_x", w.packed_x, needed.packed_x}, {"logits", w.logits, needed.logits},
               {"partials", w.partials, needed.partials}, {"overlap", w.overlap, needed.overlap},
               {"moments", w.moments, needed.moments},    {"multiplier", w.multiplier, needed.multiplier},
               {"addend", w.addend, needed.addend},       {"center", w.center, needed.center}};
  for (const auto& a : slots) {
    if (a.slot.bytes < a.needed) return std::string(a.name) + " is too small";
    if (a.needed == 0 && a.slot.bytes != 0) return std::string(a.name) + " is not used";
    if (a.slot.bytes == 0) continue;
    if (a.slot.offset < 0 || a.slot.offset + a.slot.bytes > w.bytes)
      return std::string(a.name) + " lies outside";
    const bool follows = a.slot == w.overlap;
    if (follows ? a.slot.offset != w.partials.offset + w.partials.bytes : a.slot.offset % 256 != 0) {
      return std::string(a.name) + " starts where it must not";
    }
    for (const auto& b : slots) {
      if (&a == &b || b.slot.bytes == 0) continue;
      if (a.slot.offset < b.slot.offset + b.slot.bytes && b.slot.offset < a.slot.offset + a.slot.bytes) {
        return std::string(a.name) + " overlaps " + b.name;
      }
    }
  }
  return {};
}

/// What is wrong with a plan, or nothing.
std::string wrong_with(const ForwardPlan& plan, const PolicySpec& spec, const ForwardShape& shape,
                       const DeviceLimits& limits) {
  if (plan.policy != spec) return "another policy";
  std::vector<std::string_view> kernels = kernels_of(plan.path, spec.engine);
  if (is_packed(spec.math_mode) && spec.dtype != Dtype::e4m3) kernels.insert(kernels.begin(), "pack_operand");
  if (!std::equal(kernels.begin(), kernels.end(), plan.kernels.begin(),
                  plan.kernels.begin() + plan.kernel_count)) {
    return "other kernels";
  }
  if (std::string wrong = wrong_with_slots(plan, shape); !wrong.empty()) return wrong;
  if (plan.shared_bytes != shared_bytes(spec)) return "other shared memory";
  if (plan.cooperative != is_resident(plan.path)) return "cooperative or not";
  if (spec.engine == Engine::wgmma) {
    const int clusters = limits.resident_clusters(spec.cluster_m);
    if (plan.cluster != spec.cluster_m) return "another cluster";
    if (plan.persistent.clusters < 1 || plan.persistent.clusters > clusters) return "persistent clusters";
    if (is_resident(plan.path)) {
      if (plan.resident.columns < 1 || plan.resident.clusters() > clusters) return "resident clusters";
      if (plan.resident.columns * resident_tiles < plan.resident.grid.tiles_n) return "more than its tiles";
    } else if (plan.resident.columns != 0) {
      return "a resident schedule";
    }
    if ((plan.path == Path::overlapped) != (plan.overlap.count() > 0)) return "overlap sections";
    if (plan.path == Path::overlapped && plan.overlap.rows() >= shape.batch)
      return "nothing left to normalize";
  }
  // What is compiled for a policy, and in a head, where the policy serves some numbers of features.
  const FeatureRange selected = selected_features(spec);
  for (const bool log_softmax : {true, false}) {
    if (!log_softmax && shape.output == Output::log_softmax) continue;
    if (!may_take(plan.path, spec, shape.y, shape.mode, {.log_softmax = log_softmax}))
      return "a path not compiled";
    if (selected.least <= shape.out_features && shape.out_features <= selected.most &&
        !may_take(plan.path, spec, shape.y, shape.mode, {.log_softmax = log_softmax, .features = selected})) {
      return "a path not compiled for a head";
    }
  }
  return {};
}

/// Whether a device of these limits runs no cluster of the kernel that the shape asks for.
bool is_refused(const PolicySpec& spec, const ForwardShape& shape, const DeviceLimits& limits) {
  if (shared_bytes(spec) > limits.shared_bytes_per_block) return true;
  const auto none = [&](std::int64_t size) {
    return limits.clusters[size <= 1 ? 0 : size == 2 ? 1 : size <= 4 ? 2 : 3] == 0;
  };
  switch (spec.engine) {
    case Engine::simt:
      return false;
    case Engine::wgmma:
      return none(spec.cluster_m);
    case Engine::wgmma_swap_ab:
      if (fits_one_cluster(spec, shape)) return none((shape.out_features + spec.tile.n - 1) / spec.tile.n);
      return none(keeps_quantized_logits(spec, shape) ? 256 / spec.tile.n : 1);
  }
  return false;
}

constexpr std::int64_t batches[] = {1, 2, 16, 33, 128, 200, 257, 1000, 1024, 3072, 4096, 16384, 100000};
constexpr std::int64_t in_features[] = {100, 1024, 8192};
constexpr std::int64_t out_features[] = {1,    10,   512,   1000,  1025,  4096,
                                         8192, 8200, 16384, 16385, 32769, 128256};

/// Calls visit(precision, architecture, shape) for each shape of the lists above.
template <class Visit>
void for_each_shape(const Visit& visit) {
  for (const Precision precision : precisions) {
    for (const int architecture : architectures) {
      for (const Dtype y : dtypes_of_y(precision)) {
        for (const Mode mode : {Mode::eval, Mode::training}) {
          for (const Output output : {Output::softmax, Output::log_softmax}) {
            for (const bool y_by_tma : {true, false}) {
              if (!y_by_tma && architecture != 90) continue;  // what only the wgmma engine looks at
              for (const std::int64_t batch : batches) {
                for (const std::int64_t in : in_features) {
                  for (const std::int64_t out : out_features) {
                    visit(precision, architecture, ForwardShape{batch, in, out, mode, output, y, y_by_tma});
                  }
                }
              }
            }
          }
        }
      }
    }
  }
}

/// Every policy a head is built with, of every dtype and math mode, and those of operands that are e4m3
/// already.
std::vector<PolicySpec> shipped_policies() {
  std::vector<PolicySpec> all;
  const auto add = [&](const auto& policies) { all.insert(all.end(), policies.begin(), policies.end()); };
  for (const Dtype dtype : {Dtype::f64, Dtype::f32, Dtype::f16, Dtype::bf16}) add(shipped_simt(dtype).all());
  for (const Dtype dtype : {Dtype::f16, Dtype::bf16}) add(shipped_wgmma(MathMode::plain, dtype).all());
  for (const MathMode math_mode : {MathMode::tf32, MathMode::f16, MathMode::f16x3}) {
    add(shipped_wgmma(math_mode, Dtype::f32).all());
  }
  for (const Dtype dtype : {Dtype::bf16, Dtype::e4m3}) add(shipped_wgmma(MathMode::e4m3, dtype).all());
  for (const Dtype dtype : {Dtype::f32, Dtype::f16, Dtype::bf16}) add(shipped_swap_ab(dtype).all());
  return all;
}

/// The dtypes y may have with a policy.
std::vector<Dtype> dtypes_of_y(const PolicySpec& spec) {
  if (spec.dtype == Dtype::e4m3) return {Dtype::bf16, Dtype::f32};
  const Dtype sum = accumulator_dtype(spec.dtype);
  return spec.dtype == sum ? std::vector{sum} : std::vector{spec.dtype, sum};
}

constexpr PolicySpec m128n256 = shipped_wgmma(MathMode::plain, Dtype::bf16).m128;
constexpr ForwardShape big{1024, 8192, 8192, Mode::eval, Output::softmax, Dtype::bf16, true};

constexpr ForwardShape with(void (*change)(ForwardShape&), ForwardShape shape = big) {
  change(shape);
  return shape;
}

/// plan_forward throws, and the Error names these.
void refused(const PolicySpec& spec, const ForwardShape& shape, const DeviceLimits& limits,
             const std::string& argument, const std::string& value, const std::string& rule) {
  CAPTURE(text(spec, shape, limits));
  bool thrown = false;
  try {
    (void)plan_forward(spec, shape, limits);
  } catch (const Error& error) {
    thrown = true;
    CHECK(error.argument() == argument);
    CHECK(error.value() == value);
    CHECK(error.rule() == rule);
    CHECK(error.cuda_error() == 0);
  }
  CHECK(thrown);
}

// --- the choices of commit 5f39e4a ---
//
// data/choices_5f39e4a.txt was printed once by a program that is not kept, compiled against that commit. It
// asked select_policy and HeadWorkspace::of (bytes), keeps_codes and fits_cluster, and followed what that
// commit did next as its private functions have it: HeadLaunch::eval and training, LinearSoftmaxSm90::softmax
// with its resident schedule on 132, 66 and 33 clusters of 1, 2 and 4 blocks, turns_to_finalise and
// EarlySections. Names are today's. Explicit lines are both sides of every change along the batch or along
// out_features, for some sizes of the others; the hashes are of the whole grid below.

constexpr std::int64_t grid_batches[] = {1,    2,    16,   17,   32,   33,   64,   65,    100,
                                         128,  129,  256,  257,  384,  512,  640,  641,   1000,
                                         1024, 1025, 2048, 3071, 3072, 3073, 4096, 16384, 100000};
constexpr std::int64_t grid_in_features[] = {100, 1024, 8192};
constexpr std::int64_t grid_out_features[] = {1,     10,    64,    512,    513,   1000,  1024,
                                              1025,  2048,  4096,  8192,   8200,  16384, 16385,
                                              32768, 32769, 65536, 128256, 152064};

#if defined(MASTHEAD_TEST_DATA)
const std::filesystem::path data_folder = MASTHEAD_TEST_DATA;
#else
const std::filesystem::path data_folder = std::filesystem::path(__FILE__).parent_path() / "data";
#endif

/// A group of the file: what all its shapes share.
struct Group {
  std::string precision;  ///< that of a head, or "e4m3" for operands that are e4m3 already
  int architecture = 0;
  Mode mode = Mode::eval;
  Output output = Output::softmax;
  Dtype y = Dtype::f32;

  PolicySpec policy(const ForwardShape& s) const {
    if (precision == "e4m3") {
      const ShippedWgmma shipped = shipped_wgmma(MathMode::e4m3, Dtype::e4m3);
      return s.batch <= packed_m64_batch ? shipped.m64 : shipped.m128;
    }
    const auto* const found = std::find_if(std::begin(precisions), std::end(precisions),
                                           [&](Precision p) { return name(p) == precision; });
    REQUIRE(found != std::end(precisions));
    return select_policy(*found, architecture, s.batch, s.in_features, s.out_features, true,
                         mode == Mode::training);
  }
  ForwardShape shape(std::int64_t batch, std::int64_t in, std::int64_t out, bool y_by_tma) const {
    return {batch, in, out, mode, output, y, y_by_tma};
  }
};

std::istream& operator>>(std::istream& in, Group& g) {
  std::string mode, output, y;
  in >> g.precision >> g.architecture >> mode >> output >> y;
  g.mode = mode == name(Mode::eval) ? Mode::eval : Mode::training;
  g.output = output == name(Output::softmax) ? Output::softmax : Output::log_softmax;
  for (const Dtype dtype : {Dtype::f64, Dtype::f32, Dtype::f16, Dtype::bf16}) {
    if (name(dtype) == y) g.y = dtype;
  }
  return in;
}

/// The name that the file has for a path: engines had paths of their own.
std::string path_of_5f39e4a(const ForwardPlan& plan) {
  if (plan.policy.engine == Engine::simt) return "simt";
  std::string path = plan.policy.engine == Engine::wgmma_swap_ab ? "swap_ab_" : "";
  return path += name(plan.path);
}

/// Bytes of the workspace that are for centers, which 5f39e4a did not have.
std::int64_t centers_of(const ForwardPlan& plan, const ForwardShape& shape) {
  const auto padded = [](std::int64_t bytes) { return blocks_of(bytes, 256) * 256; };
  const std::int64_t n = shape.out_features;
  if (shape.mode == Mode::training) {
    return padded(blocks_of(n, 4) * 4 * (plan.policy.dtype == Dtype::f64 ? 8 : 4) + 4);
  }
  if (plan.policy.engine != Engine::wgmma || size_of(shape.y) != 2 || shape.output != Output::softmax ||
      !overlaps_normalization(shape.batch, n)) {
    return 0;
  }
  const std::int64_t before = shape.batch * blocks_of(n, plan.policy.tile.n) * 8 + 32 * 8 + n * 8;
  return padded(before + n * 4) - padded(before);
}

/// A shape and what is chosen for it, as in the file. The last number is that of columns: of a resident
/// schedule, or those that an overlapped one splits.
std::string line(const Group& group, const ForwardShape& s, const DeviceLimits& limits) {
  const ForwardPlan plan = plan_forward(group.policy(s), s, limits);
  std::ostringstream out;
  out << s.batch << ' ' << s.in_features << ' ' << s.out_features << ' ' << s.y_by_tma << ' ' << plan.policy
      << ' ' << path_of_5f39e4a(plan) << ' ' << plan.workspace.bytes - centers_of(plan, s) << ' '
      << std::max(plan.resident.columns, plan.persistent.split_columns) << '\n';
  return out.str();
}

/// The number of shapes of the grid in a group, and the FNV-1a hash of their lines.
std::pair<std::int64_t, std::uint64_t> hash_of(const Group& group, const DeviceLimits& limits) {
  std::uint64_t hash = 14695981039346656037u;
  std::int64_t count = 0;
  for (const std::int64_t batch : grid_batches) {
    if (batch == 1 && group.mode == Mode::training) continue;
    for (const std::int64_t in : grid_in_features) {
      for (const std::int64_t out : grid_out_features) {
        for (const bool y_by_tma : {true, false}) {
          if (!y_by_tma && group.architecture != 90) continue;
          for (const char c : line(group, group.shape(batch, in, out, y_by_tma), limits)) {
            hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
          }
          ++count;
        }
      }
    }
  }
  return {count, hash};
}

}  // namespace

TEST_SUITE("host plan") {
  TEST_CASE("plans are made at compile time") {
    static_assert(plan_forward(m128n256, big, h200).path == Path::resident);
    static_assert(plan_forward(m128n256, big, h200).resident.clusters() == 64);
    static_assert(plan_forward(m128n256, big, h100_pcie).path == Path::two_pass);
    static_assert(plan_forward(m128n256, with([](ForwardShape& s) { s.batch = 4096; }), h200).path ==
                  Path::overlapped);
    static_assert(plan_forward(m128n256, with([](ForwardShape& s) { s.mode = Mode::training; }), h200).path ==
                  Path::resident_training);
    static_assert(plan_forward(m128n256, with([](ForwardShape& s) { s.output = Output::log_softmax; }), h200)
                      .kernel_count == 2);
    constexpr ForwardPlan few_rows =
        plan_forward(shipped_swap_ab(Dtype::bf16).m16n64k1, {16, 4096, 500}, h200);
    static_assert(few_rows.path == Path::one_cluster && few_rows.cluster == 8 &&
                  few_rows.workspace.bytes == 0);
    CHECK(few_rows.kernels[0] == "linear_swap_ab");
  }

  TEST_CASE("plans of many shapes, precisions, architectures and slices keep to their slots and limits") {
    std::int64_t planned = 0, refusals = 0;
    std::set<Path> reached;
    for_each_shape([&](Precision precision, int architecture, const ForwardShape& shape) {
      const PolicySpec spec = select_policy(precision, architecture, shape.batch, shape.in_features,
                                            shape.out_features, true, shape.mode == Mode::training);
      const std::int64_t bytes = plan_workspace(spec, shape).bytes;
      const auto check = [&](const DeviceLimits& limits) {
        if (is_refused(spec, shape, limits)) {
          ++refusals;
          bool thrown = false;
          try {
            (void)plan_forward(spec, shape, limits);
          } catch (const Error& error) {
            thrown = error.argument() == "policy" && error.value() == to_string(spec);
          }
          REQUIRE_MESSAGE(thrown, text(spec, shape, limits));
          return;
        }
        const ForwardPlan plan = plan_forward(spec, shape, limits);
        ++planned;
        reached.insert(plan.path);
        const std::string wrong = wrong_with(plan, spec, shape, limits);
        REQUIRE_MESSAGE(wrong.empty(), text(spec, shape, limits), ": ", wrong, '\n', plan);
        REQUIRE_MESSAGE(plan.workspace.bytes == bytes, text(spec, shape, limits));
      };
      if (architecture != 90) return check(limits_of(architecture));
      for (const DeviceLimits& limits : parts_of_sm90) check(limits);
    });
    CHECK(planned > 100000);
    CHECK(refusals > 1000);
    CHECK(reached.size() == path_count);
  }

  TEST_CASE("the checks of a plan see slots that are too small, overlap, or lie outside, and other kernels") {
    const ForwardShape shape = with([](ForwardShape& s) { s.batch = 4096; });
    const ForwardPlan good = plan_forward(m128n256, shape, h200);
    REQUIRE(good.path == Path::overlapped);
    REQUIRE(wrong_with(good, m128n256, shape, h200).empty());
    const auto wrong = [&](void (*change)(ForwardPlan&)) {
      ForwardPlan bad = good;
      change(bad);
      return wrong_with(bad, m128n256, shape, h200);
    };
    CHECK(wrong([](ForwardPlan& p) { --p.workspace.partials.bytes; }) == "partials is too small");
    CHECK(wrong([](ForwardPlan& p) { p.workspace.partials.offset = 8; }) ==
          "partials starts where it must not");
    CHECK(wrong([](ForwardPlan& p) { p.workspace.overlap.offset += 256; }) == "overlap lies outside");
    CHECK(wrong([](ForwardPlan& p) { p.workspace.logits = {0, 256}; }) == "logits is not used");
    CHECK(wrong([](ForwardPlan& p) { p.workspace.bytes = 256; }) == "partials lies outside");
    CHECK(wrong([](ForwardPlan& p) { --p.kernel_count; }) == "other kernels");
    CHECK(wrong([](ForwardPlan& p) { std::swap(p.kernels[0], p.kernels[1]); }) == "other kernels");
    CHECK(wrong([](ForwardPlan& p) { p.persistent.clusters = 67; }) == "persistent clusters");
    CHECK(wrong([](ForwardPlan& p) { p.path = Path::two_pass; }) != "");

    const ForwardShape training = with([](ForwardShape& s) { s.mode = Mode::training, s.batch = 5000; });
    ForwardPlan overlaps = plan_forward(m128n256, training, h200);
    REQUIRE(wrong_with(overlaps, m128n256, training, h200).empty());
    overlaps.workspace.addend.offset = overlaps.workspace.multiplier.offset;
    CHECK(wrong_with(overlaps, m128n256, training, h200) == "multiplier overlaps addend");
  }

  TEST_CASE("every shipped policy has a plan for every shape, also where a head does not select it") {
    std::int64_t planned = 0;
    std::set<Path> reached;
    for (const PolicySpec& spec : shipped_policies()) {
      for (const Dtype y : dtypes_of_y(spec)) {
        for (const Mode mode : {Mode::eval, Mode::training}) {
          for (const Output output : {Output::softmax, Output::log_softmax}) {
            for (const std::int64_t batch : batches) {
              for (const std::int64_t out : out_features) {
                const ForwardShape shape{batch, 1024, out, mode, output, y, true};
                const ForwardPlan plan = plan_forward(spec, shape, h200);
                const std::string wrong = wrong_with(plan, spec, shape, h200);
                REQUIRE_MESSAGE(wrong.empty(), text(spec, shape, h200), ": ", wrong, '\n', plan);
                reached.insert(plan.path);
                ++planned;
              }
            }
          }
        }
      }
    }
    CHECK(planned > 10000);
    CHECK(reached.size() == path_count - 1);
    CHECK(reached.count(Path::two_pass_training) == 0);  // an H200 holds what the largest sm_90 holds
  }

  TEST_CASE("on parts of a device a pass has the arithmetic of the whole one, and what waits fits") {
    // Paths with the same bits: float sums and an exact softmax, quantized logits of eval mode, of training
    // mode, or one cluster.
    const auto arithmetic = [](Path path) {
      switch (path) {
        case Path::logits:
        case Path::training:
          return 0;
        case Path::two_pass:
        case Path::overlapped:
        case Path::resident:
        case Path::row_blocks:
          return 1;
        case Path::resident_training:
        case Path::two_pass_training:
          return 2;
        case Path::one_cluster:
          return 3;
      }
      return -1;
    };
    std::int64_t compared = 0, other_paths = 0;
    std::set<Path> training;
    for_each_shape([&](Precision precision, int architecture, const ForwardShape& shape) {
      if (architecture != 90) return;
      const PolicySpec spec = select_policy(precision, architecture, shape.batch, shape.in_features,
                                            shape.out_features, true, shape.mode == Mode::training);
      const ForwardPlan whole = plan_forward(spec, shape, h200);
      for (const DeviceLimits& limits : parts_of_sm90) {
        if (is_refused(spec, shape, limits)) continue;
        const ForwardPlan part = plan_forward(spec, shape, limits);
        REQUIRE_MESSAGE(arithmetic(part.path) == arithmetic(whole.path), text(spec, shape, limits), '\n',
                        part, whole);
        REQUIRE_MESSAGE(part.workspace.bytes == whole.workspace.bytes, text(spec, shape, limits));
        if (part.cooperative) {
          REQUIRE_MESSAGE(part.resident.clusters() * part.cluster <= limits.multiprocessors,
                          text(spec, shape, limits));
        }
        other_paths += part.path != whole.path;
        if (shape.mode == Mode::training) training.insert(part.path);
        ++compared;
      }
    });
    CHECK(compared > 100000);
    CHECK(other_paths > 1000);
    CHECK(training == std::set{Path::training, Path::resident_training, Path::two_pass_training});
  }

  TEST_CASE("16 multiprocessors run 1024 x 512 -> 8192 in both modes, in the workspace of a whole device") {
    for (const DeviceLimits& limits : {mig_1g, mps_10, green_8}) {
      ForwardShape shape{1024, 512, 8192, Mode::eval, Output::softmax, Dtype::bf16, true};
      CHECK(plan_forward(m128n256, shape, h200).path == Path::resident);
      CHECK(plan_forward(m128n256, shape, limits).path == Path::two_pass);
      shape.mode = Mode::training;
      CHECK(plan_forward(m128n256, shape, h200).path == Path::resident_training);
      const ForwardPlan plan = plan_forward(m128n256, shape, limits);
      CHECK(plan.path == Path::two_pass_training);
      CHECK_FALSE(plan.cooperative);
      CHECK(plan.workspace.bytes == plan_forward(m128n256, shape, h200).workspace.bytes);
    }
  }

  TEST_CASE("the two-pass training path keeps the affine in one piece, and partials in shared memory") {
    std::int64_t checked = 0;
    std::int64_t most_parts = 0;
    for_each_shape([&](Precision precision, int architecture, const ForwardShape& shape) {
      if (architecture != 90 || shape.mode != Mode::training) return;
      const PolicySpec spec = select_policy(precision, architecture, shape.batch, shape.in_features,
                                            shape.out_features, true, true);
      if (is_refused(spec, shape, mig_1g)) return;
      const ForwardPlan plan = plan_forward(spec, shape, mig_1g);
      if (plan.path != Path::two_pass_training) return;
      const WorkspaceSlot &multiplier = plan.workspace.multiplier, &addend = plan.workspace.addend;
      REQUIRE(addend.offset + addend.bytes - multiplier.offset >= 8 * shape.out_features);
      most_parts = std::max<std::int64_t>(most_parts, plan.persistent.grid.tiles_n);
      ++checked;
    });
    CHECK(checked > 0);
    // 16 rows of partials beside 16.5 KB.
    CHECK(most_parts * 16 * 8 + 17 * 1024 <= shared_bytes_per_block(90));
  }

  TEST_CASE("a path is compiled for no policy of an engine without it") {
    const auto engines_with = [](Path path) -> std::set<Engine> {
      switch (path) {
        case Path::logits:
        case Path::training:
          return {Engine::simt, Engine::wgmma, Engine::wgmma_swap_ab};
        case Path::two_pass:
          return {Engine::wgmma, Engine::wgmma_swap_ab};
        case Path::overlapped:
        case Path::resident:
        case Path::resident_training:
        case Path::two_pass_training:
          return {Engine::wgmma};
        case Path::one_cluster:
        case Path::row_blocks:
          return {Engine::wgmma_swap_ab};
      }
      return {};
    };
    for (const PolicySpec& spec : shipped_policies()) {
      for (int i = 0; i < path_count; ++i) {
        const auto path = static_cast<Path>(i);
        for (const Dtype y : dtypes_of_y(spec)) {
          const bool may =
              may_take(path, spec, y, Mode::eval, {}) || may_take(path, spec, y, Mode::training, {});
          if (engines_with(path).count(spec.engine) == 0) CHECK_FALSE(may);
        }
      }
    }
    // What a head need not compile: log-softmax and other widths.
    const ShippedSwapAb swap_ab = shipped_swap_ab(Dtype::bf16);
    const ForwardUse head{.log_softmax = false, .features = selected_features(swap_ab.m16n64k1)};
    CHECK(may_take(Path::one_cluster, swap_ab.m16n64k1, Dtype::bf16, Mode::eval, head));
    for (const Path path : {Path::two_pass, Path::row_blocks, Path::logits}) {
      CHECK_FALSE(may_take(path, swap_ab.m16n64k1, Dtype::bf16, Mode::eval, head));
    }
    const ForwardUse wide{.features = selected_features(swap_ab.m128n128k1)};
    CHECK_FALSE(may_take(Path::one_cluster, swap_ab.m128n128k1, Dtype::bf16, Mode::eval, wide));
    CHECK_FALSE(may_take(Path::two_pass, swap_ab.m128n128k1, Dtype::bf16, Mode::eval, wide));
    CHECK_FALSE(may_take(Path::logits, m128n256, Dtype::bf16, Mode::eval, {.log_softmax = false}));
  }

  TEST_CASE("a policy's workspace does not shrink when the batch grows") {
    std::int64_t compared = 0;
    for (const PolicySpec& spec : shipped_policies()) {
      for (const Dtype y : dtypes_of_y(spec)) {
        for (const Mode mode : {Mode::eval, Mode::training}) {
          for (const Output output : {Output::softmax, Output::log_softmax}) {
            for (const std::int64_t out : out_features) {
              std::int64_t last = 0;
              for (std::int64_t batch = 1; batch < 200000; batch += batch < 100 ? 1 : batch / 16) {
                const ForwardShape shape{batch, 1024, out, mode, output, y, true};
                const std::int64_t bytes = plan_workspace(spec, shape).bytes;
                REQUIRE_MESSAGE(bytes >= last, text(spec, shape, h200));
                last = bytes;
                ++compared;
              }
            }
          }
        }
      }
    }
    CHECK(compared > 100000);
  }

  TEST_CASE("the path depends on the clusters that are resident, the workspace does not") {
    const auto path = [](const DeviceLimits& limits) { return plan_forward(m128n256, big, limits).path; };
    DeviceLimits limits = h200;
    limits.clusters[1] = 64;
    CHECK(path(limits) == Path::resident);
    limits.clusters[1] = 63;
    CHECK(path(limits) == Path::two_pass);
    CHECK(path(slice_of_16) == Path::two_pass);
    CHECK(plan_forward(m128n256, big, slice_of_16).workspace.bytes ==
          plan_forward(m128n256, big, h200).workspace.bytes);
    CHECK(plan_forward(m128n256, big, slice_of_16).persistent.clusters == 8);
    CHECK(h200.resident_clusters(1) == 132);
    CHECK(h200.resident_clusters(2) == 66);
    CHECK(h200.resident_clusters(4) == 33);
    CHECK(h200.resident_clusters(8) == 16);
  }

  TEST_CASE("a y that TMA cannot write keeps its path, but for the overlapped one") {
    for (const std::int64_t batch : {1, 256, 1024, 3000, 4096}) {
      ForwardShape shape = big;
      shape.batch = batch;
      const ForwardPlan by_tma = plan_forward(m128n256, shape, h200);
      shape.y_by_tma = false;
      const ForwardPlan plan = plan_forward(m128n256, shape, h200);
      CHECK(plan.path == (by_tma.path == Path::overlapped ? Path::two_pass : by_tma.path));
      CHECK(plan.workspace.bytes == by_tma.workspace.bytes);
    }
  }

  TEST_CASE("sizes that do not fit in 63 bits are refused") {
    constexpr std::int64_t huge = std::int64_t{1} << 40;
    const std::string rule = "its size in bytes must fit in 63 bits";
    const auto shape = [&](Mode mode, Output output) {
      return ForwardShape{huge, 8192, huge, mode, output, Dtype::bf16, true};
    };
    const std::string all = std::to_string(huge) + " * " + std::to_string(huge),
                      at_once = std::to_string(most_rows_at_once) + " * " + std::to_string(huge);
    refused(shipped_simt(Dtype::bf16).m32n64, shape(Mode::eval, Output::softmax), h200, "workspace", at_once,
            rule);
    refused(m128n256, shape(Mode::eval, Output::log_softmax), h200, "workspace", at_once, rule);
    refused(m128n256, shape(Mode::training, Output::softmax), h200, "workspace", all, rule);
    // The sum of slots that each fit.
    const std::int64_t rows = std::int64_t{1} << 36, columns = (std::int64_t{1} << 24) - 4;
    const ForwardShape sum{rows, 16, columns, Mode::training, Output::softmax, Dtype::bf16, true};
    refused(m128n256, with([](ForwardShape& s) { s.batch *= 2; }, sum), h200, "workspace",
            std::to_string(2 * rows) + " * " + std::to_string(columns), rule);
    // x in its packed form.
    const ForwardShape packed{huge, huge, 8, Mode::eval, Output::softmax, Dtype::f32, true};
    refused(shipped_wgmma(MathMode::f16x3, Dtype::f32).m128, packed, h200, "workspace",
            std::to_string(most_rows_at_once) + " * 8", rule);
  }

  TEST_CASE("2^30 tiles are refused, one column of tiles less is not") {
    for (const PolicySpec& spec :
         {m128n256, shipped_wgmma(MathMode::plain, Dtype::bf16).m64, shipped_swap_ab(Dtype::bf16).m16n64k2}) {
      const std::int64_t batch = 1 << 23, tiles_m = batch / (spec.tile.m * spec.cluster_m),
                         columns = (std::int64_t{1} << 30) / tiles_m * spec.tile.n;
      ForwardShape shape{batch, 8192, columns, Mode::eval, Output::softmax, Dtype::f32, true};
      refused(spec, shape, h200, "y.shape", shape_text(batch, columns),
              "must be fewer than 2^30 tiles of " + to_string(spec));
      shape.out_features -= spec.tile.n;
      CHECK_NOTHROW((void)plan_forward(spec, shape, h200));
      // The SIMT engine counts blocks in 64 bits.
      shape.out_features = columns;
      CHECK_NOTHROW((void)plan_forward(shipped_simt(Dtype::bf16).m32n64, shape, h200));
    }
  }

  TEST_CASE("what TMA cannot address goes to the SIMT engine, or is refused") {
    constexpr std::int64_t most = most_tma_extent;
    const auto engine = [](Precision precision, std::int64_t batch, std::int64_t in, std::int64_t out,
                           bool training) {
      return select_policy(precision, 90, batch, in, out, true, training).engine;
    };
    for (const Precision precision : {Precision::bf16, Precision::tf32, Precision::fp32}) {
      CHECK(engine(precision, 1000, 1 << 10, most / 256 * 256, false) != Engine::simt);
      CHECK(engine(precision, 1000, 1 << 10, (most / 256 + 1) * 256, false) == Engine::simt);
      CHECK(engine(precision, 1000, (most / 256 + 1) * 256, 8192, false) == Engine::simt);
      CHECK(engine(precision, most, 8, 8192, true) != Engine::simt);
      CHECK(engine(precision, most + 1, 8, 8192, true) == Engine::simt);
      CHECK(engine(precision, most + 1, 8, 8192, false) != Engine::simt);  // some rows at a time
    }
    const PolicySpec fp8 = shipped_wgmma(MathMode::e4m3, Dtype::bf16).m128;
    const auto rule = [](const PolicySpec& spec) {
      return "must be at most " + std::to_string(most_tma_extent) + " for " + to_string(spec);
    };
    const ForwardShape shape{1000, 16, 16, Mode::training, Output::softmax, Dtype::bf16, true};
    refused(fp8, with([](ForwardShape& s) { s.out_features = most + 1; }, shape), h200, "weight.rows",
            std::to_string(most + 1), rule(fp8));
    refused(fp8, with([](ForwardShape& s) { s.in_features = most + 1; }, shape), h200, "x.columns",
            std::to_string(most + 1), rule(fp8));
    refused(m128n256, with([](ForwardShape& s) { s.batch = most + 1; }, shape), h200, "x.rows",
            std::to_string(most + 1), rule(m128n256));
    CHECK_NOTHROW((void)plan_forward(m128n256, with([](ForwardShape& s) { s.batch = most; }, shape), h200));
  }

  TEST_CASE("eval mode works on at most 2^24 rows at once, in one workspace") {
    for (const PolicySpec& spec :
         {m128n256, shipped_simt(Dtype::bf16).m32n64, shipped_swap_ab(Dtype::bf16).m32n64k1}) {
      const auto plan = [&](std::int64_t batch, Mode mode) {
        return plan_forward(spec, {batch, 8, 2, mode, Output::softmax, Dtype::bf16, false}, h200);
      };
      const std::int64_t most = most_rows_at_once;
      CHECK(plan(1000, Mode::eval).rows == 1000);
      CHECK(plan(most, Mode::eval).rows == most);
      CHECK(plan((std::int64_t{1} << 31) + 1000, Mode::eval).rows == most);
      CHECK(plan((std::int64_t{1} << 31) + 1000, Mode::eval) == plan(most, Mode::eval));
      CHECK(plan(most + 1, Mode::training).rows == most + 1);
    }
  }

  TEST_CASE("a device that runs no cluster of a policy is refused") {
    refused(m128n256, big, slice_of_1, "policy", to_string(m128n256),
            "must fit on the device: it runs no cluster of this policy");
    const PolicySpec m64 = shipped_wgmma(MathMode::plain, Dtype::bf16).m64;
    CHECK(plan_forward(m64, big, slice_of_1).persistent.clusters == 1);
  }

  TEST_CASE("a device with too little shared memory is refused") {
    const DeviceLimits turing{75, 40, 65536, {40, 0, 0, 0}};
    for (const PolicySpec& spec :
         {m128n256, shipped_swap_ab(Dtype::bf16).m64n64k1, shipped_simt(Dtype::f32).m256n128}) {
      refused(spec, big, turing, "policy", to_string(spec),
              "needs " + std::to_string(shared_bytes(spec)) +
                  " bytes of shared memory a block, this device has 65536");
    }
    DeviceLimits exact = h200;
    exact.shared_bytes_per_block = shared_bytes(m128n256);
    CHECK_NOTHROW((void)plan_forward(m128n256, big, exact));
    --exact.shared_bytes_per_block;
    CHECK_THROWS_AS((void)plan_forward(m128n256, big, exact), Error);
  }

  TEST_CASE("a plan prints what runs, what it needs and where it keeps what") {
    const auto printed = [](const ForwardPlan& plan) {
      std::ostringstream out;
      out << plan;
      return out.str();
    };
    CHECK(printed(plan_forward(m128n256, big, h200)) ==
          "policy     wgmma_bf16_128x256x64_t384_s3_c2\n"
          "path       resident\n"
          "kernels    linear_resident\n"
          "device     221168 bytes of shared memory per block, clusters of 2, all resident at once\n"
          "workspace  262144 bytes\n"
          "  softmax partials at 0, 262144 bytes\n");
    CHECK(printed(plan_forward(m128n256, with([](ForwardShape& s) { s.batch = 4096; }), h200)) ==
          "policy     wgmma_bf16_128x256x64_t384_s3_c2\n"
          "path       overlapped\n"
          "kernels    begin_overlap -> linear_overlapped -> normalize_rest\n"
          "device     221168 bytes of shared memory per block, clusters of 2\n"
          "workspace  1147136 bytes\n"
          "  softmax partials at 0, 1048576 bytes\n"
          "  overlap at 1048576, 98560 bytes\n");
    const PolicySpec m32n64 = shipped_simt(Dtype::bf16).m32n64;
    CHECK(printed(plan_forward(m32n64, {10, 100, 50, Mode::training, Output::softmax, Dtype::bf16, true},
                               h200)) ==
          "policy     simt_bf16_32x64x32_t128_s3\n"
          "path       training\n"
          "kernels    linear_simt -> column_statistics -> batch_affine -> softmax\n"
          "device     23040 bytes of shared memory per block, clusters of 1\n"
          "workspace  4096 bytes\n"
          "  logits at 0, 2080 bytes\n"
          "  moments at 2304, 832 bytes\n"
          "  multiplier at 3328, 208 bytes\n"
          "  addend at 3584, 208 bytes\n"
          "  center at 3840, 212 bytes\n");
    for (int i = 0; i < path_count; ++i) CHECK(name(static_cast<Path>(i)) != "");
    CHECK(name(Path::row_blocks) == "row_blocks");
  }

  TEST_CASE("plans are equal when the same runs in the same workspace") {
    const ForwardPlan plan = plan_forward(m128n256, big, h200);
    CHECK(plan == plan_forward(m128n256, big, h200));
    CHECK_FALSE(plan != plan_forward(m128n256, big, h200));
    CHECK(plan != plan_forward(shipped_wgmma(MathMode::plain, Dtype::f16).m128, big, h200));
    CHECK(plan != plan_forward(m128n256, big, h100_pcie));
    CHECK(plan != plan_forward(m128n256, with([](ForwardShape& s) { s.batch = 1023; }), h200));
    CHECK(plan !=
          plan_forward(m128n256, with([](ForwardShape& s) { s.output = Output::log_softmax; }), h200));
    CHECK(plan != plan_forward(m128n256, with([](ForwardShape& s) { s.mode = Mode::training; }), h200));
    CHECK(h200 == h200);
    CHECK(h200 != h100_pcie);
  }

  TEST_CASE("the choices of commit 5f39e4a are reproduced") {
    std::ifstream file(data_folder / "choices_5f39e4a.txt");
    REQUIRE_MESSAGE(file.good(), (data_folder / "choices_5f39e4a.txt").string());
    std::int64_t groups = 0, lines = 0, shapes = 0, other_hashes = 0;
    Group group;
    for (std::string text; std::getline(file, text);) {
      CAPTURE(text);
      if (text.starts_with('#')) continue;
      std::istringstream in(text);
      if (text.starts_with("group ")) {
        std::string word;
        std::int64_t count = 0;
        std::uint64_t hash = 0;
        in >> word >> group >> count >> std::hex >> hash;
        REQUIRE(!in.fail());
        const auto computed = hash_of(group, limits_of(group.architecture));
        CHECK(computed.first == count);
        CHECK(computed.second == hash);
        // With fewer resident clusters other paths are taken.
        if (group.architecture == 90) other_hashes += hash_of(group, h100_pcie).second != hash;
        shapes += count;
        ++groups;
        continue;
      }
      std::int64_t batch = 0, in_features_ = 0, out_features_ = 0;
      bool y_by_tma = false;
      in >> batch >> in_features_ >> out_features_ >> y_by_tma;
      REQUIRE(!in.fail());
      const ForwardShape shape = group.shape(batch, in_features_, out_features_, y_by_tma);
      CHECK(line(group, shape, limits_of(group.architecture)) == text + '\n');
      ++lines;
    }
    CHECK(groups == 124);
    CHECK(lines == 396);
    CHECK(shapes == 265848);
    CHECK(other_hashes > 0);
  }
}

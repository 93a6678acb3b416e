/// Random calls against float64, under a forward error bound for each element.
///
///     fuzz --cases 100000 --seed 1
///     fuzz --seed 1 --case 4711
///     fuzz --seed 1 --plant-fault
///
/// A case is a call of scale_softmax or of a head: fuzz_cases.hpp draws it, fuzz_values.hpp says what memory
/// holds, and fuzz_judge.hpp derives what each element of the result should be and how far it may be from
/// that. Outputs are poisoned with NaN and lie between canaries, as workspaces and running statistics do;
/// inputs must not change; in some cases rows must have the same bits in another batch, and equal columns the
/// same bits in one row.
///
/// --cases N     how many (200)
/// --seed S      where they start; by default the time, which is printed. A seed means the same cases on
///               every machine.
/// --case K      only this one
/// --plant-fault a control: in each case, one fault is made in a right result (an element just out of its
///               bounds, two elements swapped, one not written, a canary, an input or a bit of a row
///               changed), and the program fails unless it finds every one
///
/// The last line says how many cases were wrong and the largest error as a part of its bound; lines before it
/// say the same by kind of call, as bounds that are too loose would show there. Each failure has all
/// parameters of the case and the command that repeats it. Exit status: 0, 1 for a fault, 77 without a GPU
/// that this program has code for (1 under MASTHEAD_REQUIRE_GPU=1). MASTHEAD_TEST_SMALL=1: a tenth of the
/// cases, small ones.

#include <cuda_runtime.h>

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "../support/fuzz_device.cuh"
#include "../support/fuzz_kernels.cuh"

namespace test::fuzz {

// ---- Workplace

Workplace::Workplace() {
  std::size_t free = 0, total = 0;
  succeed(cudaMemGetInfo(&free, &total));
  arena_bytes_ = std::int64_t{3} << 30;
  if (static_cast<std::int64_t>(free) < arena_bytes_ + (std::int64_t{1} << 28)) {
    throw std::runtime_error("the device has " + std::to_string(free) + " bytes free, " +
                             std::to_string(arena_bytes_) + " are needed");
  }
  succeed(cudaMalloc(&arena_, static_cast<std::size_t>(arena_bytes_)));
  succeed(cudaMalloc(&verdict_, sizeof(VerdictMemory)));
  succeed(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
}

Workplace::~Workplace() {
  cudaStreamDestroy(stream_);
  cudaFree(verdict_);
  cudaFree(arena_);
}

template <class T>
T* Workplace::take_array(std::int64_t count) {
  const std::int64_t bytes = (count * static_cast<std::int64_t>(sizeof(T)) + 255) / 256 * 256;
  if (bytes > arena_bytes_ - used_) throw std::runtime_error("a case does not fit in the arena");
  T* const array = reinterpret_cast<T*>(arena_ + used_);
  used_ += bytes;
  return array;
}

Region Workplace::take(Dtype dtype, std::int64_t rows, std::int64_t columns, const Placement& at) {
  Region r;
  r.dtype = dtype, r.rows = rows, r.columns = columns, r.row_stride = columns + at.pad;
  r.offset = fence + at.shift * bytes_of(dtype);
  r.bytes = r.offset + rows * r.row_stride * bytes_of(dtype) + fence;
  r.memory = take_array<unsigned char>(r.bytes);
  succeed(cudaMemsetAsync(r.memory, canary, static_cast<std::size_t>((r.bytes + 255) / 256 * 256), stream_));
  return r;
}

void Workplace::add_vector(Region& vector, bool present, Dtype dtype, std::int64_t size, Stream role) {
  vector = {};
  if (!present) return;
  vector = take(dtype, 1, size, {0, c.vector_shift});
  fill_vector_kernel<<<blocks_for(size), threads, 0, stream_>>>(c, role, vector);
}

void Workplace::begin(const Case& of) {
  c = of;
  used_ = 0;
  x = weight = y = part = bias = gamma = beta = mean = var = scale = {};
  running_mean = running_var = batches_tracked = workspace = {};
  const std::int64_t n = c.columns, k = c.is_head() ? c.in_features : n;
  x = take(c.x, c.rows, k, c.of_x);
  fill_matrix_kernel<<<blocks_for(c.rows * k), threads, 0, stream_>>>(
      c, c.is_head() ? Content::head_x : Content::softmax_x, x);
  pristine_x_ = x.data();
  add_vector(scale, c.scale_of != ScaleOf::absent, c.scale_dtype, c.scale_of == ScaleOf::one ? 1 : n,
             stream_scale);
  if (c.is_head()) {
    weight = take(c.x, n, k, c.of_weight);
    fill_matrix_kernel<<<blocks_for(n * k), threads, 0, stream_>>>(c, Content::head_weight, weight);
    add_vector(bias, c.has_bias, c.bias_dtype, n, stream_bias);
    add_vector(gamma, c.has_gamma, c.gamma_dtype, n, stream_gamma);
    add_vector(beta, c.beta != BetaOf::absent, c.beta_dtype, n, stream_beta);
    add_vector(mean, true, c.mean_dtype, n, stream_mean);
    add_vector(var, true, c.var_dtype, n, stream_var);
  }
  inputs_ = used_;
  y = take(c.y, c.rows, n, c.of_y);
  if (c.in_place) {
    succeed(cudaMemcpyAsync(y.memory, x.memory, static_cast<std::size_t>(x.bytes), cudaMemcpyDeviceToDevice,
                            stream_));
    x = y;
  }
  if (c.part_rows > 0) part = take(c.y, c.part_rows, n, c.of_y);
  if (c.tracks) {
    running_mean = take(c.mean_dtype, 1, n, {0, c.vector_shift});
    running_var = take(c.var_dtype, 1, n, {0, c.vector_shift});
    batches_tracked = take(Dtype::f64, 1, 1, {});
  }
  if (!c.is_head()) {
    const std::int64_t count = c.scale_of == ScaleOf::per_column ? n : 1;
    scales_ = take_array<double>(count);
    widen_kernel<<<blocks_for(count), threads, 0, stream_>>>(scale, 1, scales_, count);
  }
  succeed(cudaGetLastError());
}

void Workplace::set_reference(bool tensor, MathMode mode) {
  packed_ = masthead::detail::is_packed(mode);
  const std::int64_t m = c.rows, n = c.columns, k = c.in_features;
  z_ = take_array<double>(m * n), error_ = take_array<double>(m * n);
  features_ = take_array<FeatureTerms>(n), batch_ = take_array<BatchTerms>(n);
  const std::int64_t kept = used_;
  double* const largest_x = take_array<double>(m);
  double* const largest_w = take_array<double>(n);
  double* const of_x = take_array<double>(m * k);
  double* const of_w = take_array<double>(n * k);
  const auto prepare = [&](const Region& r, double* largest, double* to) {
    largest_kernel<<<static_cast<unsigned>((r.rows + 7) / 8), threads, 0, stream_>>>(r, largest);
    multiplied_kernel<<<blocks_for(r.rows * r.columns), threads, 0, stream_>>>(r, mode, largest, to);
  };
  prepare(x, largest_x, of_x);
  prepare(weight, largest_w, of_w);
  const dim3 grid(static_cast<unsigned>((n + tile - 1) / tile),
                  static_cast<unsigned>(std::min<std::int64_t>((m + tile - 1) / tile, 65535)));
  product_kernel<<<grid, tile * tile / tile_rows, 0, stream_>>>(
      {of_x, of_w, largest_x, largest_w, m, n, k, sum_error(c, tensor, mode), z_, error_});

  const int splits = static_cast<int>(std::clamp<std::int64_t>(m / 256, 1, 256));
  ColumnSums* const sums = take_array<ColumnSums>(splits * n);
  const dim3 columns(static_cast<unsigned>((n + 31) / 32), static_cast<unsigned>(splits)), block(32, 8);
  column_kernel<false><<<columns, block, 0, stream_>>>(z_, error_, m, n, batch_, sums);
  batch_kernel<false><<<blocks_for(n), threads, 0, stream_>>>(sums, splits, m, n, batch_);
  column_kernel<true><<<columns, block, 0, stream_>>>(z_, error_, m, n, batch_, sums);
  batch_kernel<true><<<blocks_for(n), threads, 0, stream_>>>(sums, splits, m, n, batch_);
  feature_kernel<<<blocks_for(n), threads, 0, stream_>>>(
      c, epsilons[c.epsilon], {bias, gamma, beta, mean, var, scale, batch_, features_});
  succeed(cudaGetLastError());
  used_ = kept;  // what follows is on the same stream
}

void Workplace::poison(std::int64_t workspace_bytes) {
  const auto fill = [&](const Region& r) {
    if (!r.present()) return;
    const auto pitch = static_cast<std::size_t>(r.row_stride * bytes_of(r.dtype)),
               width = static_cast<std::size_t>(r.columns * bytes_of(r.dtype)),
               height = static_cast<std::size_t>(r.rows);
    if (pitch == width || height == 1) {
      succeed(cudaMemsetAsync(r.data(), poison_byte, width * height, stream_));
    } else {
      succeed(cudaMemset2DAsync(r.data(), pitch, poison_byte, width, height, stream_));
    }
  };
  if (!c.in_place) fill(y);
  fill(part);
  if (workspace_bytes > 0) {
    workspace = take(Dtype::e4m3, 1, workspace_bytes, {});
    fill(workspace);
  }
  if (running_mean.present()) {
    fill_running_kernel<<<blocks_for(c.columns), threads, 0, stream_>>>(
        c, running_mean, running_var, static_cast<std::int64_t*>(batches_tracked.data()));
  }
  succeed(cudaMemsetAsync(verdict_, 0, sizeof(VerdictMemory), stream_));
  hash_inputs(0);
  succeed(cudaGetLastError());
}

void Workplace::hash_inputs(int slot) {
  unsigned long long* const hash = &static_cast<VerdictMemory*>(verdict_)->hashes[slot];
  hash_kernel<<<blocks_for(inputs_ / 8), threads, 0, stream_>>>(
      reinterpret_cast<const std::uint64_t*>(arena_), inputs_ / 8, hash);
}

void Workplace::check_around(const Region& region, Fault fault) {
  if (!region.present()) return;
  const std::int64_t pad = (region.row_stride - region.columns) * bytes_of(region.dtype);
  around_kernel<<<blocks_for(region.rows * pad + 2 * fence), threads, 0, stream_>>>(
      region, fault, static_cast<VerdictMemory*>(verdict_));
}

void Workplace::judge(bool quantized, Found& found, std::int64_t target_row, std::int64_t target_column) {
  VerdictMemory* const memory = static_cast<VerdictMemory*>(verdict_);
  // All but the hash of what the inputs were.
  VerdictMemory v{};
  succeed(cudaMemcpyAsync(&v, memory, sizeof(v), cudaMemcpyDeviceToHost, stream_));
  succeed(cudaStreamSynchronize(stream_));
  const unsigned long long hash = v.hashes[0];
  v = {};
  v.hashes[0] = hash;
  succeed(cudaMemcpyAsync(memory, &v, sizeof(v), cudaMemcpyHostToDevice, stream_));

  RowRules rules = row_rules(c, quantized);
  rules.target_row = target_row, rules.target_column = target_column;
  const auto judge_with = [&](const auto& logits) {
    using Logits = std::remove_cvref_t<decltype(logits)>;
    if (c.columns > 1024) {
      judge_kernel<true, Logits>
          <<<static_cast<unsigned>(std::min<std::int64_t>(c.rows, 1 << 20)), threads, 0, stream_>>>(
              logits, rules, y, memory);
    } else {
      judge_kernel<false, Logits>
          <<<static_cast<unsigned>((c.rows + threads / 32 - 1) / (threads / 32)), threads, 0, stream_>>>(
              logits, rules, y, memory);
    }
  };
  if (c.is_head()) {
    judge_with(HeadLogits{z_, error_, features_, c.columns, sums_of(c.x), c.data == Data::integers, packed_});
  } else {
    const bool per_column = c.scale_of == ScaleOf::per_column && c.columns > 1;
    judge_with(
        SoftmaxLogits{pristine_x_, c.x, c.columns + c.of_x.pad, scales_, per_column, sums_of(c.x), false});
  }
  check_around(y, Fault::around_y);
  check_around(part, Fault::around_y);
  check_around(workspace, Fault::around_workspace);
  if (running_mean.present()) {
    check_around(running_mean, Fault::around_running);
    check_around(running_var, Fault::around_running);
    check_around(batches_tracked, Fault::around_running);
    running_kernel<<<blocks_for(c.columns), threads, 0, stream_>>>(
        c, running_mean, running_var, static_cast<const std::int64_t*>(batches_tracked.data()), bias, batch_,
        memory);
  }
  if (part.present()) {
    part_kernel<<<blocks_for(part.rows * part.columns), threads, 0, stream_>>>(part, y, c.part_first, memory);
  }
  hash_inputs(1);
  succeed(cudaGetLastError());
  succeed(cudaMemcpyAsync(&v, memory, sizeof(v), cudaMemcpyDeviceToHost, stream_));
  succeed(cudaStreamSynchronize(stream_));

  const bool changed = v.hashes[0] != v.hashes[1];
  found.faults = v.faults + (changed ? 1 : 0);
  found.first = v.faults > 0 ? v.fault : changed ? Fault::input_changed : Fault::none;
  found.row = v.row, found.column = v.column, found.got = v.got, found.low = v.low, found.high = v.high;
  std::memcpy(&found.most_used, &v.used, sizeof(double));
  found.unjudged_rows = static_cast<std::int64_t>(v.unjudged);
  found.has_target = v.has_target != 0, found.target_is_nan = v.target_is_nan != 0;
  found.target_low = v.target_low, found.target_high = v.target_high;
}

namespace {

// ---- one case

void run_call(Workplace& place, Found& found, bool& quantized) {
  using masthead::Precision;
  if (!place.c.is_head()) return run_softmax(place);
  switch (place.c.precision) {
    case Precision::fp64:
      return run_head<Precision::fp64>(place, found, quantized);
    case Precision::fp32_ieee:
      return run_head<Precision::fp32_ieee>(place, found, quantized);
    case Precision::fp32:
      return run_head<Precision::fp32>(place, found, quantized);
    case Precision::tf32:
      return run_head<Precision::tf32>(place, found, quantized);
    case Precision::fp16_scaled:
      return run_head<Precision::fp16_scaled>(place, found, quantized);
    case Precision::bf16:
      return run_head<Precision::bf16>(place, found, quantized);
    case Precision::fp16:
      return run_head<Precision::fp16>(place, found, quantized);
    case Precision::fp8:
      return run_head<Precision::fp8>(place, found, quantized);
  }
}

/// Throws where the context is lost.
Found run_case(Workplace& place, const Case& c, bool& quantized) {
  Found found;
  place.begin(c);
  try {
    run_call(place, found, quantized);
  } catch (const masthead::Error& error) {
    found.thrown = error.what();
    found.faults = 1, found.first = Fault::threw;
    succeed(cudaStreamSynchronize(place.stream()));
    return found;
  }
  if (found.skipped.empty()) place.judge(quantized, found);
  return found;
}

std::string text_of(const Found& found) {
  std::ostringstream out;
  out.precision(9);
  out << found.faults << (found.faults == 1 ? " fault: " : " faults, one: ") << name(found.first);
  if (found.first == Fault::threw) {
    out << ": " << found.thrown;
  } else if (found.first != Fault::input_changed) {
    out << ", (" << found.row << ", " << found.column << ") is " << found.got << ", should be in ["
        << found.low << ", " << found.high << ']';
  }
  return out.str();
}

// ---- planted faults

/// Elements of y in host memory.
struct Element {
  Region y;
  std::int64_t row, column;

  unsigned char* address() const {
    return y.memory + y.offset + (row * y.row_stride + column) * bytes_of(y.dtype);
  }
  double get() const {
    unsigned char bytes[8];
    succeed(
        cudaMemcpy(bytes, address(), static_cast<std::size_t>(bytes_of(y.dtype)), cudaMemcpyDeviceToHost));
    return load_element(bytes, y.dtype, 0);
  }
  void set(double value) const {
    unsigned char bytes[8];
    store_element(bytes, y.dtype, 0, value);
    succeed(
        cudaMemcpy(address(), bytes, static_cast<std::size_t>(bytes_of(y.dtype)), cudaMemcpyHostToDevice));
  }
};

void flip(unsigned char* address) {
  unsigned char byte;
  succeed(cudaMemcpy(&byte, address, 1, cudaMemcpyDeviceToHost));
  byte ^= 0x10;
  succeed(cudaMemcpy(address, &byte, 1, cudaMemcpyHostToDevice));
}

enum class Plant { above_bound, swapped, around_y, around_workspace, unwritten, input, other_bits, count_ };

constexpr const char* name(Plant plant) {
  constexpr const char* names[] = {
      "an element just above its bound", "two elements swapped",      "a byte beside y",
      "a byte beside the workspace",     "an element left unwritten", "an input changed",
      "a bit of a row alone changed"};
  return names[static_cast<int>(plant)];
}

/// Makes one fault in the right result of a case, of the kind that is its turn, or of one that is possible
/// there.
Plant plant_fault(Workplace& place, bool quantized) {
  const Case& c = place.c;
  Draw draw(c.values);
  Element element{place.y, draw.integer(0, c.rows - 1), draw.integer(0, c.columns - 1)};
  auto plant = static_cast<Plant>(c.number % static_cast<std::uint64_t>(Plant::count_));
  if (plant == Plant::other_bits && !place.part.present()) plant = Plant::above_bound;
  if (plant == Plant::around_workspace && !place.workspace.present()) plant = Plant::around_y;
  if (plant == Plant::unwritten && c.in_place) plant = Plant::above_bound;  // it has no poison
  const auto bounds = [&] {
    Found found;
    place.judge(quantized, found, element.row, element.column);
    return found;
  };
  if (plant == Plant::swapped) {
    Element most = element, least = element;
    double highest = element.get(), lowest = highest;
    for (int i = 0; i < 64; ++i) {
      Element other = element;
      other.column = draw.integer(0, c.columns - 1);
      const double value = other.get();
      if (value > highest) most = other, highest = value;
      if (value < lowest) least = other, lowest = value;
    }
    element = least;
    const Found found = bounds();
    if (found.has_target && !found.target_is_nan && highest > found.target_high) {
      least.set(highest);
      most.set(lowest);
      return plant;
    }
    plant = Plant::above_bound;
  }
  if (plant == Plant::above_bound) {
    const Found found = bounds();
    if (found.has_target && found.target_is_nan) {
      element.set(0.25);
      return plant;
    }
    if (found.has_target && found.target_high < 0.5 * largest_of(c.y)) {
      element.set(few_units_above(found.target_high, c.y));
      return plant;
    }
    plant = Plant::around_y;
  }
  switch (plant) {
    case Plant::around_y: {
      const std::int64_t bytes = bytes_of(c.y);
      if (place.y.row_stride > c.columns && draw.chance(1, 2)) {
        element.column = draw.integer(c.columns, place.y.row_stride - 1);
        flip(element.address());
      } else {
        const std::int64_t end = place.y.offset + c.rows * place.y.row_stride * bytes;
        flip(place.y.memory + (draw.chance(1, 2) ? place.y.offset - 1 : end));
      }
      break;
    }
    case Plant::around_workspace:
      flip(place.workspace.memory + place.workspace.offset + place.workspace.columns);
      break;
    case Plant::unwritten:
      succeed(cudaMemset(element.address(), poison_byte, static_cast<std::size_t>(bytes_of(c.y))));
      break;
    case Plant::input:
      flip(static_cast<unsigned char*>(place.scale.present() ? place.scale.data() : place.first_input()));
      break;
    default: {
      Element other{place.part, 0, element.column};
      flip(other.address());
      break;
    }
  }
  return plant;
}

// ---- the run

struct Options {
  std::uint64_t cases = 200, seed = 0;
  std::int64_t only = -1;
  bool has_seed = false, plant = false;
};

[[noreturn]] void usage(const std::string& why) {
  std::cerr << why << "\nusage: fuzz [--cases N] [--seed S] [--case K] [--plant-fault]\n";
  std::exit(2);
}

Options read_options(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (option == "--device") continue;  // what all device tests are given
    if (option == "--plant-fault") {
      options.plant = true;
      continue;
    }
    if (option != "--cases" && option != "--seed" && option != "--case")
      usage("unknown option " + std::string(option));
    if (++i == argc) usage(std::string(option) + " needs a number");
    char* end = nullptr;
    const std::uint64_t value = std::strtoull(argv[i], &end, 0);
    if (end == argv[i] || *end != '\0') usage(std::string(argv[i]) + " is no number");
    if (option == "--cases") options.cases = value;
    if (option == "--case") options.only = static_cast<std::int64_t>(value);
    if (option == "--seed") options.seed = value, options.has_seed = true;
  }
  if (!options.has_seed) {
    options.seed = static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
  }
  return options;
}

/// The kind of call that the largest part of the bound is told for.
std::string kind_of(const Case& c) {
  std::ostringstream out;
  if (c.is_head()) {
    out << "head " << c.precision << ' ' << name(c.mode);
  } else {
    out << "scale_softmax " << c.x;
  }
  out << (c.y == sums_of(c.x) ? "" : ", rounded y");
  return out.str();
}

/// Whether the GPU at hand can run this program; says why not.
bool has_gpu() {
  int devices = 0;
  cudaError_t error = cudaGetDeviceCount(&devices);
  if (error == cudaSuccess && devices == 0) error = cudaErrorNoDevice;
  cudaFuncAttributes attributes{};
  if (error == cudaSuccess) error = cudaFuncGetAttributes(&attributes, fill_vector_kernel);
  if (error == cudaSuccess) return true;
  std::fprintf(stderr, "fuzz: no usable CUDA device: %s\n", cudaGetErrorString(error));
  return false;
}

int run(const Options& options, bool small) {
  const Limits limits = small ? Limits::small() : Limits();
  const std::uint64_t cases = small ? options.cases / 10 : options.cases;
  using Clock = std::chrono::steady_clock;
  std::cout << "fuzz: seed " << options.seed << (options.plant ? ", a fault planted in each case" : "")
            << std::endl;
  Workplace place;
  std::map<std::string, double> used;
  std::uint64_t done = 0, wrong = 0, skipped = 0, planted = 0, missed = 0;
  std::int64_t unjudged = 0, rows = 0;
  double most_used = 0;
  auto told = Clock::now();
  const std::uint64_t begin = options.only >= 0 ? static_cast<std::uint64_t>(options.only) : 0,
                      end = options.only >= 0 ? begin + 1 : cases;
  const auto report = [&](const Case& c, const std::string& text) {
    if (wrong + missed > 50) return;  // more would say no more
    std::cout << "case " << c.number << ": " << text << "\n  " << c
              << "\n  again: " << (small ? "MASTHEAD_TEST_SMALL=1 " : "") << "fuzz --seed " << options.seed
              << " --case " << c.number << (options.plant ? " --plant-fault" : "") << std::endl;
  };
  for (std::uint64_t number = begin; number < end; ++number) {
    const Case c = make_case(options.seed, number, limits);
    bool quantized = false;
    Found found;
    try {
      found = run_case(place, c, quantized);
    } catch (const std::exception& error) {
      ++wrong;
      report(c, error.what());
      return 1;  // the context may be lost
    }
    ++done;
    if (!found.skipped.empty()) {
      ++skipped;
      continue;
    }
    rows += c.rows;
    unjudged += found.unjudged_rows;
    if (found.faults > 0) {
      ++wrong;
      if (!options.plant) report(c, text_of(found));
      continue;
    }
    double& of_kind = used[kind_of(c)];
    of_kind = std::max(of_kind, found.most_used);
    // Rounding y to 16 bits comes close to its bound in every large case, and says nothing.
    if (c.y == sums_of(c.x)) most_used = std::max(most_used, found.most_used);
    if (options.only >= 0) std::cout << "case " << number << ": " << c << '\n';
    if (options.plant) {
      const Plant plant = plant_fault(place, quantized);
      succeed(cudaDeviceSynchronize());  // it was made on another stream
      Found again;
      place.judge(quantized, again);
      ++planted;
      if (again.faults == 0) {
        ++missed;
        report(c, std::string("not found: ") + name(plant));
      } else if (options.only >= 0) {
        std::cout << "planted " << name(plant) << "; found " << text_of(again) << '\n';
      }
    }
    if (Clock::now() - told > std::chrono::seconds(5)) {
      told = Clock::now();
      std::cerr << "fuzz: " << done << " of " << end - begin << " cases, " << wrong << " wrong" << std::endl;
    }
  }
  for (const auto& [kind, part] : used) std::printf("max error/bound %.3f  %s\n", part, kind.c_str());
  if (skipped > 0)
    std::printf("SKIPPED: %" PRIu64 " cases that this GPU or this code has no engine for\n", skipped);
  std::printf("fuzz: %" PRId64 " of %" PRId64 " rows leave the range of float and were not judged\n",
              unjudged, rows);
  if (options.plant) {
    std::printf("fuzz: %" PRIu64 " cases, %" PRIu64 " faults planted, %" PRIu64 " found, seed %" PRIu64 "\n",
                done, planted, planted - missed, options.seed);
    return planted > 0 && missed == 0 ? 0 : 1;
  }
  std::printf("fuzz: %" PRIu64 " cases, %" PRIu64 " wrong, seed %" PRIu64 ", max error/bound %.3f\n", done,
              wrong, options.seed, most_used);
  return wrong > 0 ? 1 : 0;
}

}  // namespace

}  // namespace test::fuzz

int main(int argc, char** argv) {
  using namespace test::fuzz;
  const Options options = read_options(argc, argv);
  const auto is_set = [](const char* variable) {
    const char* value = std::getenv(variable);
    return value != nullptr && std::string_view(value) == "1";
  };
  if (!has_gpu()) return is_set("MASTHEAD_REQUIRE_GPU") ? 1 : 77;
  const bool small = is_set("MASTHEAD_TEST_SMALL");
  try {
    return run(options, small);
  } catch (const std::exception& error) {
    std::cerr << "fuzz: " << error.what() << std::endl;
    return 1;
  }
}

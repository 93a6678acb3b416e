/// Times scale_softmax beside a device-to-device copy of the same bytes, which is one read and one write too.
///
///     softmax --problem 1024x8192 --dtype bf16 --timing both --json softmax.json
///     softmax --problem 1024x8192 --policies
///
/// Every system's output is checked before it is timed; exit status 1 if one is wrong.

#include <CLI/CLI.hpp>
#include <array>
#include <cstdint>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "masthead/core/dtype.cuh"
#include "masthead/policy/softmax_policy.hpp"
#include "masthead/scale_softmax.cuh"
#include "support/cache.cuh"
#include "support/copy.cuh"
#include "support/cuda.cuh"
#include "support/environment.cuh"
#include "support/program.cuh"
#include "support/random_fill.cuh"
#include "support/report.hpp"
#include "support/sizes.hpp"
#include "support/softmax_error.cuh"
#include "support/timing.cuh"

namespace {

namespace mh = masthead;
using namespace benchmark;

/// What --policies times: choices of the library for long rows, and their neighbors.
constexpr std::array<mh::SoftmaxSpec, 9> candidates{{{256, 32},
                                                     {512, 32},
                                                     {128, 64},
                                                     {256, 64},
                                                     {256, 16},
                                                     {512, 16},
                                                     {256, 32, 1, 32},
                                                     {256, 64, 1, 0, true},
                                                     {256, 32, 1, 32, true}}};

/// One problem in one dtype: rotating sets of x and y on the device.
template <class T>
class SoftmaxBenchmark {
 public:
  SoftmaxBenchmark(std::int64_t rows, std::int64_t columns, cudaStream_t stream)
      : rows_(rows), columns_(columns), stream_(stream), scale_(1), column_scale_(columns) {
    random_fill(scale_, Uniform{1.2, 1.3}, 1, stream);
    random_fill(column_scale_, Uniform{-1.3, 1.3}, 2, stream);
    const int sets = rotation_sets(2 * rows * columns * static_cast<std::int64_t>(sizeof(T)));
    for (int i = 0; i < sets; ++i) {
      const Set& set =
          sets_.emplace_back(Set{DeviceBuffer<T>(rows * columns), DeviceBuffer<T>(rows * columns)});
      random_fill(set.x, Normal{0, 2}, static_cast<std::uint64_t>(100 + i), stream);
      poison(set.y, stream);
    }
  }

  void run(bool policies, const CommonOptions& options, const CacheSweep& sweep, Report& report) {
    const Case of{std::to_string(rows_) + 'x' + std::to_string(columns_), std::string(name(mh::dtype_of<T>)),
                  "softmax"};
    std::vector<System> systems = {
        {"copy",
         [this](int set, cudaStream_t stream) {
           succeed(cudaMemcpyAsync(y(set).data, x(set).data, static_cast<std::size_t>(bytes()),
                                   cudaMemcpyDeviceToDevice, stream));
         }},
        {"copy_kernel",
         [this](int set, cudaStream_t stream) { copy(y(set).data, x(set).data, bytes(), stream); }},
        {"masthead",
         [this](int set, cudaStream_t stream) { mh::scale_softmax(x(set), scale(), y(set), stream); }},
        {per_column, [this](int set, cudaStream_t stream) {
           mh::scale_softmax(x(set), mh::ConstVector{column_scale_.data(), columns_}, y(set), stream);
         }}};
    if (policies) add_candidates(systems, std::make_index_sequence<candidates.size()>());

    for (const System& system : systems) report.add(check(of, system));
    Sampling sampling = options.sampling;
    sampling.sets = static_cast<int>(sets_.size());
    for (const Timing timing : options.timings()) {
      report.add(of, timing, names(systems), measure(systems, timing, sampling, sweep, stream_));
    }
  }

 private:
  static constexpr const char* per_column = "masthead_column_scale";

  struct Set {
    DeviceBuffer<T> x, y;
  };

  template <std::size_t... indices>
  void add_candidates(std::vector<System>& systems, std::index_sequence<indices...>) {
    (add_candidate<
         mh::SoftmaxPolicy<candidates[indices].threads, candidates[indices].items, candidates[indices].rows,
                           candidates[indices].shared_items, candidates[indices].past_l1>>(systems),
     ...);
  }

  template <class Policy>
  void add_candidate(std::vector<System>& systems) {
    std::ostringstream name;
    name << Policy::spec;
    systems.push_back({name.str(), [this](int set, cudaStream_t stream) {
                         mh::scale_softmax<Policy>(x(set), scale(), y(set), mh::Output::softmax, stream);
                       }});
  }

  std::int64_t bytes() const { return rows_ * columns_ * static_cast<std::int64_t>(sizeof(T)); }
  mh::ConstVector scale() const { return {scale_.data(), 1}; }
  mh::Matrix<const T> x(int set) const {
    return {sets_[static_cast<std::size_t>(set)].x.data(), rows_, columns_};
  }
  mh::Matrix<T> y(int set) const { return {sets_[static_cast<std::size_t>(set)].y.data(), rows_, columns_}; }

  /// Copies must be exact, everything else is softmax.
  Check check(const Case& of, const System& system) const {
    poison(sets_[0].y, stream_);
    system.call(0, stream_);
    const std::int64_t unwritten = count_nan(sets_[0].y, stream_);
    const bool is_copy = system.name.starts_with("copy");
    const std::vector<double> scale = system.name == per_column
                                          ? to_host(column_scale_.data(), columns_, stream_)
                                          : to_host(scale_.data(), 1, stream_);
    SoftmaxError error;
    for (const std::int64_t row : sampled_rows(rows_, 8)) {
      std::vector<double> reference = to_host(x(0).data + row * columns_, columns_, stream_);
      const std::vector<double> got = to_host(y(0).data + row * columns_, columns_, stream_);
      if (is_copy) {
        if (got != reference) return {of, system.name, "copied rows that differ", 1, false, ""};
        continue;
      }
      for (std::size_t c = 0; c < reference.size(); ++c) reference[c] *= scale[c % scale.size()];
      log_softmax(reference);
      error.add(got, reference, mh::dtype_of<T>);
    }
    return {of,
            system.name,
            is_copy ? "copied rows that differ" : "max|dlogp|",
            error.log_difference,
            unwritten == 0 && error.acceptable(mh::dtype_of<T>),
            std::to_string(unwritten) + " NaN"};
  }

  std::int64_t rows_, columns_;
  cudaStream_t stream_;
  DeviceBuffer<float> scale_, column_scale_;
  std::vector<Set> sets_;
};

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Times masthead's scale_softmax beside a copy of the same bytes", "softmax");
  std::vector<std::string> problems = {"1024x8192", "4096x32768", "64x128256"}, dtypes = {"f32", "bf16"};
  bool policies = false;
  CommonOptions options;
  app.add_option("--problem", problems, "rows x columns; repeatable")->capture_default_str();
  app.add_option("--dtype", dtypes, "of x and y; repeatable")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
  app.add_flag("--policies", policies, "also time every candidate policy");
  options.add_to(app);

  return run_program(app, argc, argv, [&] {
    std::vector<std::vector<std::int64_t>> sizes;
    for (const std::string& problem : problems) sizes.push_back(parse_sizes(problem, 2));

    const Stream stream;
    const CacheSweep sweep(stream);
    Report report(current_environment("softmax", options.commit), options.sampling);
    for (const std::vector<std::int64_t>& size : sizes) {
      for (const std::string& dtype : dtypes) {
        if (dtype == "f32") {
          SoftmaxBenchmark<float>(size[0], size[1], stream).run(policies, options, sweep, report);
        } else {
          SoftmaxBenchmark<__nv_bfloat16>(size[0], size[1], stream).run(policies, options, sweep, report);
        }
      }
    }
    report.print_table();
    if (!options.json.empty()) report.write_json(options.json, current_clocks());
    return report.all_right() ? 0 : 1;
  });
}

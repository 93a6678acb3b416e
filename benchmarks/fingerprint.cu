/// Prints a hash of the bits that every kind of call leaves, so that two builds can be told to compute the
/// same.
///
///     fingerprint --commit $(git rev-parse --short HEAD) --output before.txt
///     fingerprint --compare before.txt
///     fingerprint --only head/bf16/eval --only softmax/f32
///
/// The first line says where it ran; then `<hash> <case>` a line, sorted by case. A case that this GPU cannot
/// take reads `skipped <case>: why`. The hash is over y, without what pads its rows, and in training mode
/// over the running statistics; fingerprint/memory.cuh has its definition. Compare on one kind of GPU: which
/// kernels run depends on its number of multiprocessors. Exit status 1 if a case failed, that is if elements
/// of y were not written, others were, bits depend on what memory held before or the library threw, and with
/// --compare if a case differs or is missing on one side.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "fingerprint/cases.hpp"
#include "fingerprint/memory.cuh"
#include "fingerprint/run.hpp"
#include "masthead/core/dtype.hpp"
#include "masthead/core/error.hpp"
#include "support/cuda.cuh"
#include "support/environment.cuh"
#include "support/program.cuh"

namespace {

namespace mh = masthead;
using namespace benchmark;

constexpr std::int64_t arena_bytes = std::int64_t{2} << 30;

/// A case with what runs it.
struct Entry {
  std::string name;
  std::function<Outcome(Arena&, cudaStream_t)> run;
};

template <class Case, class Runner>
Entry entry(const Case& of, const std::map<std::string, Runner>& runners, const std::string& key) {
  return {of.name(),
          [of, run = runners.at(key)](Arena& arena, cudaStream_t stream) { return run(of, arena, stream); }};
}

/// Sorted by name. Throws when two cases share one.
std::vector<Entry> all_entries() {
  using P = mh::Precision;
  using D = mh::Dtype;
  const std::map<std::string, Outcome (*)(const HeadCase&, Arena&, cudaStream_t)> heads{
      {"fp64", &run_head<P::fp64>},
      {"fp32_ieee", &run_head<P::fp32_ieee>},
      {"fp32", &run_head<P::fp32>},
      {"tf32", &run_head<P::tf32>},
      {"fp16_scaled", &run_head<P::fp16_scaled>},
      {"bf16", &run_head<P::bf16>},
      {"fp16", &run_head<P::fp16>},
      {"fp8", &run_head<P::fp8>}};
  const std::map<std::string, Outcome (*)(const SoftmaxCase&, Arena&, cudaStream_t)> softmaxes{
      {"f64 f64", &run_softmax<D::f64, D::f64>},     {"f32 f32", &run_softmax<D::f32, D::f32>},
      {"f16 f16", &run_softmax<D::f16, D::f16>},     {"f16 f32", &run_softmax<D::f16, D::f32>},
      {"bf16 bf16", &run_softmax<D::bf16, D::bf16>}, {"bf16 f32", &run_softmax<D::bf16, D::f32>}};
  std::vector<Entry> entries;
  for (const HeadCase& of : head_cases()) entries.push_back(entry(of, heads, of.precision));
  for (const SoftmaxCase& of : softmax_cases()) {
    entries.push_back(entry(of, softmaxes, of.x_dtype + ' ' + of.y_dtype));
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.name < b.name; });
  const auto twice = std::adjacent_find(entries.begin(), entries.end(),
                                        [](const Entry& a, const Entry& b) { return a.name == b.name; });
  if (twice != entries.end()) throw std::logic_error("two cases are called " + twice->name);
  return entries;
}

bool is_wanted(const std::string& name, const std::vector<std::string>& only) {
  return only.empty() || std::any_of(only.begin(), only.end(), [&](const std::string& part) {
           return name.find(part) != std::string::npos;
         });
}

std::string hexadecimal(std::uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(value));
  return text;
}

/// Case -> its hash, `skipped` or `failed`. Throws where the file is not one of this program's.
std::map<std::string, std::string> read_stored(const std::string& path) {
  std::ifstream file(path);
  std::map<std::string, std::string> stored;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    if (line.empty() || line.starts_with('#')) continue;
    std::istringstream words(line);
    std::string hash, name;
    if (!(words >> hash >> name) || !stored.emplace(name.substr(0, name.find(':')), hash).second) {
      throw std::runtime_error(path + ':' + std::to_string(number) + ": not a hash and a case of its own");
    }
  }
  if (stored.empty()) throw std::runtime_error(path + ": no cases, or it cannot be read");
  return stored;
}

std::string header(const Environment& e, std::size_t cases) {
  return "# masthead fingerprint: " + e.gpu + ", driver " + e.driver + ", CUDA runtime " +
         std::to_string(e.cuda_runtime / 1000) + '.' + std::to_string(e.cuda_runtime % 1000 / 10) +
         ", commit " + e.commit + ", " + std::to_string(cases) + " cases";
}

/// Prints the cases that differ, or that only one side has; returns their number.
int compare(const std::map<std::string, std::string>& got, const std::map<std::string, std::string>& stored,
            const std::vector<std::string>& only) {
  int different = 0;
  const auto tell = [&](const std::string& name, const std::string& what) {
    std::cout << "differs: " << name << ": " << what << '\n';
    ++different;
  };
  for (const auto& [name, hash] : got) {
    const auto found = stored.find(name);
    if (found == stored.end()) {
      tell(name, "is not in the file");
    } else if (found->second != hash) {
      tell(name, "was " + found->second + ", is " + hash);
    }
  }
  for (const auto& [name, hash] : stored) {
    if (is_wanted(name, only) && !got.contains(name)) tell(name, "is in the file alone");
  }
  return different;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Prints hashes of what the library computes, to tell whether two builds compute the same bits",
               "fingerprint");
  std::string output, commit = "unknown", stored_path;
  std::vector<std::string> only;
  app.add_option("--output", output, "write the lines to this file instead of standard output");
  app.add_option("--commit", commit, "what is run, for the first line")->capture_default_str();
  app.add_option("--only", only, "run the cases whose name contains this; repeatable");
  app.add_option("--compare", stored_path, "compare with this file of an earlier run instead of printing");
  app.add_flag_callback(
      "--list",
      [] {
        for (const Entry& entry : all_entries()) std::cout << entry.name << '\n';
        throw CLI::Success();
      },
      "print the names of all cases; needs no GPU");

  return run_program(app, argc, argv, [&] {
    std::vector<Entry> entries = all_entries();
    std::erase_if(entries, [&](const Entry& entry) { return !is_wanted(entry.name, only); });
    if (entries.empty()) throw std::runtime_error("--only leaves no case");
    std::map<std::string, std::string> stored;
    if (!stored_path.empty()) stored = read_stored(stored_path);

    const Stream stream;
    Arena arena(arena_bytes);
    std::map<std::string, std::string> got;
    std::ostringstream lines;
    lines << header(current_environment("fingerprint", commit), entries.size()) << '\n';
    int failed = 0, skipped = 0;
    for (const Entry& entry : entries) {
      Outcome outcome;
      try {
        outcome = entry.run(arena, stream);
      } catch (const mh::Error& error) {  // the library refused: the next case can run
        outcome.failure = error.what();
      }
      if (!outcome.failure.empty()) {
        std::cerr << "FAILED " << entry.name << ": " << outcome.failure << std::endl;
        ++failed;
      }
      std::string& word = got[entry.name];
      if (outcome.hash) {
        word = hexadecimal(*outcome.hash);
        lines << word << ' ' << entry.name << '\n';
      } else {
        word = outcome.skipped.empty() ? "failed" : "skipped";
        skipped += outcome.skipped.empty() ? 0 : 1;
        lines << word << ' ' << entry.name << ": " << outcome.skipped << outcome.failure << '\n';
      }
    }

    if (!output.empty()) {
      std::ofstream file(output);
      file << lines.str() << std::flush;
      if (!file) throw std::runtime_error("cannot write '" + output + "'");
    } else if (stored_path.empty()) {
      std::cout << lines.str();
    }
    const int different = stored_path.empty() ? 0 : compare(got, stored, only);
    std::ostream& summary = output.empty() && stored_path.empty() ? std::cerr : std::cout;
    summary << entries.size() << " cases, " << failed << " failed, " << skipped << " skipped";
    if (!stored_path.empty()) summary << ", " << different << " differ from " << stored_path;
    summary << std::endl;
    return failed > 0 || different > 0 ? 1 : 0;
  });
}

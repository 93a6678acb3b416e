#include "problem.hpp"

#include <bit>
#include <cmath>
#include <stdexcept>
#include <string>

#include "safetensors.hpp"

namespace model_head {

Digits read_digits(const std::filesystem::path& folder) {
  const Safetensors digits_file(folder / "digits.safetensors");
  const Safetensors head_file(folder / "head.safetensors");
  const Safetensors expected_file(folder / "expected.safetensors");

  Digits digits;
  Problem& p = digits.problem;
  const std::vector<std::uint8_t> images = digits_file.read<std::uint8_t>("images", {-1, -1});
  p.shape.batch = digits_file.shape("images")[0];
  p.shape.in_features = digits_file.shape("images")[1];
  digits.labels = digits_file.read<std::uint8_t>("labels", {p.shape.batch});

  p.weight = head_file.read<float>("gemm.weight", {-1, p.shape.in_features});
  const std::int64_t n = p.shape.out_features = head_file.shape("gemm.weight")[0];
  p.bias = head_file.read<float>("gemm.bias", {n});
  p.gamma = head_file.read<float>("bn.weight", {n});
  p.beta = head_file.read<float>("bn.bias", {n});
  p.running_mean = head_file.read<float>("bn.running_mean", {n});
  p.running_var = head_file.read<float>("bn.running_var", {n});
  p.scale = head_file.read<float>("scale", {-1});
  p.epsilon = head_file.metadata("bn.eps");

  digits.probabilities = expected_file.read<double>("probabilities", {p.shape.batch, n});
  const double train_rows = expected_file.metadata("train_rows");
  if (!(train_rows >= 0 && train_rows < static_cast<double>(p.shape.batch))) {
    throw std::runtime_error((folder / "expected.safetensors").string() + ": train_rows is " +
                             std::to_string(train_rows) + ", not one of the rows of images");
  }
  digits.train_rows = static_cast<std::int64_t>(train_rows);

  p.x.reserve(images.size());
  for (const std::uint8_t pixel : images)
    p.x.push_back(static_cast<float>(pixel) / 16);  // as train.py scales
  return digits;
}

namespace {

/// Uniform numbers from a counter: SplitMix64, Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", OOPSLA 2014. The same on every platform, unlike std::uniform_real_distribution.
class Uniform {
 public:
  explicit Uniform(std::uint64_t seed) : state_(seed) {}

  /// 24 random bits as a float in [low, high).
  float operator()(float low, float high) {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return low + (high - low) * static_cast<float>((z ^ (z >> 31)) >> 40) * 0x1p-24f;
  }

  std::vector<float> vector(std::int64_t size, float low, float high) {
    std::vector<float> values(static_cast<std::size_t>(size));
    for (float& value : values) value = (*this)(low, high);
    return values;
  }

 private:
  std::uint64_t state_;
};

void round_through(masthead::Precision precision, std::vector<float>& values) {
  const masthead::Dtype dtype = masthead::operand_dtype(precision);
  if (rounds_floats(precision)) {
    for (float& v : values) v = std::bit_cast<float>(std::bit_cast<std::uint32_t>(v) & ~0x1fffu);
  } else if (dtype == masthead::Dtype::bf16) {
    for (float& v : values) v = masthead::widen(masthead::round_to<masthead::BFloat16>(v));
  } else if (dtype == masthead::Dtype::f16) {
    for (float& v : values) v = masthead::widen(masthead::round_to<masthead::Half>(v));
  }
}

}  // namespace

Problem generate(Shape shape, masthead::Precision precision, std::uint64_t seed) {
  Uniform uniform(seed);
  const auto [batch, in, out] = shape;
  const float reach = 1 / std::sqrt(static_cast<float>(in));
  Problem p;
  p.shape = shape;
  p.x = uniform.vector(batch * in, 0, 1);
  p.weight = uniform.vector(out * in, -reach, reach);
  p.bias = uniform.vector(out, -reach, reach);
  p.gamma = uniform.vector(out, -2, 2);
  p.beta = uniform.vector(out, -0.5f, 0.5f);
  p.running_mean = uniform.vector(out, -0.5f, 0.5f);
  p.running_var = uniform.vector(out, 0.02f, 0.06f);
  p.scale = uniform.vector(1, 0.5f, 1.5f);
  round_through(precision, p.x);
  round_through(precision, p.weight);
  return p;
}

}  // namespace model_head

#include "safetensors.hpp"

#include <bit>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <type_traits>
#include <utility>

namespace model_head {

static_assert(std::endian::native == std::endian::little,
              "safetensors data is little-endian and copied as is");

namespace {

template <class T>
constexpr const char* dtype_name = std::is_same_v<T, double>  ? "F64"
                                   : std::is_same_v<T, float> ? "F32"
                                                              : "U8";

std::string to_string(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (const std::int64_t extent : shape) {
    text += (text.empty() ? "" : ", ") + (extent < 0 ? "any" : std::to_string(extent));
  }
  return "(" + text + ")";
}

bool matches(const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& pattern) {
  if (shape.size() != pattern.size()) return false;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (pattern[i] >= 0 && shape[i] != pattern[i]) return false;
  }
  return true;
}

}  // namespace

Safetensors::Safetensors(std::filesystem::path path) : path_(std::move(path)) {
  std::ifstream file(path_, std::ios::binary);
  if (!file || !std::filesystem::is_regular_file(path_)) fail("cannot be opened");
  bytes_.assign(std::istreambuf_iterator<char>(file), {});
  if (file.bad()) fail("cannot be read");

  std::uint64_t length = 0;
  if (bytes_.size() < sizeof length) fail("is too short to be a safetensors file");
  std::memcpy(&length, bytes_.data(), sizeof length);
  if (length > bytes_.size() - sizeof length) fail("is not a safetensors file, or is cut off in its header");
  data_ = static_cast<std::int64_t>(sizeof length + length);
  header_ = nlohmann::json::parse(bytes_.begin() + sizeof length, bytes_.begin() + data_, nullptr, false);
  if (!header_.is_object()) fail("is not a safetensors file: its header is not a JSON object");
}

void Safetensors::fail(const std::string& what) const {
  throw std::runtime_error(path_.string() + ": " + what);
}

Safetensors::Tensor Safetensors::find(const std::string& name) const {
  if (!header_.contains(name)) fail("has no tensor '" + name + "'");
  try {
    const nlohmann::json& entry = header_.at(name);
    const auto [begin, end] = entry.at("data_offsets").get<std::pair<std::int64_t, std::int64_t>>();
    if (begin < 0 || begin > end) fail("tensor '" + name + "' has bad data_offsets");
    if (end > static_cast<std::int64_t>(bytes_.size()) - data_) {
      fail("is cut off: tensor '" + name + "' lies past its end");
    }
    return {entry.at("dtype").get<std::string>(), entry.at("shape").get<std::vector<std::int64_t>>(), begin,
            end};
  } catch (const nlohmann::json::exception& error) {
    fail("tensor '" + name + "' has a bad header entry: " + error.what());
  }
}

std::vector<std::int64_t> Safetensors::shape(const std::string& name) const { return find(name).shape; }

template <class T>
std::vector<T> Safetensors::read(const std::string& name, const std::vector<std::int64_t>& shape) const {
  const Tensor tensor = find(name);
  if (tensor.dtype != dtype_name<T>) {
    fail("tensor '" + name + "' has dtype " + tensor.dtype + ", not " + dtype_name<T>);
  }
  if (!matches(tensor.shape, shape)) {
    fail("tensor '" + name + "' has shape " + to_string(tensor.shape) + ", not " + to_string(shape));
  }
  std::int64_t bytes = sizeof(T);
  for (const std::int64_t extent : tensor.shape) {
    if (extent < 1 || __builtin_mul_overflow(bytes, extent, &bytes)) {
      fail("tensor '" + name + "' has shape " + to_string(tensor.shape) + ", which is empty or too large");
    }
  }
  if (bytes != tensor.end - tensor.begin) {
    fail("tensor '" + name + "' holds " + std::to_string(tensor.end - tensor.begin) + " bytes, not the " +
         std::to_string(bytes) + " of its shape");
  }
  std::vector<T> values(static_cast<std::size_t>(bytes) / sizeof(T));
  std::memcpy(values.data(), bytes_.data() + data_ + tensor.begin, static_cast<std::size_t>(bytes));
  return values;
}

template std::vector<float> Safetensors::read(const std::string&, const std::vector<std::int64_t>&) const;
template std::vector<double> Safetensors::read(const std::string&, const std::vector<std::int64_t>&) const;
template std::vector<std::uint8_t> Safetensors::read(const std::string&,
                                                     const std::vector<std::int64_t>&) const;

double Safetensors::metadata(const std::string& key) const {
  try {
    return std::stod(header_.at("__metadata__").at(key).get<std::string>());
  } catch (const std::exception&) {
    fail("has no metadata '" + key + "' that is a number");
  }
}

}  // namespace model_head

#pragma once
/// Reads tensors from a safetensors file: eight bytes of header length, a JSON header, the data.
/// Format: https://huggingface.co/docs/safetensors

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace model_head {

/// One file, read whole. Every failure is a std::runtime_error that names the file and what is wrong with it.
class Safetensors {
 public:
  explicit Safetensors(std::filesystem::path path);

  /// The elements of tensor `name`, row-major. Its dtype must be that of `T` (float, double, std::uint8_t)
  /// and its shape `shape`, where -1 stands for any extent.
  template <class T>
  std::vector<T> read(const std::string& name, const std::vector<std::int64_t>& shape) const;

  /// The extents of tensor `name`.
  std::vector<std::int64_t> shape(const std::string& name) const;

  /// The metadata entry `key`, which must be a number.
  double metadata(const std::string& key) const;

 private:
  struct Tensor {
    std::string dtype;
    std::vector<std::int64_t> shape;
    std::int64_t begin, end;  // bytes, from the start of the data
  };

  [[noreturn]] void fail(const std::string& what) const;
  Tensor find(const std::string& name) const;

  std::filesystem::path path_;
  std::vector<char> bytes_;
  std::int64_t data_ = 0;  // where the data starts in bytes_
  nlohmann::json header_;
};

}  // namespace model_head

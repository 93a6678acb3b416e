#pragma once
/// Heads kept from call to call, with what is made from a weight; found again by the weight's memory.

#include <ATen/core/Tensor.h>
#include <c10/core/Storage.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "head.hpp"

namespace masthead_pytorch {

masthead::Dtype dtype_of(const at::Tensor& tensor);

/// Whether a head of `precision` reads the rows of `matrix` where they are.
bool is_readable(masthead::Precision precision, const at::Tensor& matrix);

/// `matrix` with rows that such a head can read, padded by zeros.
at::Tensor readable_copy(masthead::Precision precision, const at::Tensor& matrix);

InputMatrix input_matrix(const at::Tensor& matrix);

/// What a head is found by.
struct HeadKey {
  const void* weight;
  masthead::Precision precision;
  masthead::Dtype y;
  friend bool operator==(const HeadKey&, const HeadKey&) = default;
};

/// A head, and the copy of the weight it reads where the weight's own rows will not do.
class CachedHead {
 public:
  CachedHead(const HeadKey& key, const at::Tensor& weight, const HeadParameters& parameters,
             cudaStream_t stream);
  ~CachedHead();
  CachedHead(const CachedHead&) = delete;
  CachedHead& operator=(const CachedHead&) = delete;

  /// Whether the head was made of this memory.
  bool matches(const HeadParameters& parameters) const;

  /// The head, with what it holds of the weight's values up to date on `stream`. A graph that is captured
  /// with `refresh` brings it up to date at each replay, without as it was when the graph was captured.
  const AnyHead& current(const at::Tensor& weight, cudaStream_t stream, bool refresh);

 private:
  /// The values of a weight: its version counter, which inference tensors do not have, and how often
  /// `weights_changed` was called.
  struct Version {
    std::optional<std::int64_t> counter;
    std::int64_t epoch;
    friend bool operator==(const Version&, const Version&) = default;
  };
  static Version version_of(const at::Tensor& weight);
  void made(const at::Tensor& weight, cudaStream_t stream, bool capturing);

  HeadParameters parameters_;  // as handed in
  at::Tensor copy_;            // undefined: the weight itself is read
  std::unique_ptr<AnyHead> head_;

  std::mutex mutex_;               // guards what follows
  Version version_{};              // of the weight, when the copy or the packing was made
  bool made_by_graphs_ = false;    // which change the weight without its version
  cudaEvent_t event_ = nullptr;    // when it was made
  cudaStream_t stream_ = nullptr;  // where
};

/// The heads of all weights that are alive. Kept here and not in modules: copies, pickles, state_dicts and
/// compiled graphs need no care. Never destroyed: at exit CUDA is gone first.
class HeadCache {
 public:
  static HeadCache& instance();

  /// The head of these tensors, made when there is none. `parameters` describes `weight` and the vectors.
  std::shared_ptr<CachedHead> find(const HeadKey& key, const at::Tensor& weight,
                                   const HeadParameters& parameters, cudaStream_t stream);

  /// Makes every copy and packing again before it is used next: fused optimizers, for one, write weights
  /// without advancing their version counters. Lets go of what was made from weights that are gone.
  void weights_changed();
  std::int64_t epoch() const { return epoch_; }

 private:
  struct Hash {
    std::size_t operator()(const HeadKey& key) const { return std::hash<const void*>()(key.weight); }
  };
  struct Entry {
    c10::weak_intrusive_ptr<c10::StorageImpl> storage;  // tells when the weight's memory is gone
    std::shared_ptr<CachedHead> head;
  };

  std::mutex mutex_;
  std::unordered_map<HeadKey, Entry, Hash> entries_;
  std::atomic<std::int64_t> epoch_ = 0;
};

}  // namespace masthead_pytorch

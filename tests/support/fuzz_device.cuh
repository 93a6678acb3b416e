#pragma once
/// The device memory of a case of tests/device/fuzz, and what its sources share.
///
/// Calls are compiled in a source per precision (fuzz_head.cuh), as they compile many kernels; everything
/// else, which does not know the library's calls, in fuzz.cu.

#include <cuda_runtime.h>

#include <cstdint>
#include <string>

#include "fuzz_judge.hpp"

namespace test::fuzz {

/// Elements with 256 bytes of canaries before and after them and canaries between their rows, in device
/// memory. One without rows is absent.
struct Region {
  unsigned char* memory = nullptr;
  std::int64_t bytes = 0;   ///< canaries included
  std::int64_t offset = 0;  ///< of the first element, in bytes
  Dtype dtype = Dtype::f32;
  std::int64_t rows = 0, columns = 0, row_stride = 0;

  bool present() const { return rows > 0; }
  void* data() const { return present() ? memory + offset : nullptr; }
};

/// What a case found on the device.
struct Found {
  unsigned faults = 0;
  Fault first = Fault::none;
  std::int64_t row = -1, column = -1;
  double got = 0, low = 0, high = 0;
  double most_used = 0;  ///< of what was allowed
  std::int64_t unjudged_rows = 0;
  bool has_target = false, target_is_nan = false;
  double target_low = 0, target_high = 0;
  std::string thrown = {};
  std::string skipped = {};  ///< why the case cannot run here
};

/// Memory and reference of one case at a time, on one stream.
class Workplace {
 public:
  /// Allocates what the largest case needs. Throws where that is not to be had.
  Workplace();
  Workplace(const Workplace&) = delete;
  Workplace& operator=(const Workplace&) = delete;
  ~Workplace();

  cudaStream_t stream() const { return stream_; }

  /// Fills the inputs of a case; what is computed from them is not there yet.
  void begin(const Case& of);

  /// Computes a head's products and bounds, of `mode` on the tensor cores or of the CUDA cores, and with them
  /// the running statistics that are those of the batch.
  void set_reference(bool tensor, MathMode mode);

  /// Fills y, the workspace and running statistics before a call. `workspace_bytes` is exactly what is asked
  /// for.
  void poison(std::int64_t workspace_bytes);

  /// Judges after a call: y and everything around it, the rows of `part` against theirs in y, bit for bit,
  /// the running statistics, and whether inputs changed. `quantized`: y may have been quantized logits.
  void judge(bool quantized, Found& found, std::int64_t target_row = -1, std::int64_t target_column = -1);

  /// Where the inputs begin.
  void* first_input() const { return arena_; }

  Case c;
  Region x, weight, y, part;  ///< `part`: the y of a call with some of the rows alone
  Region bias, gamma, beta, mean, var, scale;
  Region running_mean, running_var, batches_tracked;  ///< training mode updates them
  Region workspace;

 private:
  Region take(Dtype dtype, std::int64_t rows, std::int64_t columns, const Placement& at);
  void add_vector(Region& vector, bool present, Dtype dtype, std::int64_t size, Stream role);
  template <class T>
  T* take_array(std::int64_t count);
  void check_around(const Region& region, Fault fault);
  void hash_inputs(int slot);

  cudaStream_t stream_ = nullptr;
  unsigned char* arena_ = nullptr;
  std::int64_t arena_bytes_ = 0, used_ = 0, inputs_ = 0;
  const void* pristine_x_ = nullptr;  // of scale_softmax, which may write over x
  double *z_ = nullptr, *error_ = nullptr, *scales_ = nullptr;
  FeatureTerms* features_ = nullptr;
  BatchTerms* batch_ = nullptr;
  void* verdict_ = nullptr;
  bool packed_ = false;
};

/// Where the elements of a region are, as `T`.
template <class T>
masthead::Matrix<T> matrix_of(const Region& r) {
  return {static_cast<T*>(r.data()), r.rows, r.columns, r.row_stride};
}
inline masthead::MutableVector vector_of(const Region& r) {
  return r.present() ? masthead::MutableVector(r.data(), r.dtype, r.columns) : masthead::MutableVector{};
}

/// Runs the call of the case that `place` was begun with, and that with some of its rows alone. Says in
/// `quantized` whether y may have been quantized logits on the way. fuzz_head_*.cu has the instances.
template <masthead::Precision precision>
void run_head(Workplace& place, Found& found, bool& quantized);
void run_softmax(Workplace& place);

}  // namespace test::fuzz

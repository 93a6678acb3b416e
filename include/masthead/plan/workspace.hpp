#pragma once
/// Where a forward pass stores what does not fit in y.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

#include "masthead/core/integer.hpp"
#include "masthead/core/parameters.hpp"
#include "masthead/numeric/affine.hpp"
#include "masthead/numeric/moments.hpp"
#include "masthead/numeric/softmax_state.hpp"
#include "masthead/policy/policy.hpp"
#include "masthead/tile/normalize_rows.hpp"
#include "masthead/tile/overlap_sections.hpp"
#include "masthead/tile/packed_layout.hpp"

namespace masthead::inline v0 {

/// The problem of one forward pass, as far as it decides which kernels run.
struct ForwardShape {
  std::int64_t batch = 0, in_features = 0, out_features = 0;
  Mode mode = Mode::eval;
  Output output = Output::softmax;
  Dtype y = Dtype::f32;
  bool y_by_tma = true;  ///< y and its rows start at multiples of 16 bytes and are whole multiples of them
};

/// A piece of the workspace, in bytes; empty when a pass does not use it.
struct WorkspaceSlot {
  std::int64_t offset = 0;  ///< a multiple of 256
  std::int64_t bytes = 0;

  friend constexpr bool operator==(const WorkspaceSlot&, const WorkspaceSlot&) = default;
};

/// The workspace of a forward pass: the slots it uses, and the bytes that any pass of the same policy and
/// shape needs, whatever the device at hand holds at once. The same workspace is enough for a stream that has
/// part of a device.
struct ForwardWorkspace {
  WorkspaceSlot packed_x;  ///< x packed as the math mode multiplies it
  WorkspaceSlot logits;    ///< (batch, logits_stride(out_features)): logits or sums that y is too narrow for
  WorkspaceSlot partials;  ///< (batch, column parts) softmax partials (max, sum)
  WorkspaceSlot overlap;  ///< progress of the overlapped normalization, then the folded affine (out_features)
  WorkspaceSlot moments;  ///< (splits of the batch, out_features), training mode
  WorkspaceSlot multiplier;  ///< (out_features), training mode
  WorkspaceSlot addend;      ///< (out_features), training mode
  WorkspaceSlot center;      ///< (out_features), then a word that is 1 where any is not 0; training mode
  std::int64_t bytes = 0;
};

namespace detail {

/// The row stride of logits, in elements: rows start at multiples of 16 bytes.
constexpr std::int64_t logits_stride(std::int64_t out_features) { return ceil_div(out_features, 4) * 4; }

/// Whether rows are worth normalizing under the mainloop of later tiles. A small y is read again from L2 in
/// little time; with long rows W is read twice, which fewer rows do not hide.
// 4096 x 8192 -> 8192 with and without: 831 and 853 us, 1024 x 4096 -> 128256: 1768 and 1842.
constexpr bool overlaps_normalization(std::int64_t batch, std::int64_t out_features) {
  constexpr std::int64_t elements = 24 << 20;
  return batch >=
         (NormalizeTasks::of(out_features, normalize_columns).whole_rows ? 1024 : elements / out_features);
}

/// Bytes of what the overlapped normalization needs, or nothing when they do not fit in 63 bits: the progress
/// of the sections, the folded affine and its centers.
constexpr std::optional<std::int64_t> overlap_bytes(std::int64_t out_features) {
  constexpr std::int64_t progress =
      OverlapSections::most * static_cast<std::int64_t>(sizeof(SectionProgress));
  const auto features =
      checked_product(out_features, static_cast<std::int64_t>(sizeof(AffineColumn) + sizeof(float)));
  if (!features || *features > INT64_MAX - progress) return std::nullopt;
  return progress + *features;
}

/// Softmax partials per row: one per column of tiles, or one per column group of 64 with the swap-AB engine.
constexpr std::int64_t partials_per_row(const PolicySpec& spec, std::int64_t out_features) {
  return spec.engine == Engine::wgmma_swap_ab ? softmax_parts(out_features) * (softmax_part_columns / 64)
                                              : ceil_div(out_features, spec.tile.n);
}

/// The number of splits of a batch that have column statistics of their own.
constexpr std::int64_t moment_splits(const PolicySpec& spec, std::int64_t batch) {
  return with_engine(spec.engine, [&]<Engine engine>(EngineConstant<engine>) {
    return EngineTraits<engine>::moment_splits(spec, batch);
  });
}

/// Whether y is 16-bit and holds quantized logits between GEMM and softmax: they are good for a 16-bit
/// softmax, not for its logarithm.
constexpr bool keeps_quantized_logits(const PolicySpec& spec, const ForwardShape& shape) {
  if (size_of(shape.y) != 2 || shape.mode == Mode::training || shape.output != Output::softmax) return false;
  return with_engine(spec.engine, [&]<Engine engine>(EngineConstant<engine>) {
    return EngineTraits<engine>::quantizes(shape.out_features);
  });
}

/// Whether logits need not leave the registers: rows that one cluster of the swap-AB engine covers.
constexpr bool fits_one_cluster(const PolicySpec& spec, const ForwardShape& shape) {
  return spec.engine == Engine::wgmma_swap_ab && shape.mode == Mode::eval &&
         shape.output == Output::softmax &&
         shape.out_features <= sm90_swap_ab_layout(spec).cluster_features();
}

/// Hands out slots behind each other. Throws Error when the sum does not fit in 63 bits.
class SlotAllocator {
 public:
  constexpr explicit SlotAllocator(const ForwardShape& shape) : shape_(shape) {}

  constexpr WorkspaceSlot take(const std::optional<std::int64_t>& bytes, std::int64_t more = 0) {
    const std::int64_t offset = end_;
    if (!bytes || *bytes > INT64_MAX - 255 - more ||
        __builtin_add_overflow(end_, (*bytes + more + 255) / 256 * 256, &end_)) {
      refuse();
    }
    return {offset, *bytes + more};
  }
  constexpr std::int64_t end() const { return end_; }

 private:
  __attribute__((__noreturn__)) void refuse() const {
    throw Error("workspace", std::to_string(shape_.batch) + " * " + std::to_string(shape_.out_features),
                "its size in bytes must fit in 63 bits");
  }

  ForwardShape shape_;
  std::int64_t end_ = 0;
};

/// Rows of a batch that a pass of eval mode works on at once, so that 31 bits count what it is cut into.
inline constexpr std::int64_t most_rows_at_once = 1 << 24;

/// The slots of every path that `spec` and `shape` may take. In training mode the softmax partials of the
/// resident path lie where the other path has logits.
constexpr ForwardWorkspace plan_workspace(const PolicySpec& spec, ForwardShape shape) {
  if (shape.mode == Mode::eval) shape.batch = (std::min)(shape.batch, most_rows_at_once);
  ForwardWorkspace w;
  SlotAllocator allocator(shape);
  const Dtype sum = accumulator_dtype(spec.dtype);
  const auto rows_of_sums = [&](std::int64_t rows, std::int64_t element_bytes) {
    return checked_product(rows, logits_stride(shape.out_features), element_bytes);
  };
  // Operands that are e4m3 already are read where they are.
  if (is_packed(spec.math_mode) && spec.dtype != Dtype::e4m3) {
    w.packed_x = allocator.take(PackedLayout{spec.math_mode, shape.batch, shape.in_features}.bytes());
  }
  if (fits_one_cluster(spec, shape)) {
    // Nothing leaves the chip but y.
  } else if (keeps_quantized_logits(spec, shape)) {
    const auto partials = checked_product(shape.batch, partials_per_row(spec, shape.out_features),
                                          static_cast<std::int64_t>(sizeof(SoftmaxPartial)));
    std::optional<std::int64_t> all = partials;
    if (partials && spec.engine == Engine::wgmma && overlaps_normalization(shape.batch, shape.out_features)) {
      const auto overlap = overlap_bytes(shape.out_features);
      all = !overlap || *partials > INT64_MAX - *overlap ? std::nullopt : std::optional(*partials + *overlap);
    }
    w.partials = allocator.take(all);
    if (all != partials) {
      w.overlap = {w.partials.offset + *partials, *all - *partials};
      w.partials.bytes = *partials;
    }
  } else if (shape.y != sum) {
    w.logits = allocator.take(rows_of_sums(shape.batch, size_of(sum)));
    w.partials = w.logits;
  }
  if (shape.mode == Mode::training) {
    const std::int64_t moments_bytes =
        spec.dtype == Dtype::f64 ? sizeof(Moments<double>) : sizeof(Moments<float>);
    w.moments = allocator.take(rows_of_sums(moment_splits(spec, shape.batch), moments_bytes));
    w.multiplier = allocator.take(rows_of_sums(1, size_of(sum)));
    w.addend = allocator.take(rows_of_sums(1, size_of(sum)));
    w.center = allocator.take(rows_of_sums(1, size_of(sum)), sizeof(unsigned));
  }
  w.bytes = allocator.end();
  return w;
}

}  // namespace detail

}  // namespace masthead::inline v0

#pragma once
/// Policies of the softmax kernel.

#include <array>
#include <cstdint>
#include <ostream>

#include "masthead/core/config.hpp"
#include "masthead/policy/limits.hpp"

namespace masthead::inline v0 {

/// How the softmax kernels spread a row: `threads` of a block hold `items` columns each in registers, so a
/// block holds threads * items columns of a row and reads them once. A longer row takes a cluster of up to
/// `max_cluster` blocks (sm_90 and later); one that is longer still, or an older GPU, is read twice.
struct SoftmaxSpec {
  int threads;           ///< a row's threads in a block; 32 makes each warp take a row of its own
  int items;             ///< columns a thread holds in registers
  int rows = 1;          ///< rows a block takes at a time; more than 1 only with 32 threads
  int shared_items = 0;  ///< columns more that a thread keeps in shared memory, of float and 16-bit rows that
                         ///< are read in whole vectors
  bool past_l1 = false;  ///< those vectors are not kept in L1: quicker where a few long rows are the whole
                         ///< grid, slower where rows come and go

  friend constexpr bool operator==(const SoftmaxSpec&, const SoftmaxSpec&) = default;

  constexpr int block_threads() const { return threads * rows; }
  constexpr std::int64_t block_columns(bool shared) const {
    return static_cast<std::int64_t>(threads) * (items + (shared ? shared_items : 0));
  }

  /// The name in tests and benchmarks, e.g. "softmax_256x32", "softmax_256x32+32" or "softmax_32x8_r4".
  friend std::ostream& operator<<(std::ostream& out, const SoftmaxSpec& s) {
    out << "softmax_" << s.threads << 'x' << s.items;
    if (s.shared_items > 0) out << '+' << s.shared_items;
    if (s.rows > 1) out << "_r" << s.rows;
    return s.past_l1 ? out << "_past_l1" : out;
  }
};

namespace detail {

namespace constraint {

constexpr bool threads_are_power_of_two(const SoftmaxSpec& s) {
  return s.threads >= 32 && s.threads <= 1024 && (s.threads & (s.threads - 1)) == 0;
}
constexpr bool items_are_whole_vectors(const SoftmaxSpec& s) {
  return s.items >= 8 && s.items <= 64 && s.items % 4 == 0;
}
constexpr bool rows_are_warps(const SoftmaxSpec& s) {
  return s.rows == 1 || (s.threads == 32 && s.rows > 1 && s.rows <= 32);
}
constexpr bool shared_items_are_vectors(const SoftmaxSpec& s) {
  return s.shared_items == 0 ||
         (s.shared_items % 16 == 0 && s.shared_items > 0 && s.shared_items <= s.items && s.rows == 1);
}

}  // namespace constraint

}  // namespace detail

/// `SoftmaxSpec` as the template parameter of `scale_softmax` and of the softmax kernel.
template <int threads, int items, int rows = 1, int shared_items = 0, bool past_l1 = false>
struct SoftmaxPolicy {
  static constexpr SoftmaxSpec spec{threads, items, rows, shared_items, past_l1};

  static_assert(detail::constraint::threads_are_power_of_two(spec),
                "masthead::SoftmaxPolicy: threads must be a power of two between 32 and 1024");
  static_assert(detail::constraint::items_are_whole_vectors(spec),
                "masthead::SoftmaxPolicy: items must be a multiple of 4 between 8 and 64");
  static_assert(detail::constraint::rows_are_warps(spec),
                "masthead::SoftmaxPolicy: rows must be 1, or up to 32 when threads is 32");
  static_assert(
      detail::constraint::shared_items_are_vectors(spec),
      "masthead::SoftmaxPolicy: shared_items must be 0, or a multiple of 16 up to items with one row");
};

namespace detail {

/// The policies `scale_softmax` chooses from for elements of x of `bytes` bytes, by ascending length of the
/// row: three hold a row in one block; the next two in a cluster, where there are clusters, the second of
/// them only rows that are read in whole vectors; the last streams.
template <int bytes>
inline constexpr std::array<SoftmaxSpec, 6> softmax_policies{
    {{32, 8, 4}, {128, 16}, {256, 32}, {512, 32}, {256, 32, 1, 32, true}, {512, 16}}};
template <>
inline constexpr std::array<SoftmaxSpec, 6> softmax_policies<2>{
    {{32, 8, 4}, {128, 16}, {256, 32}, {256, 64}, {256, 64, 1, 0, true}, {256, 16}}};
template <>
inline constexpr std::array<SoftmaxSpec, 6> softmax_policies<8>{
    {{32, 8, 4}, {128, 16}, {256, 16}, {512, 16}, {512, 16}, {512, 8}}};

}  // namespace detail

}  // namespace masthead::inline v0

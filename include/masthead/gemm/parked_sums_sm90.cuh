#pragma once
/// Raw sums of a tile on chip, where training mode cannot turn them into codes yet.

#include "masthead/tile/sm90_layout.hpp"

namespace masthead::inline v0 {

/// A warp's sums of one tile while its block multiplies the next: half of them in the warp's panel, half in
/// registers until the ring has room for them. Nobody but the lane that wrote them reads them.
template <Sm90Layout layout>
class ParkedSumsSm90 {
  static constexpr int vectors = layout.accumulators() / 8;  // a lane's, in half of the sums

 public:
  static constexpr int bytes_a_warp = vectors * 32 * static_cast<int>(sizeof(float4));
  static_assert(bytes_a_warp == WarpPanel::bytes(layout.tile.n));

  /// The first half of `acc` to the panel, the rest to registers.
  __device__ __forceinline__ void park(const float (&acc)[layout.accumulators()], unsigned char* panel,
                                       int lane) {
    store(panel, lane, &acc[0]);
#pragma unroll
    for (int i = 0; i < 4 * vectors; ++i) kept_[i] = acc[4 * vectors + i];
  }
  /// Frees the registers: their half to `ring`, bytes_a_warp of it.
  __device__ __forceinline__ void to_shared(unsigned char* ring, int lane) const { store(ring, lane, kept_); }

  /// Both halves to `acc`.
  __device__ __forceinline__ static void load(float (&acc)[layout.accumulators()], const unsigned char* panel,
                                              const unsigned char* ring, int lane) {
#pragma unroll
    for (int i = 0; i < 2 * vectors; ++i) {
      const float4 four =
          reinterpret_cast<const float4*>(i < vectors ? panel : ring)[i % vectors * 32 + lane];
      acc[4 * i] = four.x;
      acc[4 * i + 1] = four.y;
      acc[4 * i + 2] = four.z;
      acc[4 * i + 3] = four.w;
    }
  }

 private:
  __device__ __forceinline__ static void store(unsigned char* target, int lane, const float* values) {
#pragma unroll
    for (int i = 0; i < vectors; ++i) {
      reinterpret_cast<float4*>(target)[i * 32 + lane] =
          make_float4(values[4 * i], values[4 * i + 1], values[4 * i + 2], values[4 * i + 3]);
    }
  }

  float kept_[4 * vectors];
};

}  // namespace masthead::inline v0

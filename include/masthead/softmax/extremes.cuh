#pragma once
/// The least and the largest of some elements, 16-bit ones two at a time.

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstring>
#include <type_traits>

#include "masthead/core/dtype.cuh"
#include "masthead/numeric/softmax_state.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES {

/// The extremes of float or 16-bit elements as they are in memory. A NaN is left out: it reaches its row's
/// results by the sum (SoftmaxState).
template <class T>
class Extremes {
  using Pair =
      std::conditional_t<std::is_same_v<T, __half>, __half2,
                         std::conditional_t<std::is_same_v<T, __nv_bfloat16>, __nv_bfloat162, float>>;
  static constexpr int width = static_cast<int>(sizeof(Pair) / sizeof(T));

 public:
  template <int count>
  __device__ void add(const T (&elements)[count]) {
    constexpr int pairs = count / width;
    static_assert(count % width == 0 && (pairs & (pairs - 1)) == 0);
    Pair least[pairs], largest[pairs];
    memcpy(least, elements, sizeof(least));
    memcpy(largest, elements, sizeof(largest));
    // By halves: no long chain of operations that wait for each other.
#pragma unroll
    for (int half = pairs / 2; half > 0; half /= 2) {
#pragma unroll
      for (int i = 0; i < half; ++i) {
        least[i] = smaller_of(least[i], least[i + half]);
        largest[i] = larger_of(largest[i], largest[i + half]);
      }
    }
    least_ = smaller_of(least_, least[0]);
    largest_ = larger_of(largest_, largest[0]);
  }

  /// The largest of the elements' products with `scale`; -inf of none.
  // Rounding keeps order, so this is the product of one of the extremes: which one is not asked, for the
  // compiler would make two versions of the kernel of it. 0 * inf is left out like a NaN.
  __device__ float maximum(float scale) const {
    const float least = -largest(negated(least_)), most = largest(largest_);
    return least <= most ? larger(larger(least * scale, most * scale), negative_infinity<float>)
                         : negative_infinity<float>;
  }

 private:
  __device__ static float smaller_of(float a, float b) { return (::min)(a, b); }
  __device__ static float larger_of(float a, float b) { return (::max)(a, b); }
  __device__ static __half2 smaller_of(__half2 a, __half2 b) { return __hmin2(a, b); }
  __device__ static __half2 larger_of(__half2 a, __half2 b) { return __hmax2(a, b); }
  __device__ static __nv_bfloat162 smaller_of(__nv_bfloat162 a, __nv_bfloat162 b) { return __hmin2(a, b); }
  __device__ static __nv_bfloat162 larger_of(__nv_bfloat162 a, __nv_bfloat162 b) { return __hmax2(a, b); }
  __device__ static float negated(float a) { return -a; }
  __device__ static __half2 negated(__half2 a) { return __hneg2(a); }
  __device__ static __nv_bfloat162 negated(__nv_bfloat162 a) { return __hneg2(a); }
  __device__ static float largest(float a) { return a; }
  __device__ static float largest(__half2 a) { return (::max)(__low2float(a), __high2float(a)); }
  __device__ static float largest(__nv_bfloat162 a) { return (::max)(__low2float(a), __high2float(a)); }
  __device__ static Pair all(float value) {
    if constexpr (std::is_same_v<Pair, float>) {
      return value;
    } else if constexpr (std::is_same_v<Pair, __half2>) {
      return __float2half2_rn(value);
    } else {
      return __float2bfloat162_rn(value);
    }
  }

  Pair least_ = all(-negative_infinity<float>), largest_ = all(negative_infinity<float>);
};

}  // namespace masthead::inline v0::detail::inline MASTHEAD_ARCHITECTURES
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

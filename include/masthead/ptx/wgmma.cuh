#pragma once
/// Warpgroup matrix multiply-accumulate (PTX ISA, "wgmma").

#include "masthead/core/architectures.cuh"
#if defined(__CUDACC__)

#include <cstdint>

#include "masthead/core/dtype.hpp"

MASTHEAD_DEVICE_CODE_BEGIN
namespace masthead::inline v0::ptx {

/// Orders this thread's earlier register and shared-memory accesses before the warpgroup's next wgmma.
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

/// Closes the group of wgmmas issued so far.
__device__ __forceinline__ void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/// Waits until at most `pending` of the latest groups are still in flight.
template <int pending>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}

/// Keeps the compiler from moving uses of accumulators across; no instruction.
template <int count>
__device__ __forceinline__ void wgmma_fence_registers(float (&d)[count]) {
#pragma unroll
  for (int i = 0; i < count; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

// clang-format off
#define MASTHEAD_WGMMA_N256(shape_and_types, transposed) \
  asm volatile( \
      "{\n.reg .pred accumulate;\nsetp.ne.b32 accumulate, %130, 0;\n" \
      "wgmma.mma_async.sync.aligned." shape_and_types " {" \
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, " \
      "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
      "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, " \
      "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
      "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127" \
      "}, %128, %129, accumulate, 1, 1" transposed ";\n}\n" \
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), \
        "+f"(d[6]), "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), \
        "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), \
        "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), \
        "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), \
        "+f"(d[30]), "+f"(d[31]), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), \
        "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]), \
        "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), \
        "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), \
        "+f"(d[54]), "+f"(d[55]), "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), \
        "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63]), "+f"(d[64]), "+f"(d[65]), \
        "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]), "+f"(d[70]), "+f"(d[71]), \
        "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75]), "+f"(d[76]), "+f"(d[77]), \
        "+f"(d[78]), "+f"(d[79]), "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83]), \
        "+f"(d[84]), "+f"(d[85]), "+f"(d[86]), "+f"(d[87]), "+f"(d[88]), "+f"(d[89]), \
        "+f"(d[90]), "+f"(d[91]), "+f"(d[92]), "+f"(d[93]), "+f"(d[94]), "+f"(d[95]), \
        "+f"(d[96]), "+f"(d[97]), "+f"(d[98]), "+f"(d[99]), "+f"(d[100]), "+f"(d[101]), \
        "+f"(d[102]), "+f"(d[103]), "+f"(d[104]), "+f"(d[105]), "+f"(d[106]), "+f"(d[107]), \
        "+f"(d[108]), "+f"(d[109]), "+f"(d[110]), "+f"(d[111]), "+f"(d[112]), "+f"(d[113]), \
        "+f"(d[114]), "+f"(d[115]), "+f"(d[116]), "+f"(d[117]), "+f"(d[118]), "+f"(d[119]), \
        "+f"(d[120]), "+f"(d[121]), "+f"(d[122]), "+f"(d[123]), "+f"(d[124]), "+f"(d[125]), \
        "+f"(d[126]), "+f"(d[127]) \
      : "l"(a), "l"(b), "r"(accumulate))
#define MASTHEAD_WGMMA_N128(shape_and_types, transposed) \
  asm volatile( \
      "{\n.reg .pred accumulate;\nsetp.ne.b32 accumulate, %66, 0;\n" \
      "wgmma.mma_async.sync.aligned." shape_and_types " {" \
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63" \
      "}, %64, %65, accumulate, 1, 1" transposed ";\n}\n" \
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), \
        "+f"(d[6]), "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), \
        "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), \
        "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), \
        "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), \
        "+f"(d[30]), "+f"(d[31]), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), \
        "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]), \
        "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), \
        "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), \
        "+f"(d[54]), "+f"(d[55]), "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), \
        "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63]) \
      : "l"(a), "l"(b), "r"(accumulate))
#define MASTHEAD_WGMMA_N64(shape_and_types, transposed) \
  asm volatile( \
      "{\n.reg .pred accumulate;\nsetp.ne.b32 accumulate, %34, 0;\n" \
      "wgmma.mma_async.sync.aligned." shape_and_types " {" \
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31" \
      "}, %32, %33, accumulate, 1, 1" transposed ";\n}\n" \
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), \
        "+f"(d[6]), "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), \
        "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), \
        "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), \
        "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), \
        "+f"(d[30]), "+f"(d[31]) \
      : "l"(a), "l"(b), "r"(accumulate))
#define MASTHEAD_WGMMA_N32(shape_and_types, transposed) \
  asm volatile( \
      "{\n.reg .pred accumulate;\nsetp.ne.b32 accumulate, %18, 0;\n" \
      "wgmma.mma_async.sync.aligned." shape_and_types " {" \
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15" \
      "}, %16, %17, accumulate, 1, 1" transposed ";\n}\n" \
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), \
        "+f"(d[6]), "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), \
        "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]) \
      : "l"(a), "l"(b), "r"(accumulate))
#define MASTHEAD_WGMMA_N16(shape_and_types, transposed) \
  asm volatile( \
      "{\n.reg .pred accumulate;\nsetp.ne.b32 accumulate, %10, 0;\n" \
      "wgmma.mma_async.sync.aligned." shape_and_types " {" \
      "%0, %1, %2, %3, %4, %5, %6, %7" \
      "}, %8, %9, accumulate, 1, 1" transposed ";\n}\n" \
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), \
        "+f"(d[6]), "+f"(d[7]) \
      : "l"(a), "l"(b), "r"(accumulate))
// clang-format on

/// d (+)= a b^T for 64 rows of a and 2 * count rows of b, 32 bytes of k, both K-major in shared memory behind
/// descriptors (tile/swizzle.hpp); `accumulate` = 0 overwrites d. Of float elements the low 13 bits are not
/// looked at: what is to be multiplied is rounded to tf32 already. All threads of a warpgroup call it; d may
/// be touched only after wgmma_wait.
template <Dtype dtype, int count>
__device__ __forceinline__ void wgmma(float (&d)[count], std::uint64_t a, std::uint64_t b, int accumulate) {
  static_assert(count == 8 || count == 16 || count == 32 || count == 64 || count == 128,
                "wgmma is wrapped for n = 16, 32, 64, 128 and 256");
  static_assert(dtype == Dtype::bf16 || dtype == Dtype::f16 || dtype == Dtype::f32 ||
                (dtype == Dtype::e4m3 && count == 64));
  // tf32 and e4m3 are K-major always: there is nothing to say of transposing.
#define MASTHEAD_WGMMA(n)                                           \
  if constexpr (2 * count == n) {                                   \
    if constexpr (dtype == Dtype::bf16) {                           \
      MASTHEAD_WGMMA_N##n("m64n" #n "k16.f32.bf16.bf16", ", 0, 0"); \
    } else if constexpr (dtype == Dtype::f16) {                     \
      MASTHEAD_WGMMA_N##n("m64n" #n "k16.f32.f16.f16", ", 0, 0");   \
    } else if constexpr (dtype == Dtype::f32) {                     \
      MASTHEAD_WGMMA_N##n("m64n" #n "k8.f32.tf32.tf32", "");        \
    } else {                                                        \
      MASTHEAD_WGMMA_N##n("m64n" #n "k32.f32.e4m3.e4m3", "");       \
    }                                                               \
  }
  MASTHEAD_WGMMA(256)
  MASTHEAD_WGMMA(128)
  MASTHEAD_WGMMA(64)
  MASTHEAD_WGMMA(32)
  MASTHEAD_WGMMA(16)
#undef MASTHEAD_WGMMA
}

#undef MASTHEAD_WGMMA_N256
#undef MASTHEAD_WGMMA_N128
#undef MASTHEAD_WGMMA_N64
#undef MASTHEAD_WGMMA_N32
#undef MASTHEAD_WGMMA_N16

}  // namespace masthead::inline v0::ptx
MASTHEAD_DEVICE_CODE_END

#endif  // defined(__CUDACC__)

// expect: calling a constexpr __host__ function("square") from a __host__ __device__ function("area") is not allowed
// Without --diag-error nvcc warns of this and compiles device code that lacks the call and what is stored after it.
constexpr int square(int value) { return value * value; }
__host__ __device__ int area(int side) { return square(side); }
__global__ void kernel(int* out) { *out = area(*out); }

// expect: masthead::Policy: Product::f16 and f16x3 multiply f32 and Product::e4m3 bf16 or e4m3, all with wgmma;
//   Product::tf32 multiplies f32 with wgmma or wgmma_transposed; Product::plain multiplies every dtype but
//   e4m3
#include "masthead/policy.hpp"

using namespace masthead;

constexpr PolicySpec spec =
    Policy<Dtype::bf16, Tile{.m = 128, .n = 128, .k = 64}, 384, 3, Engine::wgmma, 2, Product::f16x3>::spec;

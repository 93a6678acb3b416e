#include <doctest/doctest.h>

#include <cstddef>

#include "masthead/core/parameters.hpp"
#include "masthead/policy/select.hpp"

using namespace masthead;
using namespace masthead::detail;

TEST_SUITE("host policy") {
  constexpr PolicySpec good{Dtype::f32, {.m = 128, .n = 128, .k = 16}, 256};

  constexpr PolicySpec good_wgmma{Dtype::bf16, {.m = 128, .n = 256, .k = 64}, 384, 3, Engine::wgmma, 2};

  constexpr PolicySpec good_math_mode = shipped_wgmma(MathMode::f16x3, Dtype::f32).m128;

  constexpr PolicySpec with(void (*change)(PolicySpec&), PolicySpec spec = good) {
    change(spec);
    return spec;
  }

  /// A change that one predicate rejects.
  struct Rejected {
    bool (*predicate)(const PolicySpec&);
    void (*change)(PolicySpec&);
  };

  /// `start` passes all predicates; each change of it fails its own, and all() with it.
  template <std::size_t count>
  void check_rejected(const PolicySpec& start, const Rejected(&cases)[count]) {
    CHECK(constraint::all(start));
    for (const Rejected& c : cases) {
      const PolicySpec bad = with(c.change, start);
      CAPTURE(to_string(bad));
      CHECK(c.predicate(start));
      CHECK_FALSE(c.predicate(bad));
      CHECK_FALSE(constraint::all(bad));
    }
  }

  TEST_CASE("a shipped policy meets every constraint") {
    for (const Dtype dtype : {Dtype::f64, Dtype::f32, Dtype::f16, Dtype::bf16}) {
      const ShippedSimt shipped = shipped_simt(dtype);
      for (const PolicySpec& spec : shipped.all()) {
        CAPTURE(to_string(spec));
        CHECK(constraint::all(spec));
        CHECK(spec.dtype == dtype);
        CHECK(shared_bytes(spec) ==
              spec.stages * (spec.tile.m + spec.tile.n) * (simt_layout(spec).row_bytes() + 16));
      }
      for (const PolicySpec& spec : {shipped.m128n128, shipped.m32n64}) {
        CAPTURE(to_string(spec));
        CHECK(shared_bytes(spec) <= shared_bytes_per_block(75));
      }
    }
  }

  TEST_CASE("each predicate rejects what it names, and all() with it") {
    using namespace constraint;
    const Rejected cases[] = {
        {block_is_whole_warps, [](PolicySpec& p) { p.block_threads = 0; }},
        {block_is_whole_warps, [](PolicySpec& p) { p.block_threads = 100; }},
        {block_is_whole_warps, [](PolicySpec& p) { p.block_threads = 1056; }},
        {tile_is_positive, [](PolicySpec& p) { p.tile.m = 0; }},
        {tile_is_positive, [](PolicySpec& p) { p.tile.n = -128; }},
        {tile_is_positive, [](PolicySpec& p) { p.tile.k = 0; }},
        {simt_multiplies, [](PolicySpec& p) { p.dtype = Dtype::e4m3, p.tile.k = 64; }},
        {simt_multiplies, [](PolicySpec& p) { p.math_mode = MathMode::tf32; }},
        {simt_stages_in_range, [](PolicySpec& p) { p.stages = 1; }},
        {simt_stages_in_range, [](PolicySpec& p) { p.stages = 9; }},
        {row_is_free_of_bank_conflicts, [](PolicySpec& p) { p.tile.k = 4; }},
        {row_is_free_of_bank_conflicts, [](PolicySpec& p) { p.tile.k = 12; }},
        {tile_splits_over_warps, [](PolicySpec& p) { p.tile.m = 6; }},
        {tile_splits_over_warps, [](PolicySpec& p) { p.tile.n = 100; }},
        {tile_copies_evenly, [](PolicySpec& p) { p.tile.k = 24; }},
        {tile_copies_evenly, [](PolicySpec& p) { p.tile.m = 32; }},
        {accumulators_fit_registers,
         [](PolicySpec& p) {
           p.tile = {256, 256, 16};
         }},
        {stages_fit_shared_memory, [](PolicySpec& p) { p.tile.k = 128, p.stages = 8; }},
        {simt_blocks_stand_alone, [](PolicySpec& p) { p.cluster_m = 2; }},
    };
    check_rejected(good, cases);
  }

  TEST_CASE("each predicate on wgmma policies rejects what it names, and all() with it") {
    using namespace constraint;
    const Rejected cases[] = {
        {wgmma_multiplies, [](PolicySpec& p) { p.dtype = Dtype::f32, p.tile.k = 32; }},
        {wgmma_multiplies, [](PolicySpec& p) { p.dtype = Dtype::f64, p.tile.k = 16; }},
        {tile_is_one_or_two_warpgroups,
         [](PolicySpec& p) { p.tile.m = 192, p.tile.n = 128, p.block_threads = 512; }},
        {tile_is_one_or_two_warpgroups, [](PolicySpec& p) { p.tile.m = 32; }},
        {block_has_a_producer, [](PolicySpec& p) { p.block_threads = 256; }},
        {tile_n_has_instruction, [](PolicySpec& p) { p.tile.n = 192; }},
        {row_is_one_swizzled_row, [](PolicySpec& p) { p.tile.k = 32; }},
        {cluster_splits_weight, [](PolicySpec& p) { p.cluster_m = 3; }},
        {cluster_splits_weight, [](PolicySpec& p) { p.cluster_m = 0; }},
        {stages_fit_shared_memory, [](PolicySpec& p) { p.stages = 4; }},
        {wgmma_stages_in_range, [](PolicySpec& p) { p.stages = 1; }},
        {wgmma_stages_in_range, [](PolicySpec& p) { p.stages = 9; }},
    };
    check_rejected(good_wgmma, cases);
  }

  TEST_CASE("each predicate on swap-AB policies rejects what it names, and all() with it") {
    constexpr PolicySpec swap_ab{Dtype::f16, {.m = 32, .n = 64, .k = 64}, 160, 16, Engine::wgmma_swap_ab};
    using namespace constraint;
    const Rejected cases[] = {
        {swap_ab_multiplies, [](PolicySpec& p) { p.dtype = Dtype::f32, p.tile.k = 32; }},
        {row_is_swizzled_rows, [](PolicySpec& p) { p.tile.k = 32; }},
        {row_is_swizzled_rows, [](PolicySpec& p) { p.tile.k = 192, p.stages = 4; }},
        {tile_is_swap_ab, [](PolicySpec& p) { p.tile.m = 48; }},
        {tile_is_swap_ab, [](PolicySpec& p) { p.tile.m = 8; }},
        {tile_is_swap_ab, [](PolicySpec& p) { p.tile.n = 192, p.block_threads = 416; }},
        {block_has_a_producer_warp, [](PolicySpec& p) { p.block_threads = 128; }},
        {row_is_swizzled_rows, [](PolicySpec& p) { p.tile.k = 32; }},
        {swap_ab_blocks_stand_alone, [](PolicySpec& p) { p.cluster_m = 2; }},
        {stages_fit_shared_memory, [](PolicySpec& p) { p.stages = 24; }},
        {swap_ab_stages_in_range, [](PolicySpec& p) { p.stages = 1; }},
        {swap_ab_stages_in_range, [](PolicySpec& p) { p.stages = 25; }},
    };
    check_rejected(swap_ab, cases);
    CHECK(to_string(swap_ab) == "wgmma_swap_ab_f16_32x64x64_t160_s16");
  }

  TEST_CASE("each predicate on math modes rejects what it names, and all() with it") {
    using namespace constraint;
    const Rejected cases[] = {
        {wgmma_multiplies, [](PolicySpec& p) { p.dtype = Dtype::bf16; }},
        {wgmma_multiplies, [](PolicySpec& p) { p.dtype = Dtype::f64; }},
        {wgmma_multiplies, [](PolicySpec& p) { p.math_mode = MathMode::e4m3; }},
        {wgmma_multiplies, [](PolicySpec& p) { p.dtype = Dtype::e4m3, p.math_mode = MathMode::plain; }},
        {k_blocks_fit_registers, [](PolicySpec& p) { p.tile.n = 256, p.stages = 2; }},
        {row_is_one_swizzled_row, [](PolicySpec& p) { p.tile.k = 32; }},
        {stages_fit_shared_memory, [](PolicySpec& p) { p.stages = 4; }},
    };
    check_rejected(good_math_mode, cases);
    for (const PolicySpec& spec :
         {shipped_wgmma(MathMode::f16x3, Dtype::f32).m64, shipped_wgmma(MathMode::e4m3, Dtype::bf16).m128,
          shipped_wgmma(MathMode::e4m3, Dtype::bf16).m64, shipped_wgmma(MathMode::e4m3, Dtype::e4m3).m128}) {
      CAPTURE(to_string(spec));
      CHECK(all(spec));
    }
  }

  TEST_CASE("tf32: f32 with either wgmma engine") {
    using namespace constraint;
    const Rejected wgmma_cases[] = {
        {wgmma_multiplies, [](PolicySpec& p) { p.dtype = Dtype::bf16, p.tile.k = 64; }},
        {wgmma_multiplies, [](PolicySpec& p) { p.dtype = Dtype::f64, p.tile.k = 16; }},
        {wgmma_multiplies, [](PolicySpec& p) { p.math_mode = MathMode::plain; }},
        {row_is_one_swizzled_row, [](PolicySpec& p) { p.tile.k = 16; }},
    };
    check_rejected(shipped_wgmma(MathMode::tf32, Dtype::f32).m128, wgmma_cases);
    const Rejected swap_ab_cases[] = {
        {swap_ab_multiplies, [](PolicySpec& p) { p.dtype = Dtype::bf16, p.tile.k = 64; }},
        {swap_ab_multiplies, [](PolicySpec& p) { p.dtype = Dtype::f64, p.tile.k = 16; }},
        {swap_ab_multiplies, [](PolicySpec& p) { p.math_mode = MathMode::plain; }},
        {swap_ab_multiplies, [](PolicySpec& p) { p.math_mode = MathMode::f16; }},
        {row_is_swizzled_rows, [](PolicySpec& p) { p.tile.k = 16; }},
    };
    check_rejected(shipped_swap_ab(Dtype::f32).m16n64k1, swap_ab_cases);
    // The SIMT engine has no math mode but the plain one, whatever the rest of the policy.
    CHECK_FALSE(all(with([](PolicySpec& p) { p.engine = Engine::simt; },
                         shipped_wgmma(MathMode::tf32, Dtype::f32).m128)));
    CHECK_FALSE(all(with([](PolicySpec& p) { p.engine = Engine::simt; }, good_math_mode)));
  }

  TEST_CASE("a kernel that stores a tile box by box has room for one more stage, or keeps its layout") {
    for (const Dtype dtype : {Dtype::bf16, Dtype::f16}) {
      for (const PolicySpec& spec : shipped_wgmma(MathMode::plain, dtype).all()) {
        const Sm90Layout streaming = sm90_streaming_layout(spec);
        CAPTURE(to_string(spec));
        CHECK(streaming.stages == spec.stages + 1);
        CHECK(streaming.shared_bytes() <= max_shared_bytes);
        CHECK(streaming.staging_bytes() == streaming.consumer_warps() * StagingTile::box_bytes);
      }
    }
    // Stages of 64 KB: four do not fit, with or without a staging tile.
    const PolicySpec parts = shipped_wgmma(MathMode::f16x3, Dtype::f32).m128;
    CHECK(sm90_streaming_layout(parts) == sm90_layout(parts));
  }

  TEST_CASE("predicates accept their limits") {
    CHECK(constraint::block_is_whole_warps(with([](PolicySpec& p) { p.block_threads = 32; })));
    CHECK(constraint::block_is_whole_warps(with([](PolicySpec& p) { p.block_threads = 1024; })));
    CHECK(constraint::simt_stages_in_range(with([](PolicySpec& p) { p.stages = 2; })));
    CHECK(constraint::simt_stages_in_range(with([](PolicySpec& p) { p.stages = 8; })));
    // 128 accumulators a thread of float, 64 of double.
    CHECK(constraint::accumulators_fit_registers(with([](PolicySpec& p) { p.tile.n = 256; })));
    CHECK_FALSE(constraint::accumulators_fit_registers(
        with([](PolicySpec& p) { p.dtype = Dtype::f64, p.tile.n = 256; })));
  }

  TEST_CASE("a policy prints as its name") {
    CHECK(to_string(good) == "simt_f32_128x128x16_t256_s3");
    CHECK(to_string(PolicySpec{Dtype::bf16, {32, 64, 32}, 128, 4}) == "simt_bf16_32x64x32_t128_s4");
    CHECK(to_string(good_wgmma) == "wgmma_bf16_128x256x64_t384_s3_c2");
    CHECK(to_string(good_math_mode) == "wgmma_f32_128x128x64_t384_s3_c2_f16x3");
    CHECK(name(Precision::fp32_ieee) == "fp32_ieee");
    CHECK(to_string(shipped_wgmma(MathMode::tf32, Dtype::f32).m128) ==
          "wgmma_f32_128x256x32_t384_s3_c2_tf32");
    CHECK(name(Precision::tf32) == "tf32");
    CHECK(name(Precision::bf16) == "bf16");
    CHECK(name(Precision::fp8) == "fp8");
    CHECK(name(Dtype::e4m3) == "e4m3");
    CHECK(name(MathMode::f16x3) == "f16x3");
    CHECK(to_string(shipped_wgmma(MathMode::f16, Dtype::f32).m128) == "wgmma_f32_128x256x64_t384_s3_c2_f16");
    CHECK(name(Precision::fp16_scaled) == "fp16_scaled");
    CHECK(name(MathMode::e4m3) == "e4m3");
    CHECK(name(Dtype::f16) == "f16");
    CHECK(name(Output::log_softmax) == "log_softmax");
    CHECK(name(Mode::training) == "training");
  }

  TEST_CASE("a policy type carries its value") {
    using MyPolicy = Policy<Dtype::f16, Tile{.m = 64, .n = 64, .k = 32}, 128, 4>;
    static_assert(MyPolicy::spec == PolicySpec{Dtype::f16, {64, 64, 32}, 128, 4});
    static_assert(std::is_same_v<PolicyFor<MyPolicy::spec>, MyPolicy>);
    using MyHopperPolicy = Policy<Dtype::bf16, Tile{.m = 128, .n = 256, .k = 64}, 384, 3, Engine::wgmma>;
    static_assert(MyHopperPolicy::spec == good_wgmma);
    CHECK(MyPolicy::spec.stages == 4);
  }

  TEST_CASE("select_policy: large tiles for large problems, on every architecture, at compile time") {
    static_assert(select_policy(Precision::fp32_ieee, 90, 1024, 8192, 8192) ==
                  shipped_simt(Dtype::f32).m256n128);
    static_assert(select_policy(Precision::fp32, 80, 1024, 8192, 8192) == shipped_simt(Dtype::f32).m256n128);
    static_assert(select_policy(Precision::fp32, 75, 1024, 8192, 8192) == shipped_simt(Dtype::f32).m128n128);
    static_assert(select_policy(Precision::fp32, 89, 1024, 8192, 8192) == shipped_simt(Dtype::f32).m128n128);
    static_assert(select_policy(Precision::fp32_ieee, 90, 256, 8192, 8192) ==
                  shipped_simt(Dtype::f32).m128n128);
    static_assert(select_policy(Precision::fp64, 80, 1024, 8192, 8192) == shipped_simt(Dtype::f64).m128n128);
    static_assert(select_policy(Precision::bf16, 75, 1, 8192, 8192) == shipped_simt(Dtype::bf16).m32n64);
    for (const int architecture : {75, 80, 86, 89, 90, 100, 120}) {
      CAPTURE(architecture);
      CHECK(shared_bytes(select_policy(Precision::fp32, architecture, 1024, 8192, 8192)) <=
            shared_bytes_per_block(architecture));
      CHECK(select_policy(Precision::fp16, architecture, 1024, 8192, 8192).dtype == Dtype::f16);
      // A tile of 128 rows for a batch of 64 would be half empty.
      CHECK(select_policy(Precision::fp32_ieee, architecture, 64, 4096, 128256) ==
            shipped_simt(Dtype::f32).m32n64);
      // One large tile leaves all other multiprocessors idle.
      CHECK(select_policy(Precision::fp32_ieee, architecture, 128, 64, 128) ==
            shipped_simt(Dtype::f32).m32n64);
    }
  }

  TEST_CASE("select_policy: wgmma for bf16, fp16 and tf32 on sm_90 where TMA can read, whatever the batch") {
    for (const Precision precision : {Precision::bf16, Precision::fp16, Precision::tf32}) {
      const ShippedWgmma wgmma = shipped_wgmma(math_mode_of(precision), operand_dtype(precision));
      const ShippedSwapAb swap_ab = shipped_swap_ab(operand_dtype(precision));
      const auto check_shipped = [&](const PolicySpec& spec) {
        CAPTURE(to_string(spec));
        CHECK(constraint::all(spec));
        CHECK(spec.dtype == operand_dtype(precision));
      };
      for (const PolicySpec& spec : wgmma.all()) check_shipped(spec);
      for (const PolicySpec& spec : swap_ab.all()) check_shipped(spec);
      for (const std::int64_t batch : {1, 16, 17, 32, 33, 64, 65, 128, 129, 256, 257, 1024, 100000}) {
        CAPTURE(batch);
        const PolicySpec& by_rows = batch <= 16    ? swap_ab.m16n64k2
                                    : batch <= 32  ? swap_ab.m32n64k2
                                    : batch <= 64  ? swap_ab.m64n64k1
                                    : batch <= 128 ? swap_ab.m64n128k2
                                    : batch <= 256 ? swap_ab.m128n128k1
                                                   : wgmma.m128;
        CHECK(select_policy(precision, 90, batch, 8192, 8192) == by_rows);
        CHECK(select_policy(precision, 90, batch, 8, 1025) == by_rows);
        CHECK(select_policy(precision, 90, batch, 8, 16385) == (batch <= 128 ? by_rows : wgmma.m128));
        CHECK(select_policy(precision, 90, batch, 1024, 1024) == wgmma.m64);
        CHECK(select_policy(precision, 90, batch, 1024, 513) == wgmma.m64);
        const PolicySpec& by_cluster = batch <= 128   ? swap_ab.m16n64k1
                                       : batch <= 640 ? swap_ab.m32n64k1
                                                      : swap_ab.m128n64k1;
        CHECK(select_policy(precision, 90, batch, 1024, 512) == by_cluster);
        CHECK(select_policy(precision, 90, batch, 1024, 1) == by_cluster);
        CHECK(select_policy(precision, 90, batch, 8192, 8192, true, true) == wgmma.m128);
        CHECK(select_policy(precision, 90, batch, 1024, 512, true, true) == wgmma.m64);
        // Rows of x and the weight that are no multiple of 16 bytes; addresses that are not; another GPU.
        CHECK(select_policy(precision, 90, batch, 8191, 8192).engine == Engine::simt);
        CHECK(select_policy(precision, 90, batch, 8190, 8192).engine == Engine::simt);
        CHECK((select_policy(precision, 90, batch, 12, 8192).engine == Engine::simt) ==
              (precision != Precision::tf32));
        CHECK(select_policy(precision, 90, batch, 8192, 8192, false).engine == Engine::simt);
        for (const int architecture : {75, 80, 89, 100, 120}) {
          CHECK(select_policy(precision, architecture, batch, 8192, 8192).engine == Engine::simt);
        }
      }
    }
    for (const Precision precision : {Precision::fp64, Precision::fp32_ieee}) {
      CHECK(select_policy(precision, 90, 1024, 8192, 8192).engine == Engine::simt);
    }
  }

  TEST_CASE("selected_features holds for every selection, and for no more of a swap-AB policy") {
    for (const Precision precision : {Precision::bf16, Precision::fp16, Precision::tf32, Precision::fp32}) {
      for (const bool training : {false, true}) {
        for (const std::int64_t batch : {1, 16, 17, 32, 33, 64, 65, 128, 129, 256, 257, 640, 641, 100000}) {
          for (const std::int64_t features :
               {1, 64, 511, 512, 513, 1024, 1025, 8192, 16384, 16385, 65536, 1 << 30}) {
            CAPTURE(batch);
            CAPTURE(features);
            const PolicySpec policy = select_policy(precision, 90, batch, 4096, features, true, training);
            const FeatureRange range = selected_features(policy);
            CHECK(range.least <= features);
            CHECK(features <= range.most);
          }
        }
      }
    }
    constexpr ShippedSwapAb shipped = shipped_swap_ab(Dtype::bf16);
    static_assert(selected_features(shipped.m128n64k1).most <=
                  sm90_swap_ab_layout(shipped.m128n64k1).cluster_features());
    static_assert(selected_features(shipped.m64n64k1).least >
                  sm90_swap_ab_layout(shipped.m64n64k1).cluster_features());
    static_assert(selected_features(shipped.m128n128k1).most == shipped.m128n128k1_features);
    static_assert(selected_features(shipped_wgmma(MathMode::plain, Dtype::bf16).m128).least == 1);
  }

  TEST_CASE("select_policy: tf32 is fp32_ieee where there is no wgmma") {
    for (const std::int64_t batch : {1, 100, 1024}) {
      for (const int architecture : {75, 80, 90, 100}) {
        CHECK(select_policy(Precision::tf32, architecture, batch, 8192, 8192, false) ==
              select_policy(Precision::fp32_ieee, architecture, batch, 8192, 8192));
      }
      CHECK(select_policy(Precision::tf32, 90, batch, 8190, 8192) ==
            select_policy(Precision::fp32_ieee, 90, batch, 8190, 8192));
    }
  }

  TEST_CASE("select_policy: packed operands on sm_90, whatever the sizes") {
    const ShippedWgmma f16x3 = shipped_wgmma(MathMode::f16x3, Dtype::f32);
    const ShippedWgmma e4m3 = shipped_wgmma(MathMode::e4m3, Dtype::bf16);
    for (const std::int64_t features : {1, 5, 8192, 128256}) {
      CHECK(select_policy(Precision::fp32, 90, 1024, features, features) == f16x3.m128);
      CHECK(select_policy(Precision::fp32, 90, 65, features, 7) == f16x3.m128);
      CHECK(select_policy(Precision::fp32, 90, 64, features, 7) == f16x3.m64);
      CHECK(select_policy(Precision::fp8, 90, 1024, features, 7) == e4m3.m128);
      CHECK(select_policy(Precision::fp8, 80, 1, features, 7, false) == e4m3.m64);
      for (const int architecture : {75, 80, 100}) {
        CHECK(select_policy(Precision::fp32, architecture, 1024, features, 7) ==
              select_policy(Precision::fp32_ieee, architecture, 1024, features, 7));
      }
      CHECK(select_policy(Precision::fp32, 90, 1024, features, 7, false) ==
            select_policy(Precision::fp32_ieee, 90, 1024, features, 7));
    }
  }

  TEST_CASE("select_policy does not overflow") {
    constexpr std::int64_t huge = std::int64_t{1} << 62;
    CHECK(select_policy(Precision::fp32_ieee, 90, huge, 1, 1) == shipped_simt(Dtype::f32).m256n128);
    CHECK(select_policy(Precision::fp32_ieee, 90, 1, huge, huge) == shipped_simt(Dtype::f32).m32n64);
  }

  TEST_CASE("precisions have the dtypes the documentation lists") {
    CHECK(operand_dtype(Precision::fp64) == Dtype::f64);
    CHECK(operand_dtype(Precision::fp32) == Dtype::f32);
    CHECK(operand_dtype(Precision::fp32_ieee) == Dtype::f32);
    CHECK(operand_dtype(Precision::tf32) == Dtype::f32);
    CHECK(operand_dtype(Precision::fp16) == Dtype::f16);
    CHECK(operand_dtype(Precision::bf16) == Dtype::bf16);
    CHECK(operand_dtype(Precision::fp8) == Dtype::bf16);
    CHECK(math_mode_of(Precision::fp8) == MathMode::e4m3);
    CHECK(math_mode_of(Precision::fp32) == MathMode::f16x3);
    CHECK(math_mode_of(Precision::fp16_scaled) == MathMode::f16);
    CHECK(math_mode_of(Precision::fp32_ieee) == MathMode::plain);
    CHECK(math_mode_of(Precision::tf32) == MathMode::tf32);
    for (const MathMode math_mode : {MathMode::plain, MathMode::tf32}) CHECK_FALSE(is_packed(math_mode));
    for (const MathMode math_mode : {MathMode::f16, MathMode::f16x3, MathMode::e4m3})
      CHECK(is_packed(math_mode));
    CHECK(accumulator_dtype(Dtype::bf16) == Dtype::f32);
    CHECK(accumulator_dtype(Dtype::f64) == Dtype::f64);
    static_assert(std::is_same_v<HostElement<Dtype::bf16>, BFloat16>);
    static_assert(sizeof(Half) == 2 && sizeof(BFloat16) == 2 && sizeof(E4M3) == 1);
  }
}

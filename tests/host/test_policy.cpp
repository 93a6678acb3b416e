#include <doctest/doctest.h>

#include <cstddef>

#include "masthead/parameters.hpp"
#include "masthead/select_policy.hpp"

using namespace masthead;

TEST_SUITE("host policy") {
  constexpr PolicySpec good{Dtype::f32, {.m = 128, .n = 128, .k = 16}, 256};

  constexpr PolicySpec good_wgmma{Dtype::bf16, {.m = 128, .n = 256, .k = 64}, 384, 3, Engine::wgmma, 2};

  constexpr PolicySpec good_product = shipped_product_policies(Product::f16x3, Dtype::f32).tall;

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
      const ShippedPolicies shipped = shipped_policies(dtype);
      for (const PolicySpec& spec : {shipped.wide, shipped.large, shipped.small}) {
        CAPTURE(to_string(spec));
        CHECK(constraint::all(spec));
        CHECK(spec.dtype == dtype);
        CHECK(spec.shared_bytes() == spec.stages * (spec.tile.m + spec.tile.n) * (spec.row_bytes() + 16));
      }
      for (const PolicySpec& spec : {shipped.large, shipped.small}) {
        CAPTURE(to_string(spec));
        CHECK(spec.shared_bytes() <= shared_bytes_per_block(75));
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
        {stages_in_range, [](PolicySpec& p) { p.stages = 1; }},
        {stages_in_range, [](PolicySpec& p) { p.stages = 9; }},
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
        {blocks_stand_alone, [](PolicySpec& p) { p.cluster_m = 2; }},
    };
    check_rejected(good, cases);
  }

  TEST_CASE("each predicate on wgmma policies rejects what it names, and all() with it") {
    using namespace constraint;
    const Rejected cases[] = {
        {dtype_has_wgmma, [](PolicySpec& p) { p.dtype = Dtype::f32, p.tile.k = 32; }},
        {dtype_has_wgmma, [](PolicySpec& p) { p.dtype = Dtype::f64, p.tile.k = 16; }},
        {tile_is_one_or_two_warpgroups,
         [](PolicySpec& p) { p.tile.m = 192, p.tile.n = 128, p.block_threads = 512; }},
        {tile_is_one_or_two_warpgroups, [](PolicySpec& p) { p.tile.m = 32; }},
        {block_has_a_producer, [](PolicySpec& p) { p.block_threads = 256; }},
        {tile_n_has_instruction, [](PolicySpec& p) { p.tile.n = 192; }},
        {row_is_one_swizzled_row, [](PolicySpec& p) { p.tile.k = 32; }},
        {cluster_splits_weight, [](PolicySpec& p) { p.cluster_m = 3; }},
        {cluster_splits_weight, [](PolicySpec& p) { p.cluster_m = 0; }},
        {stages_fit_shared_memory, [](PolicySpec& p) { p.stages = 4; }},
        {stages_in_range, [](PolicySpec& p) { p.stages = 1; }},
    };
    check_rejected(good_wgmma, cases);
  }

  TEST_CASE("each predicate on transposed policies rejects what it names, and all() with it") {
    constexpr PolicySpec transposed{
        Dtype::f16, {.m = 32, .n = 64, .k = 64}, 160, 16, Engine::wgmma_transposed};
    using namespace constraint;
    const Rejected cases[] = {
        {dtype_has_wgmma, [](PolicySpec& p) { p.dtype = Dtype::f32, p.tile.k = 32; }},
        {row_is_one_swizzled_row, [](PolicySpec& p) { p.tile.k = 32; }},
        {row_is_one_swizzled_row, [](PolicySpec& p) { p.tile.k = 192, p.stages = 4; }},
        {tile_is_transposed, [](PolicySpec& p) { p.tile.m = 48; }},
        {tile_is_transposed, [](PolicySpec& p) { p.tile.m = 8; }},
        {tile_is_transposed, [](PolicySpec& p) { p.tile.n = 192, p.block_threads = 416; }},
        {block_has_a_producer_warp, [](PolicySpec& p) { p.block_threads = 128; }},
        {row_is_one_swizzled_row, [](PolicySpec& p) { p.tile.k = 32; }},
        {blocks_stand_alone, [](PolicySpec& p) { p.cluster_m = 2; }},
        {stages_fit_shared_memory, [](PolicySpec& p) { p.stages = 24; }},
        {stages_in_range, [](PolicySpec& p) { p.stages = 25; }},
    };
    check_rejected(transposed, cases);
    CHECK(to_string(transposed) == "wgmma_transposed_f16_32x64x64_t160_s16");
  }

  TEST_CASE("each predicate on products rejects what it names, and all() with it") {
    using namespace constraint;
    const Rejected cases[] = {
        {product_takes_dtype, [](PolicySpec& p) { p.dtype = Dtype::bf16; }},
        {product_takes_dtype, [](PolicySpec& p) { p.dtype = Dtype::f64; }},
        {product_takes_dtype, [](PolicySpec& p) { p.product = Product::e4m3; }},
        {product_takes_dtype, [](PolicySpec& p) { p.engine = Engine::simt; }},
        {product_takes_dtype, [](PolicySpec& p) { p.dtype = Dtype::e4m3, p.product = Product::plain; }},
        {chunks_fit_registers, [](PolicySpec& p) { p.tile.n = 256, p.stages = 2; }},
        {row_is_one_swizzled_row, [](PolicySpec& p) { p.tile.k = 32; }},
        {stages_fit_shared_memory, [](PolicySpec& p) { p.stages = 4; }},
    };
    check_rejected(good_product, cases);
    for (const PolicySpec& spec : {shipped_product_policies(Product::f16x3, Dtype::f32).low,
                                   shipped_product_policies(Product::e4m3, Dtype::bf16).tall,
                                   shipped_product_policies(Product::e4m3, Dtype::bf16).low,
                                   shipped_product_policies(Product::e4m3, Dtype::e4m3).tall}) {
      CAPTURE(to_string(spec));
      CHECK(all(spec));
    }
  }

  TEST_CASE("tf32: f32 with either wgmma engine") {
    using namespace constraint;
    const Rejected cases[] = {
        {product_takes_dtype, [](PolicySpec& p) { p.dtype = Dtype::bf16, p.tile.k = 64; }},
        {product_takes_dtype, [](PolicySpec& p) { p.dtype = Dtype::f64, p.tile.k = 16; }},
        {product_takes_dtype, [](PolicySpec& p) { p.engine = Engine::simt; }},
        {dtype_has_wgmma, [](PolicySpec& p) { p.product = Product::plain; }},
        {row_is_one_swizzled_row, [](PolicySpec& p) { p.tile.k = 16; }},
    };
    check_rejected(shipped_wgmma_policies(Dtype::f32).wide, cases);
    check_rejected(shipped_wgmma_policies(Dtype::f32).cluster_16, cases);
  }

  TEST_CASE("a kernel that stores a tile box by box has room for one more stage, or keeps its layout") {
    for (const Dtype dtype : {Dtype::bf16, Dtype::f16}) {
      const ShippedWgmmaPolicies shipped = shipped_wgmma_policies(dtype);
      for (const PolicySpec& spec : {shipped.wide, shipped.narrow}) {
        const Sm90Layout streaming = spec.sm90_streaming();
        CAPTURE(to_string(spec));
        CHECK(streaming.stages == spec.stages + 1);
        CHECK(streaming.shared_bytes() <= max_shared_bytes);
        CHECK(streaming.panel_bytes() == streaming.consumer_warps() * WarpPanel::box_bytes);
      }
    }
    // Stages of 64 KB: four do not fit, with or without a panel.
    const PolicySpec parts = shipped_product_policies(Product::f16x3, Dtype::f32).tall;
    CHECK(parts.sm90_streaming() == parts.sm90());
  }

  TEST_CASE("predicates accept their limits") {
    CHECK(constraint::block_is_whole_warps(with([](PolicySpec& p) { p.block_threads = 32; })));
    CHECK(constraint::block_is_whole_warps(with([](PolicySpec& p) { p.block_threads = 1024; })));
    CHECK(constraint::stages_in_range(with([](PolicySpec& p) { p.stages = 2; })));
    CHECK(constraint::stages_in_range(with([](PolicySpec& p) { p.stages = 8; })));
    // 128 accumulators a thread of float, 64 of double.
    CHECK(constraint::accumulators_fit_registers(with([](PolicySpec& p) { p.tile.n = 256; })));
    CHECK_FALSE(constraint::accumulators_fit_registers(
        with([](PolicySpec& p) { p.dtype = Dtype::f64, p.tile.n = 256; })));
  }

  TEST_CASE("a policy prints as its name") {
    CHECK(to_string(good) == "simt_f32_128x128x16_t256_s3");
    CHECK(to_string(PolicySpec{Dtype::bf16, {32, 64, 32}, 128, 4}) == "simt_bf16_32x64x32_t128_s4");
    CHECK(to_string(good_wgmma) == "wgmma_bf16_128x256x64_t384_s3_c2");
    CHECK(to_string(good_product) == "wgmma_f32_128x128x64_t384_s3_c2_f16x3");
    CHECK(name(Precision::fp32_ieee) == "fp32_ieee");
    CHECK(to_string(shipped_wgmma_policies(Dtype::f32).wide) == "wgmma_f32_128x256x32_t384_s3_c2_tf32");
    CHECK(name(Precision::tf32) == "tf32");
    CHECK(name(Precision::bf16) == "bf16");
    CHECK(name(Precision::fp8) == "fp8");
    CHECK(name(Dtype::e4m3) == "e4m3");
    CHECK(name(Product::f16x3) == "f16x3");
    CHECK(to_string(shipped_product_policies(Product::f16, Dtype::f32).tall) ==
          "wgmma_f32_128x256x64_t384_s3_c2_f16");
    CHECK(name(Precision::fp16_scaled) == "fp16_scaled");
    CHECK(name(Product::e4m3) == "e4m3");
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
                  shipped_policies(Dtype::f32).wide);
    static_assert(select_policy(Precision::fp32, 80, 1024, 8192, 8192) == shipped_policies(Dtype::f32).wide);
    static_assert(select_policy(Precision::fp32, 75, 1024, 8192, 8192) == shipped_policies(Dtype::f32).large);
    static_assert(select_policy(Precision::fp32, 89, 1024, 8192, 8192) == shipped_policies(Dtype::f32).large);
    static_assert(select_policy(Precision::fp32_ieee, 90, 256, 8192, 8192) ==
                  shipped_policies(Dtype::f32).large);
    static_assert(select_policy(Precision::fp64, 80, 1024, 8192, 8192) == shipped_policies(Dtype::f64).large);
    static_assert(select_policy(Precision::bf16, 75, 1, 8192, 8192) == shipped_policies(Dtype::bf16).small);
    for (const int architecture : {75, 80, 86, 89, 90, 100, 120}) {
      CAPTURE(architecture);
      CHECK(select_policy(Precision::fp32, architecture, 1024, 8192, 8192).shared_bytes() <=
            shared_bytes_per_block(architecture));
      CHECK(select_policy(Precision::fp16, architecture, 1024, 8192, 8192).dtype == Dtype::f16);
      // A tile of 128 rows for a batch of 64 would be half empty.
      CHECK(select_policy(Precision::fp32_ieee, architecture, 64, 4096, 128256) ==
            shipped_policies(Dtype::f32).small);
      // One large tile leaves all other multiprocessors idle.
      CHECK(select_policy(Precision::fp32_ieee, architecture, 128, 64, 128) ==
            shipped_policies(Dtype::f32).small);
    }
  }

  TEST_CASE("select_policy: wgmma for bf16, fp16 and tf32 on sm_90 where TMA can read, whatever the batch") {
    for (const Precision precision : {Precision::bf16, Precision::fp16, Precision::tf32}) {
      const ShippedWgmmaPolicies shipped = shipped_wgmma_policies(operand_dtype(precision));
      for (const PolicySpec& spec :
           {shipped.wide, shipped.narrow, shipped.cluster_16, shipped.cluster_32, shipped.cluster_128,
            shipped.rows_16, shipped.rows_32, shipped.rows_64, shipped.rows_128, shipped.rows_256}) {
        CAPTURE(to_string(spec));
        CHECK(constraint::all(spec));
        CHECK(spec.dtype == operand_dtype(precision));
      }
      for (const std::int64_t batch : {1, 16, 17, 32, 33, 64, 65, 128, 129, 256, 257, 1024, 100000}) {
        CAPTURE(batch);
        const PolicySpec& by_rows = batch <= 16    ? shipped.rows_16
                                    : batch <= 32  ? shipped.rows_32
                                    : batch <= 64  ? shipped.rows_64
                                    : batch <= 128 ? shipped.rows_128
                                    : batch <= 256 ? shipped.rows_256
                                                   : shipped.wide;
        CHECK(select_policy(precision, 90, batch, 8192, 8192) == by_rows);
        CHECK(select_policy(precision, 90, batch, 8, 1025) == by_rows);
        CHECK(select_policy(precision, 90, batch, 8, 16385) == (batch <= 128 ? by_rows : shipped.wide));
        CHECK(select_policy(precision, 90, batch, 1024, 1024) == shipped.narrow);
        CHECK(select_policy(precision, 90, batch, 1024, 513) == shipped.narrow);
        const PolicySpec& by_cluster = batch <= 128   ? shipped.cluster_16
                                       : batch <= 640 ? shipped.cluster_32
                                                      : shipped.cluster_128;
        CHECK(select_policy(precision, 90, batch, 1024, 512) == by_cluster);
        CHECK(select_policy(precision, 90, batch, 1024, 1) == by_cluster);
        CHECK(select_policy(precision, 90, batch, 8192, 8192, true, true) == shipped.wide);
        CHECK(select_policy(precision, 90, batch, 1024, 512, true, true) == shipped.narrow);
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

  TEST_CASE("selected_features holds for every selection, and for no more of a transposed policy") {
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
    constexpr ShippedWgmmaPolicies shipped = shipped_wgmma_policies(Dtype::bf16);
    static_assert(selected_features(shipped.cluster_128).most <=
                  shipped.cluster_128.sm90_transposed().cluster_features());
    static_assert(selected_features(shipped.rows_64).least >
                  shipped.rows_64.sm90_transposed().cluster_features());
    static_assert(selected_features(shipped.rows_256).most == shipped.rows_256_features);
    static_assert(selected_features(shipped.wide).least == 1);
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

  TEST_CASE("select_policy: products of parts on sm_90, whatever the sizes") {
    const ShippedProductPolicies f16x3 = shipped_product_policies(Product::f16x3, Dtype::f32);
    const ShippedProductPolicies e4m3 = shipped_product_policies(Product::e4m3, Dtype::bf16);
    for (const std::int64_t features : {1, 5, 8192, 128256}) {
      CHECK(select_policy(Precision::fp32, 90, 1024, features, features) == f16x3.tall);
      CHECK(select_policy(Precision::fp32, 90, 65, features, 7) == f16x3.tall);
      CHECK(select_policy(Precision::fp32, 90, 64, features, 7) == f16x3.low);
      CHECK(select_policy(Precision::fp8, 90, 1024, features, 7) == e4m3.tall);
      CHECK(select_policy(Precision::fp8, 80, 1, features, 7, false) == e4m3.low);
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
    CHECK(select_policy(Precision::fp32_ieee, 90, huge, 1, 1) == shipped_policies(Dtype::f32).wide);
    CHECK(select_policy(Precision::fp32_ieee, 90, 1, huge, huge) == shipped_policies(Dtype::f32).small);
  }

  TEST_CASE("precisions have the dtypes the documentation lists") {
    CHECK(operand_dtype(Precision::fp64) == Dtype::f64);
    CHECK(operand_dtype(Precision::fp32) == Dtype::f32);
    CHECK(operand_dtype(Precision::fp32_ieee) == Dtype::f32);
    CHECK(operand_dtype(Precision::tf32) == Dtype::f32);
    CHECK(operand_dtype(Precision::fp16) == Dtype::f16);
    CHECK(operand_dtype(Precision::bf16) == Dtype::bf16);
    CHECK(operand_dtype(Precision::fp8) == Dtype::bf16);
    CHECK(product_of(Precision::fp8) == Product::e4m3);
    CHECK(product_of(Precision::fp32) == Product::f16x3);
    CHECK(product_of(Precision::fp16_scaled) == Product::f16);
    CHECK(product_of(Precision::fp32_ieee) == Product::plain);
    CHECK(product_of(Precision::tf32) == Product::tf32);
    for (const Product product : {Product::plain, Product::tf32}) CHECK_FALSE(is_prepared(product));
    for (const Product product : {Product::f16, Product::f16x3, Product::e4m3}) CHECK(is_prepared(product));
    CHECK(accumulator_dtype(Dtype::bf16) == Dtype::f32);
    CHECK(accumulator_dtype(Dtype::f64) == Dtype::f64);
    static_assert(std::is_same_v<HostElement<Dtype::bf16>, BFloat16>);
    static_assert(sizeof(Half) == 2 && sizeof(BFloat16) == 2 && sizeof(E4M3) == 1);
  }
}

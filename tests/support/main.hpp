#pragma once
/// The part of `main` that host and device test programs share. Include it in the one file that has `main`.

#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>

/// Suites that need a GPU are named `device*`: programs of host tests leave them out, and with this argument
/// programs of device tests run them alone.
inline constexpr char device_argument[] = "--device";
inline constexpr char device_suites[] = "device*";

/// Exit codes Meson knows: 77 is shown as SKIP.
enum ExitCode { exit_failure = 1, exit_skip = 77 };

/// What doctest itself does not tell its caller: how many cases there are and how many the filters let
/// through.
class CaseCounts final : public doctest::IReporter {
 public:
  static inline unsigned all = 0;
  static inline unsigned matched = 0;

  explicit CaseCounts(const doctest::ContextOptions&) {}
  void test_run_end(const doctest::TestRunStats& run) override {
    all = run.numTestCases;
    matched = run.numTestCasesPassingFilters;
  }

  void report_query(const doctest::QueryData&) override {}
  void test_run_start() override {}
  void test_case_start(const doctest::TestCaseData&) override {}
  void test_case_reenter(const doctest::TestCaseData&) override {}
  void test_case_end(const doctest::CurrentTestCaseStats&) override {}
  void test_case_exception(const doctest::TestCaseException&) override {}
  void subcase_start(const doctest::SubcaseSignature&) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData&) override {}
  void log_message(const doctest::MessageData&) override {}
  void test_case_skipped(const doctest::TestCaseData&) override {}
};
DOCTEST_REGISTER_LISTENER("case_counts", 1, CaseCounts);

/// Runs the cases `context` selects. doctest calls an empty selection a success; here it is a failure, so
/// that a misspelt suite cannot pass.
inline int run_tests(doctest::Context& context) {
  const int status = context.run();
  if (context.shouldExit()) return status;  // a query such as --list-test-cases was answered
  if (CaseCounts::matched != 0) return status;
  std::fputs("masthead: no test case matched the filters\n", stderr);
  return exit_failure;
}

#include "main.hpp"

int main(int argc, char** argv) {
  doctest::Context context(argc, argv);
  context.addFilter("test-suite-exclude", device_suites);
  return run_tests(context);
}

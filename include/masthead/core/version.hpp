#pragma once
/// The version of the library.

#define MASTHEAD_VERSION_MAJOR 0
#define MASTHEAD_VERSION_MINOR 2
#define MASTHEAD_VERSION_PATCH 0
/// The version as a number, for comparisons: 10000 * major + 100 * minor + patch.
#define MASTHEAD_VERSION 200
/// The version as text.
#define MASTHEAD_VERSION_STRING "0.2.0"

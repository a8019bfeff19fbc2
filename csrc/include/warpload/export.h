/// @file
/// What a shared library shows to its users. Everything is compiled with hidden symbols; what bears this mark is the
/// interface, and nothing else can be linked against by accident.
#ifndef WARPLOAD_EXPORT_H
#define WARPLOAD_EXPORT_H

/// Marks a class or function of the public interface.
#define WARPLOAD_API __attribute__((visibility("default")))

/// Marks what lies inside such a class and is none of its users' business.
#define WARPLOAD_HIDDEN __attribute__((visibility("hidden")))

#endif

/// @file
/// What a shared library shows to its users. Everything is compiled with hidden symbols; what bears this mark is the
/// interface, and nothing else can be linked against by accident.
#ifndef WARPLOAD_EXPORT_H
#define WARPLOAD_EXPORT_H

/// Marks a class or function of the public interface.
///
/// WARPLOAD_STATIC is defined where the static library is used (its CMake target does so, and pkg-config --static). The
/// mark then says nothing: what these headers put into the user's own objects, type information for one, is as visible
/// as the rest of them. With the mark, a shared object that embeds the library would export it even if compiled with
/// -fvisibility=hidden, and another that embeds another version would be bound to it.
#ifdef WARPLOAD_STATIC
#define WARPLOAD_API
#else
#define WARPLOAD_API __attribute__((visibility("default")))
#endif

/// Marks what lies inside such a class and is none of its users' business.
#ifdef WARPLOAD_STATIC
#define WARPLOAD_HIDDEN
#else
#define WARPLOAD_HIDDEN __attribute__((visibility("hidden")))
#endif

#endif

/// @file
/// The marks of what the shared library exports. Everything is compiled with hidden symbols; only what has the mark
/// WARPLOAD_API can be linked against.
///
/// WARPLOAD_STATIC is defined where the static library is used (its CMake target does so, and pkg-config --static). The
/// marks then say nothing: what these headers put into the user's own objects, type information for one, is as visible
/// as the rest of them. Otherwise a shared object that embeds the library would export it even when it is compiled with
/// -fvisibility=hidden, and another one that embeds another version would be bound to it.
#ifndef WARPLOAD_EXPORT_H
#define WARPLOAD_EXPORT_H

#ifdef WARPLOAD_STATIC
#define WARPLOAD_API
#define WARPLOAD_HIDDEN
#else
/// Marks a class or function of the public interface.
#define WARPLOAD_API __attribute__((visibility("default")))

/// Marks what lies inside a class of the public interface and is not part of it.
#define WARPLOAD_HIDDEN __attribute__((visibility("hidden")))
#endif

#endif

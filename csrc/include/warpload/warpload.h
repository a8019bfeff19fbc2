/// @file
/// The C interface: safetensors and GGUF checkpoints to tensors on the host or on a GPU. C99; the C++ interface
/// is in warpload.hpp.
///
///     const char* path = "model.safetensors";
///     warpload_load_options options = {.struct_size = sizeof options, .dtype = WARPLOAD_DTYPE_BF16};
///     warpload_checkpoint* checkpoint = NULL;
///     warpload_loader* loader = NULL;
///     warpload_load* load = NULL;
///     warpload_error* error = NULL;
///     const warpload_tensor* tensor = NULL;
///     if (warpload_checkpoint_open(&path, 1, &checkpoint, &error) == WARPLOAD_OK &&
///         warpload_loader_create(NULL, &loader, &error) == WARPLOAD_OK &&
///         warpload_load_start(loader, checkpoint, &options, &load, &error) == WARPLOAD_OK &&
///         warpload_load_wait(load, -1, &error) == WARPLOAD_OK &&
///         warpload_load_find(load, "conv_in.weight", &tensor, &error) == WARPLOAD_OK)
///       use(tensor->data, tensor->nbytes);  // before the load is freed
///     else
///       fprintf(stderr, "%s\n", warpload_error_get(error)->message);
///     warpload_load_free(load);
///     warpload_loader_free(loader);
///     warpload_checkpoint_free(checkpoint);
///     warpload_error_free(error);
///
/// Rules that hold for every function:
///
/// - Ownership: what a function gives through a pointer to a handle is the caller's, who frees it once by the handle's
///   own `_free`. Handles may be freed in any order; `_free` of null does nothing. Structs that the library fills are
///   its own, never to be written or freed; each says how long it is valid.
/// - Structs of options begin with `struct_size`, which has to be the `sizeof` of the struct. All else may be zero,
///   which is the default. A later version may add fields at the end of any struct but warpload_device,
///   warpload_memory, warpload_tensor_dtype and warpload_trace_event.
/// - Failure: a function that returns a status gives WARPLOAD_OK, or says what went wrong. Where `error` is not null,
///   `*error` is set to null first, and on failure to a description, which is the caller's. What else the function
///   would have set is then null or zero. A null pointer where none is allowed is WARPLOAD_INVALID_ARGUMENT. No C++
///   exception leaves a function.
/// - Threads: any function may be called from any thread, and with one handle from several at once; a `_free` only once
///   no other call uses the handle. In a child after fork, handles may be freed and nothing else.
/// - Strings end with a zero byte; names are UTF-8, paths are as the operating system has them. No function keeps a
///   pointer that was passed to it, but for the memory of warpload_memory.
#ifndef WARPLOAD_H
#define WARPLOAD_H

#include <stddef.h>
#include <stdint.h>

#include "warpload/export.h"
#include "warpload/version.h"

#ifdef __cplusplus
extern "C" {
#endif

/// The version of this interface. It grows when a program that was compiled with an older header would no longer work.
/// Functions, values and fields at the ends of structs may be added without a new version.
#define WARPLOAD_ABI_VERSION 1

// ---- values ---------------------------------------------------------------------------------------------------------

/// What functions return: a warpload_status_value. An int32_t and not the enumeration, as are the other types of
/// values, so that its size is the same everywhere and a value that is new to the caller does no harm.
typedef int32_t warpload_status;

/// The values of warpload_status. They never change; later versions may add some.
enum warpload_status_value {
  WARPLOAD_OK = 0,                ///< The function did what it says.
  WARPLOAD_FORMAT = 1,            ///< The bytes of a file break the rules of their format.
  WARPLOAD_IO = 2,                ///< The operating system refused an operation, or a file changed under us.
  WARPLOAD_OUT_OF_MEMORY = 3,     ///< The memory for the tensors could not be reserved; the message has the sizes.
  WARPLOAD_DEVICE = 4,            ///< A device driver reported an error.
  WARPLOAD_CANCELLED = 5,         ///< The caller or a deadline stopped the load.
  WARPLOAD_INVALID_ARGUMENT = 6,  ///< The call itself makes no sense (a programming error).
  WARPLOAD_TIMEOUT = 7,           ///< The time to wait is over and the load goes on; there is no warpload_error.
  WARPLOAD_INTERNAL = 8           ///< Anything else: the system gave no thread, or no memory for a small object.
};

/// The type of a tensor's elements: a warpload_dtype_value.
typedef int32_t warpload_dtype;

/// The values of warpload_dtype, one more than those of warpload::DType. They never change; later versions
/// may add some.
enum warpload_dtype_value {
  WARPLOAD_DTYPE_KEEP = 0,          ///< In options: each tensor keeps its own dtype. No tensor has this one.
  WARPLOAD_DTYPE_BOOL = 1,          ///< One byte, 0 or 1.
  WARPLOAD_DTYPE_F4 = 2,            ///< Float of 4 bits (E2M1); two elements in one byte.
  WARPLOAD_DTYPE_F6_E2M3 = 3,       ///< Float of 6 bits; four elements in three bytes.
  WARPLOAD_DTYPE_F6_E3M2 = 4,       ///< Float of 6 bits; four elements in three bytes.
  WARPLOAD_DTYPE_U8 = 5,            ///< Unsigned integer of 8 bits.
  WARPLOAD_DTYPE_I8 = 6,            ///< Signed integer of 8 bits.
  WARPLOAD_DTYPE_F8_E5M2 = 7,       ///< Float of 8 bits with infinities.
  WARPLOAD_DTYPE_F8_E4M3 = 8,       ///< Float of 8 bits ("fn") without infinities, with one NaN of each sign.
  WARPLOAD_DTYPE_F8_E8M0 = 9,       ///< Scale of 8 bits: powers of two only.
  WARPLOAD_DTYPE_F8_E4M3FNUZ = 10,  ///< Float of 8 bits without infinities and negative zero, with one NaN.
  WARPLOAD_DTYPE_F8_E5M2FNUZ = 11,  ///< Float of 8 bits without infinities and negative zero, with one NaN.
  WARPLOAD_DTYPE_I16 = 12,          ///< Signed integer of 16 bits.
  WARPLOAD_DTYPE_U16 = 13,          ///< Unsigned integer of 16 bits.
  WARPLOAD_DTYPE_F16 = 14,          ///< Float of 16 bits, IEEE half precision.
  WARPLOAD_DTYPE_BF16 = 15,         ///< Float of 16 bits: the upper half of F32.
  WARPLOAD_DTYPE_I32 = 16,          ///< Signed integer of 32 bits.
  WARPLOAD_DTYPE_U32 = 17,          ///< Unsigned integer of 32 bits.
  WARPLOAD_DTYPE_F32 = 18,          ///< Float of 32 bits, IEEE single precision.
  WARPLOAD_DTYPE_C64 = 19,          ///< Complex number of two F32: real and imaginary part.
  WARPLOAD_DTYPE_F64 = 20,          ///< Float of 64 bits, IEEE double precision.
  WARPLOAD_DTYPE_I64 = 21,          ///< Signed integer of 64 bits.
  WARPLOAD_DTYPE_U64 = 22           ///< Unsigned integer of 64 bits.
};

/// A kind of memory that tensors can be loaded to: a warpload_device_kind_value.
typedef int32_t warpload_device_kind;

/// The values of warpload_device_kind.
enum warpload_device_kind_value {
  WARPLOAD_DEVICE_HOST = 0,  ///< The processor's memory.
  WARPLOAD_DEVICE_CUDA = 1   ///< A GPU of NVIDIA's.
};

/// How files are read: a warpload_direct_io_value.
typedef int32_t warpload_direct_io;

/// The values of warpload_direct_io.
enum warpload_direct_io_value {
  WARPLOAD_DIRECT_IO_AUTO = 0,   ///< Each range from where it is read fastest, by what the page cache holds of it.
  WARPLOAD_DIRECT_IO_NEVER = 1,  ///< Always through the page cache.
  WARPLOAD_DIRECT_IO_ALWAYS = 2  ///< Past the page cache wherever the file system allows; for tests and measurements.
};

/// Whether the pages of views are backed in the background once their load is done: a warpload_populate_value.
typedef int32_t warpload_populate;

/// The values of warpload_populate.
enum warpload_populate_value {
  /// In the order of the load; what is not in the page cache is read ahead as far as half of the memory goes that is
  /// available then.
  WARPLOAD_POPULATE_AUTO = 0,
  WARPLOAD_POPULATE_NEVER = 1,  ///< Pages are backed, and read, when a view is used.
  WARPLOAD_POPULATE_ALWAYS = 2  ///< Everything is read ahead.
};

/// Who casts tensors on their way to a GPU: a warpload_device_casts_value.
typedef int32_t warpload_device_casts;

/// The values of warpload_device_casts.
enum warpload_device_casts_value {
  /// The GPU where the source is no larger than the result; else whichever was measured to be faster.
  WARPLOAD_DEVICE_CASTS_AUTO = 0,
  WARPLOAD_DEVICE_CASTS_HOST = 1,   ///< The loader's threads.
  WARPLOAD_DEVICE_CASTS_DEVICE = 2  ///< The GPU where it has the cast, else the loader's threads.
};

/// What a thread of a load did for a while: a warpload_trace_kind_value.
typedef int32_t warpload_trace_kind;

/// The values of warpload_trace_kind. They never change; later versions may add some.
enum warpload_trace_kind_value {
  WARPLOAD_TRACE_READING = 0,            ///< Read from a file, be it from the page cache or past it.
  WARPLOAD_TRACE_COPYING = 1,            ///< Copied what was read to its place, uncast.
  WARPLOAD_TRACE_CASTING = 2,            ///< Cast what was read, or dequantised it, into its place.
  WARPLOAD_TRACE_WAITING_FOR_SLOT = 3,   ///< Waited for a pinned slot to fill.
  WARPLOAD_TRACE_WAITING_FOR_ARENA = 4,  ///< Waited with bytes in hand for the memory that they go to.
  WARPLOAD_TRACE_SENDING = 5,            ///< Queued a slot's copy to a GPU, and the casts there.
  WARPLOAD_TRACE_POPULATING = 6          ///< Had pages of views backed, before they are used.
};

/// The name of a device: a plain value.
typedef struct warpload_device {
  warpload_device_kind kind;  ///< The kind of memory.
  int32_t ordinal;            ///< The driver's number of the GPU, after CUDA_VISIBLE_DEVICES; 0 on the host.
} warpload_device;

/// Tells the version of the library that runs, as "MAJOR.MINOR.PATCH". Never fails. The string is of static storage.
WARPLOAD_API const char* warpload_version(void);

/// Tells the WARPLOAD_ABI_VERSION of the library that runs, which a program compares with that of its
/// header. Never fails.
WARPLOAD_API int32_t warpload_abi_version(void);

/// Tells the format's own code of a dtype: "F32", "BF16", "F8_E4M3" and so on; null where there is no such dtype. The
/// string is of static storage.
WARPLOAD_API const char* warpload_dtype_name(warpload_dtype dtype);

/// Tells the bits that one element takes: 4 or 6 for the packed types, else a multiple of 8; 0 where there is
/// no such dtype.
WARPLOAD_API uint32_t warpload_dtype_bits(warpload_dtype dtype);

// ---- errors ---------------------------------------------------------------------------------------------------------

/// The description of a failure. It never changes.
typedef struct warpload_error warpload_error;

/// What a warpload_error says. The strings are never null, but empty where there is nothing to say.
typedef struct warpload_error_details {
  const char* message;     ///< Everything in one line, control characters escaped.
  const char* reason;      ///< What is wrong, in a few words.
  const char* path;        ///< The file's path.
  const char* tensor;      ///< The tensor's name.
  const char* cure;        ///< What the user can do about it.
  uint64_t range_begin;    ///< Where `has_range` is 1: the first byte that it is about, from the start of the file.
  uint64_t range_end;      ///< Where `has_range` is 1: the byte behind the last that it is about.
  int32_t has_range;       ///< 1 where the failure is about bytes of a file, else 0.
  warpload_status status;  ///< The status that the function returned.
  int32_t system_error;    ///< The system's error (errno), or 0.
  int32_t driver_error;    ///< The CUDA driver's CUresult, or 0.
} warpload_error_details;

/// Gives what an error says, valid as long as the error. Never fails and never returns null: a null `error`, which a
/// failure leaves where there was no memory to describe it, reads as empty.
WARPLOAD_API const warpload_error_details* warpload_error_get(const warpload_error* error);

/// Frees an error. What warpload_error_get gave of it is then invalid.
WARPLOAD_API void warpload_error_free(warpload_error* error);

// ---- checkpoints ----------------------------------------------------------------------------------------------------

/// A set of safetensors or GGUF files, opened and validated; no tensor's bytes have been read. It never changes. Loads
/// keep what they need of it.
typedef struct warpload_checkpoint warpload_checkpoint;

/// One tensor as its file describes it. Valid as long as its checkpoint.
typedef struct warpload_tensor_info {
  const char* name;       ///< The name in the file; ends with a zero byte.
  size_t name_bytes;      ///< The name's bytes without that one: a name may have zero bytes in it, too.
  const uint64_t* shape;  ///< Elements along each axis, the slowest first; not to be read where `ndim` is 0.
  size_t ndim;            ///< How many axes there are; 0 for a scalar.
  uint64_t nbytes;        ///< The bytes of all elements together.
  warpload_dtype dtype;   ///< The dtype in the file.
  /// Of a quantised tensor of a GGUF file the type of its blocks, "Q4_K" and so on, in static storage; else null. The
  /// dtype is then WARPLOAD_DTYPE_U8 and the shape that of the bytes; a load with a floating-point dtype gives numbers.
  const char* blocks;
} warpload_tensor_info;

/// Opens `count` files as one checkpoint. A single index, a file whose name has ".index." in it and ends with ".json",
/// stands for the files that it lists. A file's first bytes tell its format. Every rule of the format is checked, as
/// the safetensors package understands it, or the gguf package; an index and its files have to leave no doubt which
/// tensors are meant. The files may be read until the checkpoint and the loads of it are gone.
///
/// @return WARPLOAD_IO when a file is missing or unreadable; WARPLOAD_FORMAT when one breaks a rule of the format, with
///         the file, the tensor and the byte range; WARPLOAD_INVALID_ARGUMENT for a count of 0.
WARPLOAD_API warpload_status warpload_checkpoint_open(const char* const* paths, size_t count, warpload_checkpoint** out,
                                                      warpload_error** error);

/// Tells how many tensors a checkpoint has; 0 for null.
WARPLOAD_API size_t warpload_checkpoint_tensor_count(const warpload_checkpoint* checkpoint);

/// Gives the checkpoint's tensor at `index`. The order is that of the files, then of the bytes in each.
///
/// @return WARPLOAD_INVALID_ARGUMENT when there is no tensor at that index.
WARPLOAD_API warpload_status warpload_checkpoint_tensor(const warpload_checkpoint* checkpoint, size_t index,
                                                        const warpload_tensor_info** out, warpload_error** error);

/// Gives the checkpoint's tensor of that name. To ask whether there is one, pass a null `error`.
///
/// @return WARPLOAD_INVALID_ARGUMENT when there is no tensor of that name.
WARPLOAD_API warpload_status warpload_checkpoint_find(const warpload_checkpoint* checkpoint, const char* name,
                                                      const warpload_tensor_info** out, warpload_error** error);

/// Frees a checkpoint. Loads of it go on.
WARPLOAD_API void warpload_checkpoint_free(warpload_checkpoint* checkpoint);

// ---- loaders --------------------------------------------------------------------------------------------------------

/// The worker threads and, for GPUs, the pinned memory that loads go through. One serves a whole process well: loads
/// run side by side, those that were started first before the others.
typedef struct warpload_loader warpload_loader;

/// How a loader is made.
typedef struct warpload_loader_options {
  size_t struct_size;          ///< The struct's own size: sizeof(warpload_loader_options).
  warpload_device device;      ///< The device that all its loads go to.
  const char* driver_library;  ///< The CUDA driver's file, as dlopen takes it; null is "libcuda.so.1".
  /// How many threads load; 0 takes as many as processors that this process may run on, at most 32. More than four for
  /// each of those, or than 32 where that is more, are never started.
  size_t threads;
  uint64_t pinned_bytes;         ///< The most bytes of pinned memory, kept until the loader is freed; 0 is 128 MiB.
  uint64_t slot_bytes;           ///< The most bytes of one copy to a GPU: a multiple of 2 MiB; 0 is 4 MiB.
  warpload_direct_io direct_io;  ///< How files are read.
  warpload_device_casts device_casts;  ///< Who casts.
  warpload_populate populate;          ///< What becomes of views before they are used.
} warpload_loader_options;

/// Makes a loader: starts its threads and, for a GPU, opens the driver.
///
/// @param options how the loader is made; null takes the defaults: the host, all processors.
/// @param out the new loader.
/// @param error the failure's description; may be null.
/// @return WARPLOAD_DEVICE when there is no driver or no such GPU; WARPLOAD_INVALID_ARGUMENT for options that make no
///         sense; WARPLOAD_INTERNAL when the system gives no thread.
WARPLOAD_API warpload_status warpload_loader_create(const warpload_loader_options* options, warpload_loader** out,
                                                    warpload_error** error);

/// Frees a loader. Its loads go on, and with them the threads.
WARPLOAD_API void warpload_loader_free(warpload_loader* loader);

// ---- loads ----------------------------------------------------------------------------------------------------------

/// A load that is under way or has ended, and the tensors that it gives.
typedef struct warpload_load warpload_load;

/// A function that chooses tensors: it returns 0 to leave the tensor out, anything else to load it. The tensor is valid
/// until the call returns. The function is called by the one that the options are passed to, on the same thread, and
/// has to return (no longjmp).
typedef int32_t (*warpload_filter)(const warpload_tensor_info* tensor, void* user_data);

/// A function that releases memory. It is called once, on whatever thread is the last to need the memory, and has to
/// return (no longjmp).
typedef void (*warpload_release)(void* user_data);

/// The dtype that one tensor is to have.
typedef struct warpload_tensor_dtype {
  const char* name;      ///< The tensor's name.
  warpload_dtype dtype;  ///< The dtype that the tensor is cast to.
} warpload_tensor_dtype;

/// Memory of the caller's, on the loader's device. A load that was started holds it until the load and every DLPack
/// export of its tensors are gone, and then calls `release`. A load that could not be started does not call `release`,
/// and the memory remains the caller's.
typedef struct warpload_memory {
  /// The first byte, at a multiple of 256. Where it is null, with 0 bytes and no `release`, the load allocates.
  void* data;
  uint64_t bytes;            ///< How many bytes there are: at least what warpload_arena_bytes says.
  warpload_release release;  ///< Releases the memory; null where the caller knows when nobody needs it.
  void* release_data;        ///< What is passed to `release`.
} warpload_memory;

/// What a load is to load, and as what.
typedef struct warpload_load_options {
  size_t struct_size;  ///< The struct's own size: sizeof(warpload_load_options).
  const warpload_tensor_dtype*
      tensor_dtypes;          ///< Dtypes of single tensors, which override `dtype`; the last one counts.
  size_t tensor_dtype_count;  ///< How many `tensor_dtypes` there are.
  const char* const* names;   ///< The names of the tensors to load; null loads all.
  size_t name_count;          ///< How many `names` there are.
  warpload_filter filter;     ///< Chooses among the tensors that `names` leaves; null takes all.
  void* filter_data;          ///< What is passed to `filter`.
  warpload_memory memory;     ///< Memory to put the tensors in; no tensor is a view then.
  /// On a GPU: the CUstream or cudaStream_t that the caller works in; null is the default stream. The first copy waits
  /// for what is queued there.
  void* stream;
  uint64_t deadline_ms;  ///< Milliseconds after which the load is cancelled, counted from the call; 0 is never.
  warpload_dtype dtype;  ///< The dtype of all floating-point tensors; others are never cast.
  /// Other than 0: every tensor is read. 0: on the host, a tensor that is not cast and lies aligned in its file is a
  /// view of the file's private mapping: it costs nothing until it is used, and where the file has been truncated in
  /// the meantime, using it raises SIGBUS.
  int32_t no_views;
  /// How many events warpload_load_trace gives at most, the last ones; 0 records nothing, and costs nothing.
  uint64_t trace_events;
} warpload_load_options;

/// One tensor of a load, row-major and contiguous. All fields are set when the load has been started; the bytes at
/// `data` are meaningful once warpload_load_wait has returned WARPLOAD_OK. The struct and the bytes are valid as long
/// as the load.
typedef struct warpload_tensor {
  const char* name;   ///< The name in the checkpoint; ends with a zero byte.
  size_t name_bytes;  ///< The name's bytes without that one: a name may have zero bytes in it, too.
  /// The first byte, an address of `device`; null for an empty tensor. It is a multiple of 256; that of a view, a
  /// multiple of the element's alignment. The bytes may be written: a view is copied on write.
  void* data;
  uint64_t nbytes;         ///< The bytes of all elements together.
  const uint64_t* shape;   ///< Elements along each axis, the slowest first; not to be read where `ndim` is 0.
  size_t ndim;             ///< How many axes there are; 0 for a scalar.
  warpload_dtype dtype;    ///< The dtype of the loaded elements; the file may have another one.
  warpload_device device;  ///< The device that the bytes are on.
} warpload_tensor;

/// Tells how many bytes of memory (see warpload_memory) a load with these options takes; 0 where it has nothing to
/// load. The memory in the options is ignored.
///
/// @return WARPLOAD_INVALID_ARGUMENT for a name that the checkpoint lacks, a cast that is not supported, or options
///         that make no sense; WARPLOAD_OUT_OF_MEMORY when the sizes do not fit in 64 bits.
WARPLOAD_API warpload_status warpload_arena_bytes(const warpload_loader* loader, const warpload_checkpoint* checkpoint,
                                                  const warpload_load_options* options, uint64_t* out,
                                                  warpload_error** error);

/// Plans a load, reserves its memory and starts filling it; returns before the bytes are there.
///
/// @param loader the loader whose threads load, and to whose device.
/// @param checkpoint the checkpoint to load.
/// @param options what to load, and as what; null loads everything as it is.
/// @param out the new load.
/// @param error the failure's description; may be null.
/// @return WARPLOAD_OUT_OF_MEMORY when the memory is not there; WARPLOAD_DEVICE when the driver reports an error;
///         WARPLOAD_IO when a file has shrunk since its checkpoint was opened; WARPLOAD_INVALID_ARGUMENT for a name
///         that the checkpoint lacks, a cast that is not supported, or options that make no sense. Casts from F16,
///         BF16, F32, F64, F8_E4M3 and F8_E5M2 to F16, BF16, F32 and F64 are supported.
WARPLOAD_API warpload_status warpload_load_start(const warpload_loader* loader, const warpload_checkpoint* checkpoint,
                                                 const warpload_load_options* options, warpload_load** out,
                                                 warpload_error** error);

/// Waits until a load has ended and every byte is in place. May be called again, with the same result.
///
/// @param load the load.
/// @param timeout_ms the most milliseconds to wait; 0 only asks, less than 0 waits as long as it takes.
/// @param error the failure's description; may be null.
/// @return WARPLOAD_TIMEOUT when the load goes on, with a null `*error`. Where a load failed, its first error:
///         WARPLOAD_IO with file, tensor and byte range, WARPLOAD_DEVICE, WARPLOAD_CANCELLED.
WARPLOAD_API warpload_status warpload_load_wait(const warpload_load* load, int64_t timeout_ms, warpload_error** error);

/// Tells how far a load is: the bytes of files that it has read, and that it reads in all; views, which it does not
/// read, do not count. Either pointer may be null. Cheap enough to be called often.
WARPLOAD_API warpload_status warpload_load_progress(const warpload_load* load, uint64_t* bytes_done,
                                                    uint64_t* bytes_total, warpload_error** error);

/// One entry of a load's trace.
typedef struct warpload_trace_event {
  int64_t begin_ns;  ///< When it began: nanoseconds of CLOCK_MONOTONIC.
  int64_t end_ns;    ///< When it ended.
  /// The bytes that it was about, as they lie in the files; of a slot that was sent and of pages, as they lie in
  /// memory; 0 of a wait.
  uint64_t bytes;
  uint32_t thread;           ///< The operating system's number of the thread.
  warpload_trace_kind kind;  ///< What was done.
} warpload_trace_event;

/// Gives what has been recorded of a load until now, in the order in which it ended, where its options ask for that
/// (trace_events). Call it with null and 0 to learn how many events there are; while the load goes on there may be more
/// with the next call.
///
/// @param load the load.
/// @param events where the first `capacity` of them go; may be null where `capacity` is 0.
/// @param capacity how many fit there.
/// @param count how many events there are; may be null.
/// @param lost how many others there have been, which later ones took the place of; may be null.
/// @param error the failure's description; may be null.
WARPLOAD_API warpload_status warpload_load_trace(const warpload_load* load, warpload_trace_event* events,
                                                 size_t capacity, size_t* count, uint64_t* lost,
                                                 warpload_error** error);

/// Cancels a load: warpload_load_wait then returns WARPLOAD_CANCELLED, unless the load had ended before. Does not wait
/// for the threads, which finish the reads that they are in.
WARPLOAD_API warpload_status warpload_load_cancel(warpload_load* load, warpload_error** error);

/// Tells how many tensors a load gives; 0 for null.
WARPLOAD_API size_t warpload_load_tensor_count(const warpload_load* load);

/// Gives the load's tensor at `index`. The order is that of the checkpoint, without the tensors that were not chosen.
/// Does not wait for the load.
///
/// @return WARPLOAD_INVALID_ARGUMENT when there is no tensor at that index.
WARPLOAD_API warpload_status warpload_load_tensor(const warpload_load* load, size_t index, const warpload_tensor** out,
                                                  warpload_error** error);

/// Gives the load's tensor of that name. Does not wait for the load. To ask whether there is one, pass a null `error`.
///
/// @return WARPLOAD_INVALID_ARGUMENT when there is no tensor of that name.
WARPLOAD_API warpload_status warpload_load_find(const warpload_load* load, const char* name,
                                                const warpload_tensor** out, warpload_error** error);

/// Waits for the load, then copies the bytes of the tensor at `index` to host memory, from wherever they are.
///
/// @param load the load.
/// @param index the tensor's position in the load.
/// @param destination the host memory to copy to; may be null for an empty tensor.
/// @param bytes how many bytes fit there: at least the tensor's `nbytes`.
/// @param error the failure's description; may be null.
/// @return the load's first error, as warpload_load_wait returns it; WARPLOAD_INVALID_ARGUMENT when there is no tensor
///         at that index or the bytes do not fit.
WARPLOAD_API warpload_status warpload_load_read(const warpload_load* load, size_t index, void* destination,
                                                uint64_t bytes, warpload_error** error);

/// DLPack's structure (dlpack/dlpack.h, version 1.3 of the standard).
struct DLManagedTensorVersioned;

/// Waits for the load, then exports the tensor at `index` without a copy. The export is the caller's and keeps the
/// tensor's memory, whatever becomes of the load, until its `deleter` is called, on any thread. Types of less than a
/// byte are packed.
///
/// @return the load's first error, as warpload_load_wait returns it; WARPLOAD_INVALID_ARGUMENT when there is no tensor
///         at that index.
WARPLOAD_API warpload_status warpload_load_dlpack(const warpload_load* load, size_t index,
                                                  struct DLManagedTensorVersioned** out, warpload_error** error);

/// Frees a load: cancels what has not been done, waits for the threads and the GPU's copies, and releases the memory
/// that no export needs.
WARPLOAD_API void warpload_load_free(warpload_load* load);

#ifdef __cplusplus
}
#endif

#endif

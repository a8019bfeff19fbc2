// The C interface as C99 sees it: that the header needs nothing before it, the layout that programs are compiled
// against, and the header's own example. What is here may only grow: where an old line has to change, so has
// WARPLOAD_ABI_VERSION.
#include <stdio.h>
#include <string.h>

#include "warpload/warpload.h"

// C99 has no static_assert.
#define JOIN_(first, second) first##second
#define JOIN(first, second) JOIN_(first, second)
#define ASSERT(condition) typedef char JOIN(assertion_in_line_, __LINE__)[(condition) ? 1 : -1]

#define VALUE(name, value) ASSERT((name) == (value))
#define SIZE(type, size) ASSERT(sizeof(type) == (size))
#define FIELD(type, field, offset, size) \
  ASSERT(offsetof(type, field) == (offset) && sizeof(((type*)0)->field) == (size))

// ---- values ---------------------------------------------------------------------------------------------------------

VALUE(WARPLOAD_ABI_VERSION, 1);

SIZE(warpload_status, 4);
VALUE(WARPLOAD_OK, 0);
VALUE(WARPLOAD_FORMAT, 1);
VALUE(WARPLOAD_IO, 2);
VALUE(WARPLOAD_OUT_OF_MEMORY, 3);
VALUE(WARPLOAD_DEVICE, 4);
VALUE(WARPLOAD_CANCELLED, 5);
VALUE(WARPLOAD_INVALID_ARGUMENT, 6);
VALUE(WARPLOAD_TIMEOUT, 7);
VALUE(WARPLOAD_INTERNAL, 8);

SIZE(warpload_dtype, 4);
VALUE(WARPLOAD_DTYPE_KEEP, 0);
VALUE(WARPLOAD_DTYPE_BOOL, 1);
VALUE(WARPLOAD_DTYPE_F4, 2);
VALUE(WARPLOAD_DTYPE_F6_E2M3, 3);
VALUE(WARPLOAD_DTYPE_F6_E3M2, 4);
VALUE(WARPLOAD_DTYPE_U8, 5);
VALUE(WARPLOAD_DTYPE_I8, 6);
VALUE(WARPLOAD_DTYPE_F8_E5M2, 7);
VALUE(WARPLOAD_DTYPE_F8_E4M3, 8);
VALUE(WARPLOAD_DTYPE_F8_E8M0, 9);
VALUE(WARPLOAD_DTYPE_F8_E4M3FNUZ, 10);
VALUE(WARPLOAD_DTYPE_F8_E5M2FNUZ, 11);
VALUE(WARPLOAD_DTYPE_I16, 12);
VALUE(WARPLOAD_DTYPE_U16, 13);
VALUE(WARPLOAD_DTYPE_F16, 14);
VALUE(WARPLOAD_DTYPE_BF16, 15);
VALUE(WARPLOAD_DTYPE_I32, 16);
VALUE(WARPLOAD_DTYPE_U32, 17);
VALUE(WARPLOAD_DTYPE_F32, 18);
VALUE(WARPLOAD_DTYPE_C64, 19);
VALUE(WARPLOAD_DTYPE_F64, 20);
VALUE(WARPLOAD_DTYPE_I64, 21);
VALUE(WARPLOAD_DTYPE_U64, 22);

SIZE(warpload_device_kind, 4);
VALUE(WARPLOAD_DEVICE_HOST, 0);
VALUE(WARPLOAD_DEVICE_CUDA, 1);

SIZE(warpload_direct_io, 4);
SIZE(warpload_populate, 4);
VALUE(WARPLOAD_DIRECT_IO_AUTO, 0);
VALUE(WARPLOAD_DIRECT_IO_NEVER, 1);
VALUE(WARPLOAD_DIRECT_IO_ALWAYS, 2);

SIZE(warpload_device_casts, 4);
VALUE(WARPLOAD_DEVICE_CASTS_AUTO, 0);
VALUE(WARPLOAD_DEVICE_CASTS_HOST, 1);
VALUE(WARPLOAD_DEVICE_CASTS_DEVICE, 2);

// ---- structs, where pointers and size_t have 64 bits ----------------------------------------------------------------

SIZE(warpload_trace_kind, 4);
VALUE(WARPLOAD_TRACE_READING, 0);
VALUE(WARPLOAD_TRACE_COPYING, 1);
VALUE(WARPLOAD_TRACE_CASTING, 2);
VALUE(WARPLOAD_TRACE_WAITING_FOR_SLOT, 3);
VALUE(WARPLOAD_TRACE_WAITING_FOR_ARENA, 4);
VALUE(WARPLOAD_TRACE_SENDING, 5);
VALUE(WARPLOAD_TRACE_POPULATING, 6);

SIZE(warpload_device, 8);
FIELD(warpload_device, kind, 0, 4);
FIELD(warpload_device, ordinal, 4, 4);

SIZE(warpload_error_details, 72);
FIELD(warpload_error_details, message, 0, 8);
FIELD(warpload_error_details, reason, 8, 8);
FIELD(warpload_error_details, path, 16, 8);
FIELD(warpload_error_details, tensor, 24, 8);
FIELD(warpload_error_details, cure, 32, 8);
FIELD(warpload_error_details, range_begin, 40, 8);
FIELD(warpload_error_details, range_end, 48, 8);
FIELD(warpload_error_details, has_range, 56, 4);
FIELD(warpload_error_details, status, 60, 4);
FIELD(warpload_error_details, system_error, 64, 4);
FIELD(warpload_error_details, driver_error, 68, 4);

SIZE(warpload_tensor_info, 56);
FIELD(warpload_tensor_info, name, 0, 8);
FIELD(warpload_tensor_info, name_bytes, 8, 8);
FIELD(warpload_tensor_info, shape, 16, 8);
FIELD(warpload_tensor_info, ndim, 24, 8);
FIELD(warpload_tensor_info, nbytes, 32, 8);
FIELD(warpload_tensor_info, dtype, 40, 4);
FIELD(warpload_tensor_info, blocks, 48, 8);

SIZE(warpload_loader_options, 64);
FIELD(warpload_loader_options, struct_size, 0, 8);
FIELD(warpload_loader_options, device, 8, 8);
FIELD(warpload_loader_options, driver_library, 16, 8);
FIELD(warpload_loader_options, threads, 24, 8);
FIELD(warpload_loader_options, pinned_bytes, 32, 8);
FIELD(warpload_loader_options, slot_bytes, 40, 8);
FIELD(warpload_loader_options, direct_io, 48, 4);
FIELD(warpload_loader_options, device_casts, 52, 4);
FIELD(warpload_loader_options, populate, 56, 4);

SIZE(warpload_tensor_dtype, 16);
FIELD(warpload_tensor_dtype, name, 0, 8);
FIELD(warpload_tensor_dtype, dtype, 8, 4);

SIZE(warpload_memory, 32);
FIELD(warpload_memory, data, 0, 8);
FIELD(warpload_memory, bytes, 8, 8);
FIELD(warpload_memory, release, 16, 8);
FIELD(warpload_memory, release_data, 24, 8);

SIZE(warpload_load_options, 120);
FIELD(warpload_load_options, struct_size, 0, 8);
FIELD(warpload_load_options, tensor_dtypes, 8, 8);
FIELD(warpload_load_options, tensor_dtype_count, 16, 8);
FIELD(warpload_load_options, names, 24, 8);
FIELD(warpload_load_options, name_count, 32, 8);
FIELD(warpload_load_options, filter, 40, 8);
FIELD(warpload_load_options, filter_data, 48, 8);
FIELD(warpload_load_options, memory, 56, 32);
FIELD(warpload_load_options, stream, 88, 8);
FIELD(warpload_load_options, deadline_ms, 96, 8);
FIELD(warpload_load_options, dtype, 104, 4);
FIELD(warpload_load_options, no_views, 108, 4);
FIELD(warpload_load_options, trace_events, 112, 8);

SIZE(warpload_trace_event, 32);
FIELD(warpload_trace_event, begin_ns, 0, 8);
FIELD(warpload_trace_event, end_ns, 8, 8);
FIELD(warpload_trace_event, bytes, 16, 8);
FIELD(warpload_trace_event, thread, 24, 4);
FIELD(warpload_trace_event, kind, 28, 4);

SIZE(warpload_tensor, 64);
FIELD(warpload_tensor, name, 0, 8);
FIELD(warpload_tensor, name_bytes, 8, 8);
FIELD(warpload_tensor, data, 16, 8);
FIELD(warpload_tensor, nbytes, 24, 8);
FIELD(warpload_tensor, shape, 32, 8);
FIELD(warpload_tensor, ndim, 40, 8);
FIELD(warpload_tensor, dtype, 48, 4);
FIELD(warpload_tensor, device, 52, 8);

// ---- functions ------------------------------------------------------------------------------------------------------

// Declared once more: a function whose type is another in the header is an error here, and one that is missing there,
// or in the library, is found by check_c_symbols.cmake.
WARPLOAD_API const char* warpload_version(void);
WARPLOAD_API int32_t warpload_abi_version(void);
WARPLOAD_API const char* warpload_dtype_name(warpload_dtype dtype);
WARPLOAD_API uint32_t warpload_dtype_bits(warpload_dtype dtype);
WARPLOAD_API const warpload_error_details* warpload_error_get(const warpload_error* error);
WARPLOAD_API void warpload_error_free(warpload_error* error);
WARPLOAD_API warpload_status warpload_checkpoint_open(const char* const* paths, size_t count, warpload_checkpoint** out,
                                                      warpload_error** error);
WARPLOAD_API size_t warpload_checkpoint_tensor_count(const warpload_checkpoint* checkpoint);
WARPLOAD_API warpload_status warpload_checkpoint_tensor(const warpload_checkpoint* checkpoint, size_t index,
                                                        const warpload_tensor_info** out, warpload_error** error);
WARPLOAD_API warpload_status warpload_checkpoint_find(const warpload_checkpoint* checkpoint, const char* name,
                                                      const warpload_tensor_info** out, warpload_error** error);
WARPLOAD_API void warpload_checkpoint_free(warpload_checkpoint* checkpoint);
WARPLOAD_API warpload_status warpload_loader_create(const warpload_loader_options* options, warpload_loader** out,
                                                    warpload_error** error);
WARPLOAD_API void warpload_loader_free(warpload_loader* loader);
WARPLOAD_API warpload_status warpload_arena_bytes(const warpload_loader* loader, const warpload_checkpoint* checkpoint,
                                                  const warpload_load_options* options, uint64_t* out,
                                                  warpload_error** error);
WARPLOAD_API warpload_status warpload_load_start(const warpload_loader* loader, const warpload_checkpoint* checkpoint,
                                                 const warpload_load_options* options, warpload_load** out,
                                                 warpload_error** error);
WARPLOAD_API warpload_status warpload_load_wait(const warpload_load* load, int64_t timeout_ms, warpload_error** error);
WARPLOAD_API warpload_status warpload_load_progress(const warpload_load* load, uint64_t* bytes_done,
                                                    uint64_t* bytes_total, warpload_error** error);
WARPLOAD_API warpload_status warpload_load_trace(const warpload_load* load, warpload_trace_event* events,
                                                 size_t capacity, size_t* count, uint64_t* lost,
                                                 warpload_error** error);
WARPLOAD_API warpload_status warpload_load_cancel(warpload_load* load, warpload_error** error);
WARPLOAD_API size_t warpload_load_tensor_count(const warpload_load* load);
WARPLOAD_API warpload_status warpload_load_tensor(const warpload_load* load, size_t index, const warpload_tensor** out,
                                                  warpload_error** error);
WARPLOAD_API warpload_status warpload_load_find(const warpload_load* load, const char* name,
                                                const warpload_tensor** out, warpload_error** error);
WARPLOAD_API warpload_status warpload_load_read(const warpload_load* load, size_t index, void* destination,
                                                uint64_t bytes, warpload_error** error);
WARPLOAD_API warpload_status warpload_load_dlpack(const warpload_load* load, size_t index,
                                                  struct DLManagedTensorVersioned** out, warpload_error** error);
WARPLOAD_API void warpload_load_free(warpload_load* load);

// ---- the example of the header --------------------------------------------------------------------------------------

static unsigned char* destination;

static void use(const void* data, uint64_t bytes) { memcpy(destination, data, (size_t)bytes); }

void load_conv_in_weight_in_c(const char* path, unsigned char* bytes);

// Puts the bytes of one tensor, as bf16, there.
void load_conv_in_weight_in_c(const char* path, unsigned char* bytes) {
  destination = bytes;

  warpload_load_options options = {.struct_size = sizeof options, .dtype = WARPLOAD_DTYPE_BF16};
  warpload_checkpoint* checkpoint = NULL;
  warpload_loader* loader = NULL;
  warpload_load* load = NULL;
  warpload_error* error = NULL;
  const warpload_tensor* tensor = NULL;
  if (warpload_checkpoint_open(&path, 1, &checkpoint, &error) == WARPLOAD_OK &&
      warpload_loader_create(NULL, &loader, &error) == WARPLOAD_OK &&
      warpload_load_start(loader, checkpoint, &options, &load, &error) == WARPLOAD_OK &&
      warpload_load_wait(load, -1, &error) == WARPLOAD_OK &&
      warpload_load_find(load, "conv_in.weight", &tensor, &error) == WARPLOAD_OK)
    use(tensor->data, tensor->nbytes);
  else
    fprintf(stderr, "%s\n", warpload_error_get(error)->message);
  warpload_load_free(load);
  warpload_loader_free(loader);
  warpload_checkpoint_free(checkpoint);
  warpload_error_free(error);
}

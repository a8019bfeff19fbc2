// c_interface FILE...: loads the shards of a checkpoint through the C interface, once as they are and once as F32,
// lists the tensors, and compares what was cast from BF16 with its own widening. Exits with 1 where something is wrong.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <warpload/warpload.h>

static void fail(const char* what, const char* detail) {
  fprintf(stderr, "%s: %s\n", what, detail);
  exit(1);
}

// Ends the program where a call has failed; `error` is what it said.
static void check(warpload_status status, const warpload_error* error, const char* call) {
  if (status != WARPLOAD_OK) fail(call, warpload_error_get(error)->message);
}

// Starts a load and waits for it, a second at a time.
static warpload_load* load_as(const warpload_loader* loader, const warpload_checkpoint* checkpoint,
                              warpload_dtype dtype) {
  warpload_load_options options = {.struct_size = sizeof options, .dtype = dtype};
  warpload_load* load = NULL;
  warpload_error* error = NULL;
  check(warpload_load_start(loader, checkpoint, &options, &load, &error), error, "warpload_load_start");
  warpload_status status = WARPLOAD_TIMEOUT;
  while (status == WARPLOAD_TIMEOUT) status = warpload_load_wait(load, 1000, &error);
  check(status, error, "warpload_load_wait");
  return load;
}

static const warpload_tensor* tensor_at(const warpload_load* load, size_t index) {
  const warpload_tensor* tensor = NULL;
  warpload_error* error = NULL;
  check(warpload_load_tensor(load, index, &tensor, &error), error, "warpload_load_tensor");
  return tensor;
}

// 1 where the F32 bytes are those of the BF16 ones: the same sixteen bits, above sixteen zeros.
static int is_widened(const unsigned char* bf16, const unsigned char* f32, uint64_t count) {
  for (uint64_t index = 0; index < count; ++index) {
    const unsigned char expected[4] = {0, 0, bf16[2 * index], bf16[2 * index + 1]};
    if (memcmp(f32 + 4 * index, expected, sizeof expected) != 0) return 0;
  }
  return 1;
}

static int is_floating_point(warpload_dtype dtype) {
  return dtype == WARPLOAD_DTYPE_F16 || dtype == WARPLOAD_DTYPE_BF16 || dtype == WARPLOAD_DTYPE_F32 ||
         dtype == WARPLOAD_DTYPE_F64;
}

static void compare(const warpload_tensor* kept, const warpload_tensor* cast) {
  if (strcmp(kept->name, cast->name) != 0) fail(kept->name, "the two loads differ in their order");
  const warpload_dtype expected = is_floating_point(kept->dtype) ? WARPLOAD_DTYPE_F32 : kept->dtype;
  if (cast->dtype != expected) fail(kept->name, "the dtype is not the one that was asked for");
  if (kept->dtype == WARPLOAD_DTYPE_BF16) {
    if (!is_widened(kept->data, cast->data, kept->nbytes / 2)) fail(kept->name, "the cast bytes are wrong");
  } else if (kept->dtype == cast->dtype && kept->nbytes != 0) {
    if (memcmp(kept->data, cast->data, (size_t)kept->nbytes) != 0) fail(kept->name, "the bytes are wrong");
  }
}

static void check_error_of_a_missing_file(void) {
  const char* const missing = "/nowhere/missing.safetensors";
  warpload_checkpoint* checkpoint = NULL;
  warpload_error* error = NULL;
  if (warpload_checkpoint_open(&missing, 1, &checkpoint, &error) != WARPLOAD_IO || checkpoint != NULL) {
    fail(missing, "opening it did not fail as it should");
  }
  const warpload_error_details* details = warpload_error_get(error);
  if (strcmp(details->path, missing) != 0 || details->system_error != ENOENT) fail(missing, details->message);
  warpload_error_free(error);
}

int main(int count, char** arguments) {
  if (count < 2) fail(arguments[0], "which files?");
  if (warpload_abi_version() != WARPLOAD_ABI_VERSION) fail("warpload.h", "not the header of this library");
  check_error_of_a_missing_file();

  warpload_checkpoint* checkpoint = NULL;
  warpload_loader* loader = NULL;
  warpload_error* error = NULL;
  check(warpload_checkpoint_open((const char* const*)(arguments + 1), (size_t)count - 1, &checkpoint, &error), error,
        "warpload_checkpoint_open");
  check(warpload_loader_create(NULL, &loader, &error), error, "warpload_loader_create");
  warpload_load* const kept = load_as(loader, checkpoint, WARPLOAD_DTYPE_KEEP);
  warpload_load* const cast = load_as(loader, checkpoint, WARPLOAD_DTYPE_F32);
  warpload_checkpoint_free(checkpoint);
  warpload_loader_free(loader);

  uint64_t bytes = 0;
  const size_t tensors = warpload_load_tensor_count(kept);
  for (size_t index = 0; index < tensors; ++index) {
    const warpload_tensor* const tensor = tensor_at(kept, index);
    printf("%-40s %-8s %12" PRIu64 "\n", tensor->name, warpload_dtype_name(tensor->dtype), tensor->nbytes);
    compare(tensor, tensor_at(cast, index));
    bytes += tensor->nbytes;
  }
  printf("warpload %s: %zu tensors, %" PRIu64 " bytes\n", warpload_version(), tensors, bytes);
  warpload_load_free(cast);
  warpload_load_free(kept);
  return 0;
}

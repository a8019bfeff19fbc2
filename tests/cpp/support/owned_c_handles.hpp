// The C interface for tests: handles that free themselves, and calls that have to succeed.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "warpload/warpload.h"

namespace warpload::testing {

template <auto Free>
struct Freeing {
  template <class Handle>
  void operator()(Handle* handle) const noexcept {
    Free(handle);
  }
};

using CCheckpoint = std::unique_ptr<warpload_checkpoint, Freeing<warpload_checkpoint_free>>;
using CLoader = std::unique_ptr<warpload_loader, Freeing<warpload_loader_free>>;
using CLoad = std::unique_ptr<warpload_load, Freeing<warpload_load_free>>;
using CError = std::unique_ptr<warpload_error, Freeing<warpload_error_free>>;

// A call's status, and what it said about it.
struct COutcome {
  warpload_status status = WARPLOAD_OK;
  CError error = {};

  [[nodiscard]] const warpload_error_details& details() const noexcept { return *warpload_error_get(error.get()); }
};

// Calls `function(arguments..., &error)`.
template <class Function, class... Arguments>
COutcome call(Function* function, Arguments... arguments) {
  warpload_error* error = nullptr;
  const warpload_status status = function(arguments..., &error);
  EXPECT_EQ(error != nullptr, status != WARPLOAD_OK && status != WARPLOAD_TIMEOUT);
  EXPECT_TRUE(error == nullptr || warpload_error_get(error)->status == status);
  return {status, CError(error)};
}

// Calls `function(arguments..., &result, &error)`, which has to succeed, and gives the result.
template <class Result, class Function, class... Arguments>
Result get(Function* function, Arguments... arguments) {
  Result result{};
  const COutcome outcome = call(function, arguments..., &result);
  EXPECT_EQ(outcome.status, WARPLOAD_OK) << outcome.details().message;
  return result;
}

inline CCheckpoint open_in_c(const std::filesystem::path& path) {
  const char* const paths[] = {path.c_str()};
  return CCheckpoint(get<warpload_checkpoint*>(warpload_checkpoint_open, paths, std::size_t{1}));
}

inline CLoader make_loader_in_c(warpload_loader_options options = {}) {
  options.struct_size = sizeof options;
  return CLoader(get<warpload_loader*>(warpload_loader_create, &options));
}

inline CLoad start_in_c(const CLoader& loader, const CCheckpoint& checkpoint, warpload_load_options options = {}) {
  options.struct_size = sizeof options;
  return CLoad(get<warpload_load*>(warpload_load_start, loader.get(), checkpoint.get(), &options));
}

// Waits for a load, which has to succeed.
inline CLoad finished(CLoad load) {
  const COutcome outcome = call(warpload_load_wait, load.get(), std::int64_t{-1});
  EXPECT_EQ(outcome.status, WARPLOAD_OK) << outcome.details().message;
  return load;
}

inline const warpload_tensor& tensor_of(const CLoad& load, std::size_t index) {
  return *get<const warpload_tensor*>(warpload_load_tensor, load.get(), index);
}

// The bytes of a tensor, wherever they are.
inline std::string read_in_c(const CLoad& load, std::size_t index) {
  std::string bytes(tensor_of(load, index).nbytes, '?');
  const COutcome outcome = call(warpload_load_read, load.get(), index, static_cast<void*>(bytes.data()), bytes.size());
  EXPECT_EQ(outcome.status, WARPLOAD_OK) << outcome.details().message;
  return bytes;
}

inline std::vector<std::string> names_of(const CLoad& load) {
  std::vector<std::string> names;
  for (std::size_t index = 0; index < warpload_load_tensor_count(load.get()); ++index) {
    const warpload_tensor& tensor = tensor_of(load, index);
    names.emplace_back(tensor.name, tensor.name_bytes);
  }
  return names;
}

}  // namespace warpload::testing

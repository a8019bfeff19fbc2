// A child after fork and what its parent began: nothing of it hangs there.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "cpp/support/memory_source.hpp"
#include "cpp/support/safetensors_bytes.hpp"
#include "warpload/byte_source.hpp"
#include "warpload/checkpoint.hpp"
#include "warpload/error.hpp"
#include "warpload/loader.hpp"

namespace warpload {
namespace {

using std::chrono::milliseconds;
using testing::MemorySource;
using testing::safetensors_bytes;

// Holds every read of tensor data up until it is opened.
class Gate final : public ByteSource {
 public:
  explicit Gate(std::string bytes) : source_(std::move(bytes)) {}
  [[nodiscard]] const std::string& path() const noexcept override { return source_.path(); }
  [[nodiscard]] std::uint64_t size() const noexcept override { return source_.size(); }
  void read_exact(std::uint64_t offset, std::span<std::byte> destination) const override {
    std::unique_lock lock(mutex_);
    if (shut_) {
      ++waiting_;
      changed_.notify_all();
    }
    changed_.wait(lock, [this] { return !shut_; });
    source_.read_exact(offset, destination);
  }
  void shut() { set(true); }
  void open() { set(false); }
  void wait_for_a_reader() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return waiting_ > 0; });
  }

 private:
  void set(bool shut) {
    const std::lock_guard lock(mutex_);
    shut_ = shut;
    changed_.notify_all();
  }
  MemorySource source_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  mutable int waiting_ = 0;
  bool shut_ = false;
};

// True when it returns true in a child, and in time.
bool holds_in_child(const std::function<bool()>& claim) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(30);  // only a hang reaches it
    ::_exit(claim() ? 0 : 1);
  }
  int status = -1;
  return ::waitpid(child, &status, 0) == child && status == 0;
}

bool refuses(const std::function<void()>& call) {
  try {
    call();
  } catch (const InvalidArgumentError& error) {
    return error.reason().find("child by fork") != std::string::npos && !error.cure().empty();
  }
  return false;
}

class ForkTest : public ::testing::Test {
 protected:
  std::shared_ptr<Gate> gate_ = std::make_shared<Gate>(
      safetensors_bytes(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", std::string(8, '\1')));
  Checkpoint::Ptr checkpoint_ = Checkpoint::from_sources({gate_});
  Loader loader_{{.threads = 2}};
};

TEST_F(ForkTest, WhatWaitsForALoadOfTheParentsThrowsAtOnce) {
  gate_->shut();
  LoadHandle handle = loader_.start(checkpoint_);
  gate_->wait_for_a_reader();

  const std::vector<std::function<void()>> calls{
      [&] { handle.wait(); },
      [&] { static_cast<void>(handle.wait_for(milliseconds(1))); },
      [&] { static_cast<void>(handle.wait_segment_for(0, milliseconds(1))); },
      [&] { handle.wait_arrival(0); },
      [&] { handle.make_stream_wait(0, nullptr); },
      [&] { handle.release_segment(0); },
      [&] { handle.rethrow_if_failed(); },
      [&] { static_cast<void>(handle.tensors()); },
      [&] { static_cast<void>(handle.get()); },
  };
  for (const auto& call : calls) EXPECT_TRUE(holds_in_child([&] { return refuses(call); }));
  EXPECT_TRUE(holds_in_child([&] {
    handle.cancel();
    handle.cancel_at(std::chrono::steady_clock::now());
    return handle.done();
  }));
  EXPECT_TRUE(holds_in_child([&] {
    const LoadHandle released = std::move(handle);
    return true;
  }));

  gate_->open();
  EXPECT_EQ(handle.get().tensors().size(), 1U);
}

TEST_F(ForkTest, ALoadThatHadEndedIsThereInTheChild) {
  const LoadHandle handle = loader_.start(checkpoint_);
  handle.wait();

  EXPECT_TRUE(holds_in_child([&] {
    handle.wait();
    return handle.done() && handle.get().tensors().at("a").data()[7] == std::byte{1} && handle.tensors().size() == 1;
  }));
  EXPECT_TRUE(holds_in_child([&] { return refuses([&] { handle.release_segment(0); }); }));
}

TEST_F(ForkTest, ALoaderOfTheParentsRefusesAndAnotherOneLoads) {
  gate_->shut();
  const LoadHandle busy = loader_.start(checkpoint_);
  gate_->wait_for_a_reader();

  EXPECT_TRUE(holds_in_child([&] { return refuses([&] { static_cast<void>(loader_.start(checkpoint_)); }); }));
  EXPECT_TRUE(holds_in_child([&] { return refuses([&] { loader_.prepare(Device::host(), 1); }); }));
  EXPECT_TRUE(holds_in_child([&] { return refuses([&] { static_cast<void>(loader_.release_pinned_memory()); }); }));
  EXPECT_TRUE(holds_in_child([&] { return refuses([&] { static_cast<void>(loader_.pinned_bytes()); }); }));
#ifndef __SANITIZE_THREAD__  // which supports no new threads in a child of a process that has several
  EXPECT_TRUE(holds_in_child([&] {
    const auto other = Checkpoint::from_sources({std::make_shared<MemorySource>(
        safetensors_bytes(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", std::string(8, '\2')))});
    Loader own({.threads = 2});
    return own.start(other).get().tensors().at("a").data()[0] == std::byte{2};
  }));
#endif
  gate_->open();
  busy.wait();
}

TEST(LoaderThreadsTest, AreNoMoreThanCanHelp) {
  const unsigned most = Loader::most_threads();
  EXPECT_GE(most, 32U);
  EXPECT_EQ(Loader({.threads = 9999}).threads(), most);
  EXPECT_EQ(Loader({.threads = 3}).threads(), 3U);
  EXPECT_LE(Loader().threads(), most);
}

}  // namespace
}  // namespace warpload

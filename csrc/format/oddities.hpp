// Collects what is odd about a checkpoint, in bounded memory whatever a stranger's file holds.
#pragma once

#include <string>
#include <vector>

#include "warpload/checkpoint.hpp"

namespace warpload {

// Most oddities that are kept apart; what comes after them is only counted.
inline constexpr std::size_t kMaxOddities = 32;

class Oddities {
 public:
  // What is true of many tensors is kept once, with the first tensor's name and the number of the others.
  void add(OddityKind kind, const std::string& path, const std::string& tensor, const std::string& what);
  void add(const std::vector<Oddity>& others);

  [[nodiscard]] const std::vector<Oddity>& list() const noexcept { return list_; }

 private:
  // The entry to count another of this kind with, or nullptr where it needs one of its own.
  [[nodiscard]] Oddity* alike(OddityKind kind, const std::string& path, const std::string& what);

  std::vector<Oddity> list_;
};

}  // namespace warpload

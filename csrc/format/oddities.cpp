#include "format/oddities.hpp"

#include <algorithm>

#include "format/json.hpp"

namespace warpload {

void Oddities::add(OddityKind kind, const std::string& path, const std::string& tensor, const std::string& what) {
  if (Oddity* const first = alike(kind, path, what)) {
    ++first->more;
  } else {
    list_.push_back({.kind = kind, .path = path, .tensor = tensor, .what = what});
  }
}

void Oddities::add(const std::vector<Oddity>& others) {
  for (const Oddity& other : others) {
    if (Oddity* const first = alike(other.kind, other.path, other.what)) {
      first->more += 1 + other.more;
    } else {
      list_.push_back(other);
    }
  }
}

Oddity* Oddities::alike(OddityKind kind, const std::string& path, const std::string& what) {
  const auto same = std::find_if(list_.begin(), list_.end(), [&](const Oddity& oddity) {
    return oddity.kind == kind && oddity.path == path && oddity.what == what;
  });
  if (same != list_.end()) return &*same;
  if (list_.size() < kMaxOddities) return nullptr;
  // A kind that is new is kept all the same, as callers decide by kinds: there are few.
  const auto of_kind =
      std::find_if(list_.begin(), list_.end(), [&](const Oddity& oddity) { return oddity.kind == kind; });
  return of_kind != list_.end() ? &*of_kind : nullptr;
}

std::string describe(const Oddity& oddity) {
  std::string text = oddity.path;
  if (!oddity.tensor.empty()) text += ": tensor " + in_quotes(oddity.tensor);
  text += ": " + oddity.what;
  if (oddity.more != 0) text += " (and " + std::to_string(oddity.more) + " more like it)";
  return text;
}

std::string_view oddity_name(OddityKind kind) noexcept {
  switch (kind) {
    case OddityKind::header:
      return "header";
    case OddityKind::repeated_key:
      return "repeated key";
    case OddityKind::path:
      return "path";
    case OddityKind::suffix:
      return "suffix";
    case OddityKind::absent:
      return "absent";
    case OddityKind::unlisted:
      return "unlisted";
    case OddityKind::misplaced:
      return "misplaced";
    case OddityKind::stale_copy:
      return "stale copy";
    case OddityKind::conflicting_copy:
      return "conflicting copy";
  }
  return "unknown";
}

}  // namespace warpload

#include "warpload/error.hpp"

#include <cstddef>
#include <system_error>
#include <utility>

namespace warpload {
namespace {

// Names come from files: nothing in them may reach a terminal as a control sequence, or fill its screen. The fields of
// the error keep them as they are.
std::string printable(const std::string& text) {
  constexpr std::size_t kLongest = 512;
  constexpr char kDigits[] = "0123456789abcdef";
  std::string result;
  for (const char character : text.substr(0, kLongest)) {
    const auto byte = static_cast<unsigned char>(character);
    if (byte >= 0x20 && byte != 0x7F) {
      result += character;
    } else {
      result.append("\\x").append(1, kDigits[byte >> 4]).append(1, kDigits[byte & 15]);
    }
  }
  if (text.size() > kLongest) result += "...";
  return result;
}

std::string compose(const ErrorContext& context) {
  std::string text;
  const auto append = [&text](const std::string& part) {
    if (!text.empty()) text += ": ";
    text += part;
  };
  if (!context.path.empty()) append(printable(context.path));
  if (!context.tensor.empty()) append("tensor '" + printable(context.tensor) + "'");
  if (context.range) {
    append("bytes [" + std::to_string(context.range->begin) + ", " + std::to_string(context.range->end) + ")");
  }
  append(context.reason);
  if (context.system_error != 0) append(std::generic_category().message(context.system_error));
  if (!context.cure.empty()) text += " (" + context.cure + ")";
  return text;
}

}  // namespace

Error::Error(ErrorCode code, ErrorContext context)
    : std::runtime_error(compose(context)), code_(code), context_(std::move(context)) {}

}  // namespace warpload

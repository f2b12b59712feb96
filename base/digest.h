// SHA-256 and the text encodings of bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

namespace fedglm {

using Sha256Digest = std::array<uint8_t, 32>;

// Incremental SHA-256 (OpenSSL). Not thread-safe.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  void Update(std::string_view bytes);
  void Update(std::span<const std::byte> bytes);
  Sha256Digest Finish();  // once

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Lower-case hexadecimal digests.
std::string Sha256Hex(std::string_view bytes);
absl::StatusOr<std::string> Sha256HexOfFile(const std::filesystem::path& path);
bool IsSha256Hex(std::string_view text);  // 64 of the digits below

bool IsLowerHex(std::string_view text);  // one or more of 0-9 and a-f, and nothing else: safe in a file's name

std::string HexEncode(std::span<const uint8_t> bytes);
std::string Base64UrlEncode(std::string_view bytes);  // without padding
absl::StatusOr<std::string> Base64UrlDecode(std::string_view text);

// Bytes as std::string for the encoders and for SHA-256.
inline std::string_view AsText(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Equality in time independent of the content; for secrets.
bool EqualInConstantTime(std::string_view a, std::string_view b);

// Cryptographically secure random bytes (OpenSSL).
std::string SecureRandomBytes(size_t count);

}  // namespace fedglm

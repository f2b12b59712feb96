// The keys that may use the API, and how much each may. The file holds no key, only salted SHA-256 hashes. A key is
// "fedglm-ID-SECRET": ID is 12 hexadecimal digits that find its line, SECRET 256 random bits, so that one round of a
// fast hash is enough: there is no dictionary to try. One line for each key:
//
//   # a comment
//   v1 NAME ID SALT HASH [requests_per_minute=N] [tokens_per_minute=N] [parallel=N]
//
// NAME: letters, digits, ".", "_", "-". SALT: 32 hexadecimal digits. HASH: SHA-256 of SALT's digits followed by the
// whole key, hexadecimal. A limit that is missing or 0 is none. A line removed is a key revoked, within a second.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/clock.h"
#include "base/status.h"
#include "base/thread_annotations.h"

namespace fedglm {

struct KeyLimits {
  int64_t requests_per_minute = 0;  // 0: no limit
  int64_t tokens_per_minute = 0;    // of prompts and answers
  int64_t parallel = 0;             // requests at once
};

struct ApiKey {
  std::string name, id;
  std::string salt, hash;  // hexadecimal
  KeyLimits limits;
};

// A new key for the file. `key` is shown once and stored nowhere.
struct NewApiKey {
  std::string key;
  std::string line;  // of the file, with its newline
};
// UsageError for a name with other characters, or a negative limit.
absl::StatusOr<NewApiKey> MakeApiKey(const std::string& name, const KeyLimits& limits);

// Adds the key to the file (made with mode 0600 if it is not there). UsageError if the name is there already.
absl::StatusOr<std::string> AddApiKey(const std::filesystem::path& file, const std::string& name,
                                      const KeyLimits& limits);
// UsageError if no line has the name.
absl::Status RemoveApiKey(const std::filesystem::path& file, const std::string& name);

// The file's keys by their ids. ConfigurationError naming the line that is wrong.
using ApiKeyTable = std::unordered_map<std::string, ApiKey>;
absl::StatusOr<ApiKeyTable> ParseApiKeys(std::string_view text, const std::string& source);

// Thread-safe. Looks once a second, when it is asked for a key, whether the file has changed, and reads it again then.
// A changed file that is bad is logged and not taken.
class ApiKeyStore {
 public:
  // `clock` says when a second is over, and must outlive the store.
  static absl::StatusOr<std::unique_ptr<ApiKeyStore>> Open(const std::filesystem::path& file, const Clock& clock);

  // Nothing if the key is unknown. Takes as long for a wrong secret as for an unknown id.
  std::shared_ptr<const ApiKey> Find(std::string_view key);

 private:
  ApiKeyStore(std::filesystem::path file, const Clock& clock) : file_(std::move(file)), clock_(clock) {}
  std::shared_ptr<const ApiKeyTable> Current();
  absl::Status Load() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::filesystem::path file_;
  const Clock& clock_;
  Mutex mutex_;
  std::shared_ptr<const ApiKeyTable> keys_ ABSL_GUARDED_BY(mutex_);
  std::filesystem::file_time_type written_ ABSL_GUARDED_BY(mutex_);
  bool settled_ ABSL_GUARDED_BY(mutex_) = false;  // so long ago that a later change has another time
  std::chrono::system_clock::time_point looked_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fedglm

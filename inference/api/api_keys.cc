#include "inference/api/api_keys.h"

#include <algorithm>
#include <charconv>
#include <sstream>
#include <vector>

#include "base/digest.h"
#include "base/file.h"
#include "base/log.h"

namespace fedglm {
namespace {

constexpr std::string_view kPrefix = "fedglm-";
constexpr size_t kIdDigits = 12, kSaltDigits = 32, kHashDigits = 64;
constexpr uint64_t kMaxFileBytes = 4 << 20;
constexpr auto kLookEvery = std::chrono::seconds(1);

bool IsHex(const std::string& text, size_t digits) { return text.size() == digits && IsLowerHex(text); }

bool IsName(const std::string& name) {
  constexpr const char* kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
  return !name.empty() && name.size() <= 64 && name.find_first_not_of(kAllowed) == std::string::npos;
}

std::string RandomHex(size_t digits) {
  const std::string bytes = SecureRandomBytes(digits / 2);
  return HexEncode({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
}

std::vector<std::string> Words(const std::string& line) {
  std::istringstream stream(line);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

// "parallel=4"; false if it is none of the limits.
bool ReadLimit(const std::string& word, KeyLimits& limits) {
  const size_t equals = word.find('=');
  if (equals == std::string::npos) return false;
  const std::string name = word.substr(0, equals);
  int64_t* const limit = name == "requests_per_minute" ? &limits.requests_per_minute
                         : name == "tokens_per_minute" ? &limits.tokens_per_minute
                         : name == "parallel"          ? &limits.parallel
                                                       : nullptr;
  const char* const end = word.data() + word.size();
  if (limit == nullptr) return false;
  const auto [stop, error] = std::from_chars(word.data() + equals + 1, end, *limit);
  return error == std::errc() && stop == end && *limit >= 0;
}

std::string LimitText(const char* name, int64_t limit) {
  return limit == 0 ? "" : std::string(" ") + name + "=" + std::to_string(limit);
}

}  // namespace

absl::StatusOr<NewApiKey> MakeApiKey(const std::string& name, const KeyLimits& limits) {
  if (!IsName(name)) return UsageError("'" + name + "' is not a name of 1 to 64 letters, digits, '.', '_' and '-'");
  if (limits.requests_per_minute < 0 || limits.tokens_per_minute < 0 || limits.parallel < 0) {
    return UsageError("a limit is 0 (none) or more");
  }
  const std::string id = RandomHex(kIdDigits), salt = RandomHex(kSaltDigits);
  NewApiKey made;
  made.key = std::string(kPrefix) + id + "-" + Base64UrlEncode(SecureRandomBytes(32));
  made.line = "v1 " + name + " " + id + " " + salt + " " + Sha256Hex(salt + made.key) +
              LimitText("requests_per_minute", limits.requests_per_minute) +
              LimitText("tokens_per_minute", limits.tokens_per_minute) + LimitText("parallel", limits.parallel) + "\n";
  return made;
}

absl::StatusOr<std::string> AddApiKey(const std::filesystem::path& file, const std::string& name,
                                      const KeyLimits& limits) {
  FEDGLM_ASSIGN_OR_RETURN(const NewApiKey made, MakeApiKey(name, limits));
  absl::StatusOr<std::string> text = ReadFile(file, kMaxFileBytes);
  if (!text.ok() && text.status().code() != absl::StatusCode::kNotFound) return text.status();
  std::string lines = "# API keys of fedglm serve: salted hashes, one a line (inference/api/api_keys.h)\n";
  if (text.ok()) lines = *text;
  if (!lines.empty() && lines.back() != '\n') lines += '\n';
  FEDGLM_ASSIGN_OR_RETURN(const ApiKeyTable keys, ParseApiKeys(lines, file.string()));
  for (const auto& [id, key] : keys) {
    if (key.name == name) return UsageError(file.string() + ": there is a key '" + name + "' already");
  }
  FEDGLM_RETURN_IF_ERROR(WriteFileAtomically(file, lines + made.line, 0600));
  return made.key;
}

absl::Status RemoveApiKey(const std::filesystem::path& file, const std::string& name) {
  FEDGLM_ASSIGN_OR_RETURN(const std::string text, ReadFile(file, kMaxFileBytes));
  std::istringstream stream(text);
  std::string kept;
  bool found = false;
  for (std::string line; std::getline(stream, line);) {
    const std::vector<std::string> words = Words(line);
    if (words.size() > 1 && words[0] == "v1" && words[1] == name) {
      found = true;
    } else {
      kept += line + "\n";
    }
  }
  if (!found) return UsageError(file.string() + ": there is no key '" + name + "'");
  return WriteFileAtomically(file, kept, 0600);
}

absl::StatusOr<ApiKeyTable> ParseApiKeys(std::string_view text, const std::string& source) {
  ApiKeyTable keys;
  std::istringstream stream{std::string(text)};
  int number = 0;
  for (std::string line; std::getline(stream, line);) {
    ++number;
    const std::vector<std::string> words = Words(line);
    if (words.empty() || words[0].front() == '#') continue;
    const std::string where = source + ":" + std::to_string(number) + ": ";
    if (words.size() < 5 || words[0] != "v1" || !IsName(words[1]) || !IsHex(words[2], kIdDigits) ||
        !IsHex(words[3], kSaltDigits) || !IsHex(words[4], kHashDigits)) {
      return ConfigurationError(where + "expected: v1 NAME ID SALT HASH [LIMIT=N]…");
    }
    ApiKey key{words[1], words[2], words[3], words[4], {}};
    for (size_t i = 5; i < words.size(); ++i) {
      if (!ReadLimit(words[i], key.limits)) {
        return ConfigurationError(where + "'" + words[i] +
                                  "' is not requests_per_minute=N, tokens_per_minute=N or parallel=N");
      }
    }
    const std::string id = key.id;
    if (!keys.emplace(id, std::move(key)).second) return ConfigurationError(where + "the id " + id + " is there twice");
  }
  return keys;
}

absl::StatusOr<std::unique_ptr<ApiKeyStore>> ApiKeyStore::Open(const std::filesystem::path& file, const Clock& clock) {
  std::unique_ptr<ApiKeyStore> store(new ApiKeyStore(file, clock));
  MutexLock lock(store->mutex_);
  FEDGLM_RETURN_IF_ERROR(store->Load());
  return store;
}

absl::Status ApiKeyStore::Load() {
  std::error_code error;
  looked_ = clock_.Now();
  written_ = std::filesystem::last_write_time(file_, error);  // before the reading: a change meanwhile is seen later
  settled_ = std::filesystem::file_time_type::clock::now() - written_ > 2 * kLookEvery;
  const absl::StatusOr<std::string> text = ReadFile(file_, kMaxFileBytes);
  if (!text.ok()) return ConfigurationError(Message(text.status()));
  FEDGLM_ASSIGN_OR_RETURN(ApiKeyTable keys, ParseApiKeys(*text, file_.string()));
  keys_ = std::make_shared<const ApiKeyTable>(std::move(keys));
  return absl::OkStatus();
}

std::shared_ptr<const ApiKeyTable> ApiKeyStore::Current() {
  MutexLock lock(mutex_);
  const auto since = clock_.Now() - looked_;
  if (since >= since.zero() && since < kLookEvery) return keys_;  // a clock may be set back
  looked_ = clock_.Now();
  std::error_code error;
  const auto written = std::filesystem::last_write_time(file_, error);
  if (error || (written == written_ && settled_)) return keys_;
  const absl::Status status = Load();
  if (!status.ok()) LogError("the API keys stay as they were: " + Message(status));
  return keys_;
}

std::shared_ptr<const ApiKey> ApiKeyStore::Find(std::string_view key) {
  const ApiKey nobody = {"", "", std::string(kSaltDigits, '0'), std::string(kHashDigits, '0'), {}};
  const std::shared_ptr<const ApiKeyTable> keys = Current();
  const bool well_formed = key.size() > kPrefix.size() + kIdDigits && key.substr(0, kPrefix.size()) == kPrefix;
  const auto found = well_formed ? keys->find(std::string(key.substr(kPrefix.size(), kIdDigits))) : keys->end();
  const ApiKey& candidate = found == keys->end() ? nobody : found->second;
  const bool same = EqualInConstantTime(Sha256Hex(candidate.salt + std::string(key)), candidate.hash);
  if (!same || found == keys->end()) return nullptr;
  return {keys, &found->second};
}

}  // namespace fedglm

// fedglm api-key new | list | revoke: the file of keys that `fedglm serve --api-keys` and the node read.
#include "inference/api/api_keys.h"

#include <algorithm>
#include <cstdio>

#include "base/file.h"
#include "base/json.h"
#include "cli/command.h"

namespace fedglm::cli {
namespace {

struct ApiKeyOptions {
  std::string file, name;
  KeyLimits limits;
  bool json = false;
};

absl::Status MakeKey(const ApiKeyOptions& options) {
  FEDGLM_ASSIGN_OR_RETURN(const std::string key, AddApiKey(options.file, options.name, options.limits));
  std::printf("%s\n", key.c_str());
  std::fprintf(stderr, "this is the only time that the key is shown; the file holds its hash\n");
  return absl::OkStatus();
}

absl::Status ListKeys(const ApiKeyOptions& options) {
  FEDGLM_ASSIGN_OR_RETURN(const std::string text, ReadFile(options.file, 4 << 20));
  FEDGLM_ASSIGN_OR_RETURN(const ApiKeyTable table, ParseApiKeys(text, options.file));
  std::vector<ApiKey> keys;
  for (const auto& [id, key] : table) keys.push_back(key);
  std::sort(keys.begin(), keys.end(), [](const ApiKey& a, const ApiKey& b) { return a.name < b.name; });
  Json list = Json::array();
  for (const ApiKey& key : keys) {
    const KeyLimits& limits = key.limits;
    list.push_back({{"name", key.name},
                    {"id", key.id},
                    {"requests_per_minute", limits.requests_per_minute},
                    {"tokens_per_minute", limits.tokens_per_minute},
                    {"parallel", limits.parallel}});
    if (!options.json) {
      std::printf("%-24s %s  requests_per_minute=%lld tokens_per_minute=%lld parallel=%lld\n", key.name.c_str(),
                  key.id.c_str(), static_cast<long long>(limits.requests_per_minute),
                  static_cast<long long>(limits.tokens_per_minute), static_cast<long long>(limits.parallel));
    }
  }
  if (options.json) std::printf("%s\n", DumpJson(Json{{"version", 1}, {"keys", list}}).c_str());
  return absl::OkStatus();
}

absl::Status RevokeKey(const ApiKeyOptions& options) { return RemoveApiKey(options.file, options.name); }

}  // namespace

void AddApiKeys(CommandLine& line) {
  Command group = line.AddGroup("api-key", "the keys that may use a served model");
  auto options = std::make_shared<ApiKeyOptions>();
  const auto add = [&](const char* name, const char* description, absl::Status (*run)(const ApiKeyOptions&)) {
    Command app = line.AddTo(group, name, description, [options, run] { return run(*options); });
    app.Add("--file", options->file, "the file of keys").Required();
    return app;
  };
  Command make = add("new", "add a key to the file and print it, once", MakeKey);
  make.Add("--name", options->name, "whose it is: letters, digits, '.', '_', '-'").Required();
  make.Add("--requests-per-minute", options->limits.requests_per_minute, "0: no limit").Between(0, 1 << 30);
  make.Add("--tokens-per-minute", options->limits.tokens_per_minute, "of prompts and answers; 0: no limit")
      .Between(0, 1 << 30);
  make.Add("--parallel", options->limits.parallel, "requests at once; 0: no limit").Between(0, 1 << 20);
  add("list", "names, ids and limits; a key itself cannot be shown again", ListKeys).AddFlag("--json", options->json);
  add("revoke", "remove a key; a running server sees it within a second", RevokeKey)
      .Add("--name", options->name)
      .Required();
}

}  // namespace fedglm::cli

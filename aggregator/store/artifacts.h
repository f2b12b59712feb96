// What the aggregator keeps by digest: the adapters that it publishes, as SerializeAdapter writes them, and in a folder
// of its own, from which nobody downloads, what its strategy remembers.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/status.h"

namespace fedglm {

// Files named by their SHA-256. Written atomically and never changed; thread-safe.
class Artifacts {
 public:
  static absl::StatusOr<Artifacts> Open(const std::filesystem::path& folder);

  absl::StatusOr<std::string> Put(std::string_view bytes) const;  // the digest
  // The same of what `write` gives to its sink, of which there is no copy in memory. Its error is the result.
  using Sink = std::function<absl::Status(std::string_view bytes)>;
  absl::StatusOr<std::string> PutStreamed(const std::function<absl::Status(const Sink& sink)>& write) const;
  absl::StatusOr<std::string> Read(const std::string& sha256) const;
  absl::StatusOr<MappedFile> Map(const std::string& sha256) const;  // the same, not in the heap
  // RefusedError if `sha256` is no digest (a path, say) or nothing of that digest is published.
  absl::StatusOr<std::filesystem::path> Find(const std::string& sha256) const;
  absl::StatusOr<uint64_t> Bytes(const std::string& sha256) const;
  // What cannot be removed stays until the next call. "" keeps nothing.
  void RemoveAllBut(const std::string& sha256) const;

 private:
  explicit Artifacts(std::filesystem::path folder) : folder_(std::move(folder)) {}
  std::filesystem::path folder_;
};

}  // namespace fedglm

// What a site remembers between two lives: two small files, each replaced whole.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/status.h"

namespace fedglm {

// The adapter that runs at the site; installed.json. Round 0 is the one that the federation starts from.
struct InstalledRound {
  int64_t round = -1;  // -1: none yet
  std::string sha256;  // of the artifact
};
absl::StatusOr<InstalledRound> ReadInstalled(const std::filesystem::path& state_dir);
absl::Status WriteInstalled(const InstalledRound& installed, const std::filesystem::path& state_dir);

// What keeps the site from doing as it was told; not kept between two lives.
struct Standing {
  std::string declined_sha256;        // an adapter that is not used here
  bool trains_from_declined = false;  // it runs, and only the site's own records speak against it
  std::string setback;                // records, held-out, adapter, machine; empty: nothing
};

// Where in its shuffled records the site is; progress.json. A round that is trained twice (the node was killed
// meanwhile) begins where it began the first time, and so gives the same update.
struct TrainingProgress {
  int64_t round = 0;            // the round last begun
  int64_t examples_before = 0;  // seen in all rounds before it
  int64_t examples_after = 0;   // and with it
  int64_t ExamplesBefore(int64_t next_round) const { return next_round == round ? examples_before : examples_after; }
};
absl::StatusOr<TrainingProgress> ReadProgress(const std::filesystem::path& state_dir);
absl::Status WriteProgress(const TrainingProgress& progress, const std::filesystem::path& state_dir);

}  // namespace fedglm

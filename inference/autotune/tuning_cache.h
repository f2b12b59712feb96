// Where tunings are kept between starts: a folder with one small JSON file for each machine and kind of model.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/status.h"
#include "inference/autotune/tuning.h"

namespace fedglm {

// What a tuning depends on. Where any of it differs, another is measured.
struct TuningKey {
  std::string cpu;              // its model name
  int cores = 1;                // physical ones that the process may use
  int processors = 1;           // with their hyper-threads
  std::string instruction_set;  // of the kernels
  std::string block_type;       // of most of the layers' bytes
  int64_t hidden = 0;           // the model's width: a small one gains less from threads
};

// NotFound if none is kept. BadFile if what is kept is no tuning for this key, or names more threads than there are
// processors or a chunk out of [1, 4096]; the error of reading.
absl::StatusOr<Tuning> ReadTuning(const std::filesystem::path& folder, const TuningKey& key);

// Makes the folder, for its owner alone, where it is not there. Failed if it cannot be written.
absl::Status WriteTuning(const std::filesystem::path& folder, const TuningKey& key, const Tuning& tuning);

// The file of a key.
std::filesystem::path TuningFile(const std::filesystem::path& folder, const TuningKey& key);

}  // namespace fedglm

// A site with the golden model: records, a supervisor of its own, and the base's digest.
#pragma once

#include <unistd.h>

#include <fstream>
#include <memory>
#include <set>
#include <string>

#include "client/trainer_supervisor.h"
#include "tests/client/site_fixture.h"
#include "tests/training/tiny_models.h"

namespace fedglm {

class SmallSite : public testing::Test {
 protected:
  void SetUp() override {
    GOLDEN_OR_SKIP(model, kGoldenModel);
    model_ = Path("base.gguf");
    std::filesystem::copy_file(model, model_);
    base_sha256_ = Get(Sha256HexOfFile(model_));
    WriteRecords("records.jsonl", SomeRecords(12));
    WriteRecords("held-out.jsonl", SomeRecords(3, 12));
    ASSERT_TRUE(MakeDirectories(Path("state/work"), 0700).ok());
  }

  std::filesystem::path Path(const std::string& name) const { return root_.path() / name; }
  void WriteRecords(const std::string& name, const std::string& text) const {
    ASSERT_TRUE(WriteFileAtomically(Path(name), text).ok());
  }
  SupervisorOptions Supervised() const {
    SupervisorOptions options;
    options.model = model_;
    options.training_records = {Path("records.jsonl")};
    options.held_out_records = {Path("held-out.jsonl")};
    options.work = Path("state/work");
    options.threads = 1;
    options.micro_batch_tokens = 64;
    return options;
  }
  // The golden LoRA, which fits the model.
  static Adapter Lora() {
    Adapter adapter = Get(LoadAdapter(GoldenPath(kGoldenLora)));
    adapter.provenance.reset();
    return adapter;
  }

  // Children of a process of the given kind, by a part of their command line.
  static std::set<pid_t> Children(pid_t parent, const std::string& of) {
    std::set<pid_t> found;
    std::ifstream children("/proc/" + std::to_string(parent) + "/task/" + std::to_string(parent) + "/children");
    for (pid_t child; children >> child;) {
      std::ifstream file("/proc/" + std::to_string(child) + "/cmdline");
      const std::string command((std::istreambuf_iterator<char>(file)), {});
      if (command.find(of) != std::string::npos) found.insert(child);
    }
    return found;
  }

  const TemporaryDirectory root_ = MakeFolder();
  std::filesystem::path model_;
  std::string base_sha256_;
};

}  // namespace fedglm

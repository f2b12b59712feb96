// hospital-records OUT_DIR [--seed N] [--common N]: writes the demo's records (see report_generator.h).
#include <cstdio>

#include "CLI/CLI.hpp"
#include "examples/hospital/report_generator.h"

int main(int argc, char** argv) {
  CLI::App app("Writes the demo's made-up radiology reports as JSON Lines, a folder for each site");
  std::string folder;
  uint64_t seed = 1;
  int common = 0;
  app.add_option("out", folder, "folder to write to")->required();
  app.add_option("--seed", seed, "another seed gives other reports")->capture_default_str();
  app.add_option("--common", common, "also write common.jsonl with so many reports, to pre-train a base on")
      ->check(CLI::Range(0, 1000000));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(fedglm::ExitCode::kUsage);
  }
  const absl::Status status = fedglm::hospital::WriteRecords(folder, seed, common);
  if (!status.ok()) std::fprintf(stderr, "hospital-records: %s\n", fedglm::Message(status).c_str());
  return static_cast<int>(fedglm::ExitCodeOf(status));
}

// hospital-records OUT_DIR [--seed N] [--common N]: writes the demo's records (see report_generator.h).
#include "base/command_line.h"
#include "examples/hospital/report_generator.h"

int main(int argc, char** argv) {
  fedglm::CommandLine line("hospital-records",
                           "Writes the demo's made-up radiology reports as JSON Lines, a folder for each site");
  std::string folder;
  uint64_t seed = 1;
  int common = 0;
  fedglm::Command program = line.root();
  program.Add("out", folder, "folder to write to").Required();
  program.Add("--seed", seed, "another seed gives other reports").ShowDefault();
  program.Add("--common", common, "also write common.jsonl with so many reports, to pre-train a base on")
      .Between(0, 1000000);
  return line.Run(argc, argv, [&] { return fedglm::hospital::WriteRecords(folder, seed, common); });
}

// What measuring programs share: common flags, and how they report.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/command_line.h"
#include "base/status.h"
#include "bench/claim.h"
#include "bench/svg_plot.h"

namespace fedglm::bench {

// Of a program that generates with one model, several times.
struct MeasurementOptions {
  std::string model, svg;
  int64_t prompt_tokens = 128, answer_tokens = 16;
  int repetitions = 3;  // medians count
  bool json = false;

  void AddTo(Command app, const std::string& model_description);
};

// Prints the table, or with --json the claims; with --svg also writes the panels there. Failed if that is not possible.
absl::Status Report(const MeasurementOptions& options, const std::vector<Claim>& claims, const std::string& table,
                    const std::vector<Panel>& panels);

}  // namespace fedglm::bench

// The frame that measuring programs share: how they read their command line and end, common flags, how they report.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
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

  void AddTo(CLI::App& app, const std::string& model_description);
};

// Prints the table, or with --json the claims; with --svg also writes the panels there. Failed if that is not possible.
absl::Status Report(const MeasurementOptions& options, const std::vector<Claim>& claims, const std::string& table,
                    const std::vector<Panel>& panels);

// For main() to return: parses the command line, runs `measure`, and prints its error under the app's name.
int RunProgram(CLI::App& app, int argc, char** argv, const std::function<absl::Status()>& measure);

}  // namespace fedglm::bench

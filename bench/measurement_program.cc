#include "bench/measurement_program.h"

#include <cstdio>

#include "base/file.h"

namespace fedglm::bench {

void MeasurementOptions::AddTo(CLI::App& app, const std::string& model_description) {
  app.add_option("-m,--model", model, model_description)->required();
  app.add_option("-p,--prompt-tokens", prompt_tokens)->capture_default_str()->check(CLI::Range(1, 1 << 20));
  app.add_option("-n,--answer-tokens", answer_tokens)->capture_default_str()->check(CLI::Range(2, 1 << 20));
  app.add_option("-r,--repetitions", repetitions, "medians count")->capture_default_str()->check(CLI::Range(1, 1000));
  app.add_option("--svg", svg, "also plot into this file");
  app.add_flag("--json", json);
}

absl::Status Report(const MeasurementOptions& options, const std::vector<Claim>& claims, const std::string& table,
                    const std::vector<Panel>& panels) {
  if (options.json) {
    std::printf("%s\n", DumpJson(ClaimsAsJson(claims)).c_str());
  } else {
    std::fputs(table.c_str(), stdout);
  }
  return options.svg.empty() ? absl::OkStatus() : WriteFileAtomically(options.svg, SvgDocument(panels));
}

int RunProgram(CLI::App& app, int argc, char** argv, const std::function<absl::Status()>& measure) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(ExitCode::kUsage);
  }
  const absl::Status status = measure();
  if (!status.ok()) std::fprintf(stderr, "%s: %s\n", app.get_name().c_str(), Message(status).c_str());
  return static_cast<int>(ExitCodeOf(status));
}

}  // namespace fedglm::bench

#include "bench/measurement_program.h"

#include <cstdio>

#include "base/file.h"
#include "base/json.h"

namespace fedglm::bench {

void MeasurementOptions::AddTo(Command app, const std::string& model_description) {
  app.Add("-m,--model", model, model_description).Required();
  app.Add("-p,--prompt-tokens", prompt_tokens).ShowDefault().Between(1, 1 << 20);
  app.Add("-n,--answer-tokens", answer_tokens).ShowDefault().Between(2, 1 << 20);
  app.Add("-r,--repetitions", repetitions, "medians count").ShowDefault().Between(1, 1000);
  app.Add("--svg", svg, "also plot into this file");
  app.AddFlag("--json", json);
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

}  // namespace fedglm::bench

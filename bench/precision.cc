// precision: what fewer bits a weight cost in quality and bring in size and speed. One model of float weights is
// quantized to each type; size, error, speed and the bytes that a token reads come from one alternating run.
#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "base/configuration.h"
#include "base/file.h"
#include "base/process.h"
#include "base/progress.h"
#include "bench/generation_speed.h"
#include "bench/measurement_program.h"
#include "bench/statistics.h"
#include "inference/engine/engine.h"
#include "inference/gguf/quantize_file.h"

namespace fedglm::bench {
namespace {

struct PrecisionOptions : MeasurementOptions {
  std::string text, work_folder;
  std::vector<std::string> types = {"F32", "F16", "Q8_0", "Q4_K", "Q2_K"};
  int64_t context = 512, evaluated_tokens = 2048;
  int threads = 0;
};

// One type of the model.
struct Variant {
  std::string type;
  std::filesystem::path file;
  uint64_t bytes = 0;
  double bits_per_weight = 0, bytes_per_token = 0;
  double perplexity = 0;   // 0: there is no text
  double logit_error = 0;  // mean squared difference from the first type's logits, over their variance
  std::vector<double> prefill, decode;
};

absl::Status StillWanted() { return StopRequested() ? CancelledError("stopped") : absl::OkStatus(); }

absl::StatusOr<Variant> MakeVariant(const GgufFile& source, const std::string& type,
                                    const std::filesystem::path& folder, const PrecisionOptions& options) {
  Variant variant;
  variant.type = type;
  variant.file = folder / (type + ".gguf");
  FEDGLM_ASSIGN_OR_RETURN(const QuantizationMix mix, QuantizationMixFromName(type));
  Progress progress(type, static_cast<int64_t>(source.tensors().size()), options.json);
  FEDGLM_ASSIGN_OR_RETURN(
      const QuantizeReport report,
      QuantizeFile(source, variant.file, {mix, nullptr, options.threads}, [&](int64_t done, const std::string& name) {
        progress.Update(done, name);
        return StillWanted();
      }));
  variant.bytes = report.bytes;
  variant.bits_per_weight = 8.0 * static_cast<double>(report.bytes) / static_cast<double>(report.weights);
  FEDGLM_ASSIGN_OR_RETURN(const std::shared_ptr<const GgufFile> file, GgufFile::Open(variant.file));
  const bool tied = file->FindTensor("output.weight") == nullptr;
  for (const GgufTensor& tensor : file->tensors()) {
    // Of a token embedding that is not the output head as well, one row is read.
    const bool one_row = tensor.name == "token_embd.weight" && !tied;
    variant.bytes_per_token +=
        static_cast<double>(one_row ? RowBytes(tensor.type, tensor.columns()) : tensor.bytes.size());
  }
  return variant;
}

absl::StatusOr<std::unique_ptr<Engine>> OpenVariant(const Variant& variant, const PrecisionOptions& options) {
  EngineOptions engine;
  engine.threads = options.threads;
  engine.context = std::max(options.context, options.prompt_tokens + options.answer_tokens);
  return Engine::Open(variant.file, engine);
}

// The text's tokens, in windows of the context; without a text, a fixed sequence.
std::vector<std::vector<Token>> Windows(const Engine& engine, const std::string& text,
                                        const PrecisionOptions& options) {
  std::vector<Token> tokens;
  if (text.empty()) {
    uint64_t state = 1;
    for (int64_t i = 0; i < std::min<int64_t>(options.context, 256); ++i) {
      state = state * 6364136223846793005ULL + 1442695040888963407ULL;
      tokens.push_back(static_cast<Token>((state >> 33) % static_cast<uint64_t>(engine.hyperparameters().vocabulary)));
    }
  } else {
    tokens = engine.tokenizer().Encode(text, {.add_special = false});
    tokens.resize(std::min<size_t>(tokens.size(), static_cast<size_t>(options.evaluated_tokens)));
  }
  std::vector<std::vector<Token>> windows;
  for (size_t begin = 0; begin < tokens.size(); begin += static_cast<size_t>(options.context)) {
    const size_t end = std::min(tokens.size(), begin + static_cast<size_t>(options.context));
    if (end - begin >= 2) windows.emplace_back(tokens.data() + begin, tokens.data() + end);
  }
  return windows;
}

// Runs the windows; `exact` is filled by the first variant and compared with by the others.
absl::Status MeasureQuality(Engine& engine, const std::vector<std::vector<Token>>& windows, bool has_text,
                            std::vector<float>& exact, Variant& variant) {
  const int64_t vocabulary = engine.hyperparameters().vocabulary;
  const bool first = exact.empty();
  double loss = 0, squares = 0, sum = 0, sum_of_squares = 0;
  int64_t predicted = 0;
  size_t at = 0;
  for (const std::vector<Token>& window : windows) {
    size_t position = 0;
    FEDGLM_RETURN_IF_ERROR(engine.Logits(window, [&](const float* rows, int64_t count) {
      for (int64_t r = 0; r < count; ++r, ++position) {
        const float* const row = rows + r * vocabulary;
        if (first) exact.insert(exact.end(), row, row + vocabulary);
        for (int64_t v = 0; v < vocabulary; ++v, ++at) {
          const double truth = exact[at], difference = row[v] - truth;
          squares += difference * difference;
          sum += truth;
          sum_of_squares += truth * truth;
        }
        if (position + 1 == window.size()) continue;
        const float highest = *std::max_element(row, row + vocabulary);
        double normalizer = 0;
        for (int64_t v = 0; v < vocabulary; ++v) normalizer += std::exp(static_cast<double>(row[v] - highest));
        loss += std::log(normalizer) + highest - row[window[position + 1]];
        ++predicted;
      }
      return StillWanted();
    }));
  }
  const double variance = sum_of_squares - sum * sum / static_cast<double>(at);
  variant.logit_error = squares / variance;
  if (has_text) variant.perplexity = std::exp(loss / static_cast<double>(predicted));
  return absl::OkStatus();
}

std::vector<Claim> Claims(const std::vector<Variant>& variants) {
  std::vector<Claim> claims;
  const auto add = [&](const std::string& name, double ours, double peer, const char* unit, bool higher_is_better) {
    claims.push_back({name, ours, peer, std::nullopt, peer != 0 ? ours / peer : 0, unit, 0, higher_is_better});
  };
  const Variant& first = variants.front();
  for (const Variant& v : variants) {
    add("size_" + v.type, static_cast<double>(v.bytes), static_cast<double>(first.bytes), "bytes", false);
    add("bytes_per_token_" + v.type, v.bytes_per_token, first.bytes_per_token, "bytes", false);
    add("prefill_" + v.type, Median(v.prefill), Median(first.prefill), "tokens/s", true);
    add("decode_" + v.type, Median(v.decode), Median(first.decode), "tokens/s", true);
    if (v.perplexity > 0) add("perplexity_" + v.type, v.perplexity, first.perplexity, "", false);
    add("logit_error_" + v.type, v.logit_error, first.logit_error, "of the variance", false);
  }
  return claims;
}

std::string Table(const std::vector<Variant>& variants) {
  std::string table;
  char line[256];
  std::snprintf(line, sizeof(line), "%-8s %12s %6s %12s %12s %10s %10s %12s %10s\n", "type", "size", "bits",
                "perplexity", "logit error", "prefill/s", "decode/s", "read/token", "GB/s");
  table += line;
  for (const Variant& v : variants) {
    const double decode = Median(v.decode);
    char perplexity[32] = "-";
    if (v.perplexity > 0) std::snprintf(perplexity, sizeof(perplexity), "%.3f", v.perplexity);
    std::snprintf(line, sizeof(line), "%-8s %12s %6.2f %12s %12.2e %10.1f %10.1f %12s %10.2f\n", v.type.c_str(),
                  FormatByteSize(v.bytes).c_str(), v.bits_per_weight, perplexity, v.logit_error, Median(v.prefill),
                  decode, FormatByteSize(static_cast<uint64_t>(v.bytes_per_token)).c_str(),
                  decode * v.bytes_per_token / 1e9);
    table += line;
  }
  return table;
}

std::vector<Panel> Plot(const std::vector<Variant>& variants) {
  BarPanel size{"Size", "MB", {}, std::nullopt}, decode{"Decode", "tokens/s", {}, std::nullopt};
  BarPanel prefill{"Prefill", "tokens/s", {}, std::nullopt};
  BarPanel read{"Read for each token", "MB", {}, std::nullopt};
  BarPanel error{"Logit error against " + variants.front().type, "% of the variance", {}, std::nullopt};
  BarPanel perplexity{"Perplexity", "per token", {}, std::nullopt};
  for (const Variant& v : variants) {
    size.bars.push_back({v.type, static_cast<double>(v.bytes) / 1e6, std::nullopt});
    read.bars.push_back({v.type, v.bytes_per_token / 1e6, std::nullopt});
    prefill.bars.push_back({v.type, Median(v.prefill), std::nullopt});
    decode.bars.push_back({v.type, Median(v.decode), std::nullopt});
    error.bars.push_back({v.type, 100 * v.logit_error, std::nullopt});
    perplexity.bars.push_back({v.type, v.perplexity, std::nullopt});
  }
  std::vector<Panel> panels = {size, read, prefill, decode, error};
  if (variants.front().perplexity > 0) panels.emplace_back(perplexity);
  return panels;
}

absl::Status Run(const PrecisionOptions& options) {
  std::string text;
  if (!options.text.empty()) {
    FEDGLM_ASSIGN_OR_RETURN(text, ReadFile(options.text));
  }
  FEDGLM_ASSIGN_OR_RETURN(const std::shared_ptr<const GgufFile> source, GgufFile::Open(options.model));
  FEDGLM_ASSIGN_OR_RETURN(const TemporaryDirectory folder, TemporaryDirectory::Make("fedglm-precision"));
  const std::filesystem::path work =
      options.work_folder.empty() ? folder.path() : std::filesystem::path(options.work_folder);
  std::vector<Variant> variants;
  std::vector<float> exact;
  for (const std::string& type : options.types) {
    FEDGLM_ASSIGN_OR_RETURN(Variant variant, MakeVariant(*source, type, work, options));
    FEDGLM_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, OpenVariant(variant, options));
    FEDGLM_RETURN_IF_ERROR(MeasureQuality(*engine, Windows(*engine, text, options), !text.empty(), exact, variant));
    variants.push_back(std::move(variant));
  }
  // Speeds of this machine change from minute to minute: the types take turns.
  for (int run = -1; run < options.repetitions; ++run) {
    for (Variant& variant : variants) {
      FEDGLM_RETURN_IF_ERROR(StillWanted());
      FEDGLM_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, OpenVariant(variant, options));
      if (run < 0) {  // brings the file into the page cache
        FEDGLM_RETURN_IF_ERROR(MeasureGeneration(*engine, options.prompt_tokens, 2, 1000).status());
        continue;
      }
      FEDGLM_ASSIGN_OR_RETURN(const GenerationSpeed speed,
                              MeasureGeneration(*engine, options.prompt_tokens, options.answer_tokens, run));
      variant.prefill.push_back(speed.prefill_tps);
      variant.decode.push_back(speed.decode_tps);
    }
  }
  return Report(options, Claims(variants), Table(variants), Plot(variants));
}

}  // namespace
}  // namespace fedglm::bench

int main(int argc, char** argv) {
  fedglm::HandleStopSignals();
  fedglm::bench::PrecisionOptions options;
  fedglm::CommandLine line("bench-precision", "Size, error and speed of one model in several types");
  fedglm::Command app = line.root();
  options.AddTo(app, "GGUF of float weights; errors are against the first type");
  app.Add("-f,--file", options.text, "a text to measure perplexity on; without it only the logits are compared");
  app.Add("--types", options.types, "as for fedglm quantize").Separated(',').ShowDefault();
  app.Add("--work-dir", options.work_folder, "where the quantized files go; a temporary folder by default");
  app.Add("--evaluated-tokens", options.evaluated_tokens, "of the text").ShowDefault().Between(2, 1 << 20);
  app.Add("-c,--context", options.context).ShowDefault().Between(2, 1 << 20);
  app.Add("-t,--threads", options.threads, "0: the physical cores").ShowDefault().Between(0, 1024);
  return line.Run(argc, argv, [&] { return fedglm::bench::Run(options); });
}

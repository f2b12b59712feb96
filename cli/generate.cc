// fedglm generate: continues a text. fedglm chat: a conversation in the model's own chat format.
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "base/process.h"
#include "cli/command.h"
#include "cli/explain_memory.h"
#include "cli/model_options.h"

namespace fedglm::cli {
namespace {

struct SamplingFlags {
  SamplingOptions sampling;
  int64_t max_tokens = 256;

  void AddTo(Command app) {
    app.Add("-n,--max-tokens", max_tokens, "tokens to write at most").ShowDefault().Positive();
    app.Add("--temp,--temperature", sampling.temperature, "0: always the most likely token")
        .ShowDefault()
        .NumberBetween(0, 100);
    app.Add("--top-k", sampling.top_k, "0: all").NotNegative();
    app.Add("--top-p", sampling.top_p).ShowDefault().NumberBetween(0, 1);
    app.Add("--min-p", sampling.min_p).NumberBetween(0, 1);
    app.Add("--repetition-penalty", sampling.repetition_penalty).ShowDefault().NumberBetween(0.01, 100);
    app.Add("--seed", sampling.seed, "0: a random one");
  }
};

bool Print(const GeneratedToken& token) {
  std::fwrite(token.text.data(), 1, token.text.size(), stdout);
  return std::fflush(stdout) == 0 && !StopRequested();
}

void PrintSpeed(const GenerationResult& result) {
  const auto rate = [](double tokens, double seconds) { return seconds > 0 ? tokens / seconds : 0.0; };
  std::fprintf(stderr, "\nprompt %lld tokens, %.1f/s; answer %zu tokens, %.1f/s\n",
               static_cast<long long>(result.prompt_tokens),
               rate(static_cast<double>(result.prompt_tokens), result.prefill_seconds), result.tokens.size(),
               rate(static_cast<double>(result.tokens.size()), result.decode_seconds));
}

struct GenerateOptions {
  ModelOptions model;
  SamplingFlags flags;
  std::string prompt, file;
};

absl::Status RunGenerate(const GenerateOptions& options) {
  if (options.model.explain_memory) return ExplainMemory(options.model, options.model.explain_as_json);
  FEDGLM_ASSIGN_OR_RETURN(const std::string text, TextOrFile(options.prompt, options.file));
  FEDGLM_ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, OpenEngine(options.model));
  GenerationRequest request;
  request.prompt = engine->tokenizer().Encode(text, {.add_special = true, .parse_special = true});
  request.max_tokens = options.flags.max_tokens;
  request.sampling = options.flags.sampling;
  request.still_wanted = [] { return !StopRequested(); };
  FEDGLM_ASSIGN_OR_RETURN(const GenerationResult result, engine->Generate(request, Print));
  std::fputc('\n', stdout);
  PrintSpeed(result);
  return StopRequested() ? CancelledError("stopped") : absl::OkStatus();
}

struct ChatOptions {
  ModelOptions model;
  SamplingFlags flags;
  std::string system, prompt;
};

absl::StatusOr<GenerationResult> Answer(Engine& engine, const std::vector<ChatMessage>& messages,
                                        const SamplingFlags& flags) {
  FEDGLM_ASSIGN_OR_RETURN(const std::vector<ChatPart> parts,
                          RenderChat(engine.chat_template(), engine.tokenizer(), messages, true));
  GenerationRequest request;
  request.prompt = JoinParts(parts);
  request.max_tokens = flags.max_tokens;
  request.sampling = flags.sampling;
  request.still_wanted = [] { return !StopRequested(); };
  return engine.Generate(request, Print);
}

absl::Status RunChat(const ChatOptions& options) {
  if (options.model.explain_memory) return ExplainMemory(options.model, options.model.explain_as_json);
  FEDGLM_ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, OpenEngine(options.model));
  std::vector<ChatMessage> messages;
  if (!options.system.empty()) messages.push_back({"system", options.system});
  const bool terminal = isatty(STDIN_FILENO) == 1;
  for (bool first = true;; first = false) {
    std::string line = options.prompt;
    if (line.empty()) {
      if (terminal) std::fputs("> ", stderr);
      if (!std::getline(std::cin, line) || StopRequested()) return absl::OkStatus();
      if (line.empty()) continue;
    }
    messages.push_back({"user", line});
    FEDGLM_ASSIGN_OR_RETURN(const GenerationResult result, Answer(*engine, messages, options.flags));
    std::fputc('\n', stdout);
    messages.push_back({"assistant", result.text});
    if (StopRequested()) return CancelledError("stopped");
    if (!options.prompt.empty() || std::ferror(stdout) != 0) return absl::OkStatus();
    if (first && terminal) std::fputs("(Ctrl-D ends the conversation)\n", stderr);
  }
}

}  // namespace

void AddGenerate(CommandLine& line) {
  auto options = std::make_shared<GenerateOptions>();
  Command app = line.Add("generate", "continue a text", [options] { return RunGenerate(*options); });
  options->model.AddTo(app);
  options->model.AddExplainTo(app);
  options->flags.AddTo(app);
  app.Add("-p,--prompt", options->prompt, "the text to go on from");
  app.Add("-f,--file", options->file, "a file with the text; - reads stdin");
}

void AddChat(CommandLine& line) {
  auto options = std::make_shared<ChatOptions>();
  Command app = line.Add("chat", "talk with the model, a line a turn", [options] { return RunChat(*options); });
  options->model.AddTo(app);
  options->model.AddAutotuneTo(app);
  options->model.AddExplainTo(app);
  options->flags.AddTo(app);
  app.Add("-p,--prompt", options->prompt, "one question; without it, questions are read from stdin");
  app.Add("-s,--system", options->system, "a system message");
}

}  // namespace fedglm::cli

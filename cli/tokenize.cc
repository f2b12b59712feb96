// fedglm tokenize: ids, one a line.
#include <cstdio>

#include "cli/command.h"
#include "cli/model_options.h"

namespace fedglm::cli {
namespace {

struct TokenizeOptions {
  std::string model, prompt, file;
  bool no_special = false;
};

absl::Status RunTokenize(const TokenizeOptions& options, bool prompt_given) {
  std::string text = options.prompt;
  if (!prompt_given || !options.file.empty()) {
    FEDGLM_ASSIGN_OR_RETURN(text, TextOrFile(options.prompt, options.file));
  }
  FEDGLM_ASSIGN_OR_RETURN(const std::shared_ptr<const GgufFile> file, GgufFile::Open(options.model));
  FEDGLM_ASSIGN_OR_RETURN(const std::shared_ptr<const Tokenizer> tokenizer, Tokenizer::FromGguf(*file));
  const EncodeOptions encode = {.add_special = !options.no_special, .parse_special = !options.no_special};
  for (const Token token : tokenizer->Encode(text, encode)) std::printf("%d\n", token);
  return absl::OkStatus();
}

}  // namespace

void AddTokenize(CommandLine& line) {
  auto options = std::make_shared<TokenizeOptions>();
  auto prompt = std::make_shared<std::optional<CommandOption>>();
  Command app = line.Add("tokenize", "print a text's token ids, one a line",
                         [options, prompt] { return RunTokenize(*options, (*prompt)->Given()); });
  app.Add("-m,--model", options->model, "GGUF file").Required();
  *prompt = app.Add("-p,--prompt", options->prompt, "the text");
  app.Add("-f,--file", options->file, "a file with the text; - reads stdin");
  app.AddFlag("--no-special", options->no_special,
              "add no BOS or EOS, and take control tokens' names in the text as text");
}

}  // namespace fedglm::cli

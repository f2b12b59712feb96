#include "training/data/records.h"

#include <algorithm>
#include <fstream>
#include <functional>
#include <numeric>

#include "base/file.h"
#include "base/json.h"

namespace fedglm {
namespace {

constexpr size_t kMaxLineBytes = 16 << 20;

absl::Status RecordError(std::string_view what) { return BadFileError(std::string(what)); }

// Calls `visit` with each line's object. Errors get "FILE:LINE: " before them.
absl::Status ForEachRecord(const std::filesystem::path& path, const std::function<absl::Status(const Json&)>& visit) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return NotFoundError(path.string() + ": no such file");
  if (!std::filesystem::is_regular_file(path, error)) return BadFileError(path.string() + ": not a file");
  std::ifstream file(path, std::ios::binary);
  if (!file) return BadFileError(path.string() + ": cannot be read");
  int64_t number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    if (number == 1 && line.rfind("\xEF\xBB\xBF", 0) == 0) line.erase(0, 3);  // a byte order mark
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const std::string where = path.string() + ":" + std::to_string(number);
    if (line.size() > kMaxLineBytes) return BadFileError(where + ": the line is longer than 16 MiB");
    FEDGLM_ASSIGN_OR_RETURN(const Json record, ParseJson(line, where));
    if (!record.is_object()) return BadFileError(where + ": a record must be a JSON object");
    if (const absl::Status status = visit(record); !status.ok()) return Annotate(status, where);
  }
  if (file.bad()) return BadFileError(path.string() + ": cannot be read to its end");
  return absl::OkStatus();
}

absl::StatusOr<std::vector<ChatMessage>> ReadMessages(const Json& list) {
  if (!list.is_array() || list.empty()) return RecordError("\"messages\" must be a list of at least one message");
  std::vector<ChatMessage> messages;
  for (const Json& item : list) {
    if (!item.is_object()) return RecordError("a message must be an object");
    ChatMessage message;
    FEDGLM_ASSIGN_OR_RETURN(message.role, RequireString(item, "role"));
    FEDGLM_ASSIGN_OR_RETURN(message.content, RequireString(item, "content"));
    messages.push_back(std::move(message));
  }
  return messages;
}

enum class RecordForm { kMessages, kCompletion, kText };

absl::StatusOr<RecordForm> FormOf(const Json& record) {
  if (record.contains("messages")) return RecordForm::kMessages;
  if (record.contains("prompt") && record.contains("completion")) return RecordForm::kCompletion;
  if (record.contains("text")) return RecordForm::kText;
  return RecordError("a record must have \"messages\", or \"prompt\" and \"completion\", or \"text\"");
}

void Append(Example& example, const std::vector<Token>& tokens, bool counted) {
  example.tokens.insert(example.tokens.end(), tokens.begin(), tokens.end());
  example.counted.insert(example.counted.end(), tokens.size(), counted);
}

// FNV-1a, whose low bits are mixed once more.
uint64_t HashOf(std::string_view text) {
  uint64_t hash = 14695981039346656037u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return hash ^ (hash >> 32);
}

class Encoder {
 public:
  Encoder(const Tokenizer& tokenizer, const ChatTemplate& chat_template, int64_t sequence_length, ExampleSet& set)
      : tokenizer_(tokenizer), template_(chat_template), length_(static_cast<size_t>(sequence_length)), set_(set) {}

  absl::Status Add(const Json& record) {
    ++set_.records;
    record_ = HashOf(DumpJson(record));
    FEDGLM_ASSIGN_OR_RETURN(const RecordForm form, FormOf(record));
    if (form == RecordForm::kText) return AddText(record);
    Example example;
    if (form == RecordForm::kMessages) {
      FEDGLM_ASSIGN_OR_RETURN(const std::vector<ChatMessage> messages, ReadMessages(record["messages"]));
      const absl::StatusOr<std::vector<ChatPart>> parts = RenderChat(template_, tokenizer_, messages, false);
      if (!parts.ok()) return RecordError(Message(parts.status()));
      for (const ChatPart& part : *parts) Append(example, part.tokens, part.answer);
    } else {
      FEDGLM_ASSIGN_OR_RETURN(const std::string prompt, RequireString(record, "prompt"));
      FEDGLM_ASSIGN_OR_RETURN(const std::string completion, RequireString(record, "completion"));
      Append(example, Start(), false);
      Append(example, Plain(prompt), false);
      Append(example, Plain(completion, false), true);  // goes on where the prompt ends
      if (tokenizer_.eos()) Append(example, {*tokenizer_.eos()}, true);
    }
    Keep(std::move(example));
    return absl::OkStatus();
  }

 private:
  std::vector<Token> Start() const {
    return tokenizer_.adds_bos() && tokenizer_.bos() ? std::vector<Token>{*tokenizer_.bos()} : std::vector<Token>{};
  }
  std::vector<Token> Plain(const std::string& text, bool space_prefix = true) const {
    return tokenizer_.Encode(
        text, {.add_special = false, .parse_special = false, .user_defined = false, .space_prefix = space_prefix});
  }

  // A long text goes on in another example, so that nothing of it is lost.
  absl::Status AddText(const Json& record) {
    FEDGLM_ASSIGN_OR_RETURN(const std::string text, RequireString(record, "text"));
    std::vector<Token> tokens = Plain(text);
    if (tokenizer_.eos()) tokens.push_back(*tokenizer_.eos());
    const std::vector<Token> start = Start();
    const size_t room = length_ - std::min(length_ - 1, start.size());
    if (tokens.size() > room) ++set_.cut;
    for (size_t begin = 0; begin < tokens.size(); begin += room) {
      const auto first = tokens.begin() + static_cast<ptrdiff_t>(begin);
      Example example;
      Append(example, start, false);
      Append(example, {first, first + static_cast<ptrdiff_t>(std::min(room, tokens.size() - begin))}, true);
      Finish(std::move(example));
    }
    return absl::OkStatus();
  }

  void Keep(Example example) {
    if (example.tokens.size() > length_) {
      ++set_.cut;
      example.tokens.resize(length_);
      example.counted.resize(length_);
    }
    Finish(std::move(example));
  }

  void Finish(Example example) {
    example.record = record_;
    if (!example.counted.empty()) example.counted[0] = false;
    if (example.CountedTokens() == 0) {
      ++set_.dropped;
    } else {
      set_.examples.push_back(std::move(example));
    }
  }

  const Tokenizer& tokenizer_;
  const ChatTemplate& template_;
  const size_t length_;
  ExampleSet& set_;
  uint64_t record_ = 0;
};

}  // namespace

int64_t Example::CountedTokens() const { return std::count(counted.begin(), counted.end(), true); }

int64_t ExampleSet::CountedTokens() const {
  return std::accumulate(examples.begin(), examples.end(), int64_t{0},
                         [](int64_t sum, const Example& example) { return sum + example.CountedTokens(); });
}

void KeepPart(ExampleSet& set, int64_t every, bool set_aside) {
  if (every < 1 || set.records < every) return;
  const auto leaves = [&](const Example& example) {
    return (example.record % static_cast<uint64_t>(every) == 0) != set_aside;
  };
  if (!std::all_of(set.examples.begin(), set.examples.end(), leaves)) std::erase_if(set.examples, leaves);
}

absl::StatusOr<ExampleSet> LoadExamples(const std::vector<std::filesystem::path>& files, const Tokenizer& tokenizer,
                                        const ChatTemplate& chat_template, int64_t sequence_length) {
  if (files.empty()) return UsageError("no file of records is given");
  if (sequence_length < 2) return UsageError("the sequence length must be at least 2");
  ExampleSet set;
  Encoder encoder(tokenizer, chat_template, sequence_length, set);
  for (const std::filesystem::path& file : files) {
    FEDGLM_RETURN_IF_ERROR(ForEachRecord(file, [&](const Json& record) { return encoder.Add(record); }));
  }
  if (set.records == 0) return BadFileError(files.front().string() + ": no records");
  if (set.examples.empty()) return BadFileError(files.front().string() + ": no record has an answer that fits");
  return set;
}

absl::StatusOr<std::vector<std::string>> LoadTexts(const std::vector<std::filesystem::path>& files) {
  std::vector<std::string> texts;
  for (const std::filesystem::path& file : files) {
    FEDGLM_RETURN_IF_ERROR(ForEachRecord(file, [&](const Json& record) -> absl::Status {
      FEDGLM_ASSIGN_OR_RETURN(const RecordForm form, FormOf(record));
      if (form == RecordForm::kMessages) {
        FEDGLM_ASSIGN_OR_RETURN(const std::vector<ChatMessage> messages, ReadMessages(record["messages"]));
        for (const ChatMessage& message : messages) texts.push_back(message.content);
        return absl::OkStatus();
      }
      const std::vector<const char*> keys = form == RecordForm::kText
                                                ? std::vector<const char*>{"text"}
                                                : std::vector<const char*>{"prompt", "completion"};
      for (const char* key : keys) {
        FEDGLM_ASSIGN_OR_RETURN(std::string text, RequireString(record, key));
        texts.push_back(std::move(text));
      }
      return absl::OkStatus();
    }));
  }
  if (texts.empty()) return BadFileError("no records");
  return texts;
}

}  // namespace fedglm

// Reading and writing replies.
#include <algorithm>
#include <charconv>

#include "base/utf8.h"
#include "inference/autoglm/autoglm_actions.h"

namespace fedglm {
namespace {

constexpr std::string_view kWhite = " \t\r\n";

std::string_view Trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(kWhite);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kWhite) - begin + 1);
}

std::string Without(std::string text, std::string_view tag) {
  for (size_t at = text.find(tag); at != std::string::npos; at = text.find(tag, at)) text.erase(at, tag.size());
  return text;
}

// An answer, cut where the client cuts it.
struct Parts {
  std::string_view before;  // with its tags
  std::string_view action;
};

std::optional<Parts> Cut(std::string_view answer) {
  for (const std::string_view call : {kFinishCall, kDoCall}) {
    const size_t at = answer.find(call);
    if (at != std::string_view::npos) return Parts{Trimmed(answer.substr(0, at)), answer.substr(at)};
  }
  const size_t tag = answer.find(kAnswerTag);
  if (tag == std::string_view::npos) return std::nullopt;
  return Parts{Trimmed(answer.substr(0, tag)), answer.substr(tag + kAnswerTag.size())};
}

// The character of a Python escape (\n, \", \x41, \u4f60…). `rest` begins behind the backslash and loses what was read;
// an escape that Python does not know stands for itself. False if there are too few digits, or no such character.
bool TakeEscape(std::string_view& rest, std::string& text) {
  const char kind = rest[0];
  rest.remove_prefix(1);
  constexpr std::string_view kNames = "ntr\\\"'", kMeanings = "\n\t\r\\\"'";
  if (const size_t known = kNames.find(kind); known != std::string_view::npos) {
    text += kMeanings[known];
    return true;
  }
  const size_t digits = kind == 'x' ? 2 : kind == 'u' ? 4 : kind == 'U' ? 8 : 0;
  if (digits == 0) {
    text += {'\\', kind};
    return true;
  }
  if (rest.size() < digits) return false;
  CodePoint character = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + digits, character, 16);
  if (error != std::errc() || end != rest.data() + digits) return false;
  if (character > kMaxCodePoint || (character >= 0xD800 && character <= 0xDFFF)) return false;
  AppendUtf8(text, character);
  rest.remove_prefix(digits);
  return true;
}

// do(action="Tap", element=[1,2]), without what is around it.
class ActionParser {
 public:
  explicit ActionParser(std::string_view text) : rest_(text) {}

  absl::StatusOr<AutoglmReply> Parse() {
    AutoglmReply reply;
    if (Take("finish")) {
      action_ = &kAutoglmFinish;
      if (!Take("(")) return Error("'(' is missing after finish");
    } else {
      if (!Take("do") || !Take("(") || !Take("action") || !Take("=")) {
        return Error("an answer is do(action=\"…\", …) or finish(message=\"…\")");
      }
      FEDGLM_ASSIGN_OR_RETURN(const std::string name, ParseText(/*raw=*/false));
      for (const AutoglmAction& action : kAutoglmActions) {
        if (action.name == name) action_ = &action;
      }
      if (action_ == nullptr) return Error("there is no action \"" + name + "\"");
    }
    reply.action = std::string(action_->name);
    bool first = action_ == &kAutoglmFinish;
    while (!Take(")")) {
      if (!first && !Take(",")) return Error("',' or ')' was expected");
      first = false;
      FEDGLM_RETURN_IF_ERROR(ParseField(reply));
    }
    if (!Trimmed(rest_).empty()) return Error("text follows the action");
    for (const AutoglmField& field : action_->fields) {
      const bool needed = field.use == AutoglmField::Use::kNeeded;
      if (needed && !(field.point != nullptr ? (reply.*field.point).has_value() : (reply.*field.text).has_value())) {
        return Error(std::string(action_->name) + " needs " + std::string(field.name));
      }
    }
    return reply;
  }

 private:
  static absl::Status Error(std::string what) { return BadFileError("the reply's action: " + what); }

  bool Take(std::string_view expected) {
    rest_.remove_prefix(std::min(rest_.find_first_not_of(kWhite), rest_.size()));
    if (!rest_.starts_with(expected)) return false;
    rest_.remove_prefix(expected.size());
    return true;
  }

  absl::Status ParseField(AutoglmReply& reply) {
    rest_ = rest_.substr(std::min(rest_.find_first_not_of(kWhite), rest_.size()));
    const std::string name(Trimmed(rest_.substr(0, rest_.find('='))));
    const auto field = std::find_if(action_->fields.begin(), action_->fields.end(),
                                    [&](const AutoglmField& known) { return known.name == name; });
    if (field == action_->fields.end()) {
      return Error(std::string(action_->name) + " has no field \"" + name.substr(0, 40) + "\"");
    }
    rest_.remove_prefix(rest_.find('=') + 1);
    if (field->point != nullptr) {
      if ((reply.*field->point).has_value()) return Error(name + " is there twice");
      FEDGLM_ASSIGN_OR_RETURN(reply.*field->point, ParsePoint());
    } else {
      if ((reply.*field->text).has_value()) return Error(name + " is there twice");
      FEDGLM_ASSIGN_OR_RETURN(reply.*field->text, ParseText(action_->raw_text));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> ParseText(bool raw) {
    const bool single = Take("'");
    if (!single && !Take("\"")) return Error("a text in quotes was expected");
    const char quote = single ? '\'' : '"';
    std::string text;
    if (raw) {
      const size_t parenthesis = rest_.find_last_of(')');
      const size_t end = parenthesis == std::string_view::npos ? parenthesis : rest_.find_last_of(quote, parenthesis);
      if (end == std::string_view::npos) return Error("a text does not end");
      text = std::string(rest_.substr(0, end));
      rest_.remove_prefix(end + 1);
      return text;
    }
    while (!rest_.empty()) {
      const char c = rest_[0];
      rest_.remove_prefix(1);
      if (c == quote) return text;
      if (c != '\\' || rest_.empty()) {
        text += c;
      } else if (!TakeEscape(rest_, text)) {
        return Error("a text has an escape that is no character");
      }
    }
    return Error("a text does not end");
  }

  absl::StatusOr<ScreenPoint> ParsePoint() {
    ScreenPoint point;
    if (!Take("[") || !ParseCoordinate(point.x) || !Take(",") || !ParseCoordinate(point.y) || !Take("]")) {
      return Error("a point is [x,y], with x and y from 0 to 999");
    }
    return point;
  }

  bool ParseCoordinate(int& coordinate) {
    Take("");
    size_t digits = 0;
    coordinate = 0;
    while (digits < rest_.size() && digits < 4 && rest_[digits] >= '0' && rest_[digits] <= '9') {
      coordinate = coordinate * 10 + (rest_[digits++] - '0');
    }
    rest_.remove_prefix(digits);
    return digits > 0 && coordinate <= 999;
  }

  std::string_view rest_;
  const AutoglmAction* action_ = nullptr;
};

void AppendText(std::string& text, const std::string& value, bool raw) {
  text += '"';
  for (const char c : value) {
    if (!raw && (c == '"' || c == '\\')) text += '\\';
    const size_t escaped = raw ? std::string_view::npos : std::string_view("\n\t\r").find(c);
    if (escaped != std::string_view::npos) {
      text += {'\\', "ntr"[escaped]};
    } else {
      text += c;
    }
  }
  text += '"';
}

}  // namespace

absl::StatusOr<AutoglmReply> ParseAutoglmReply(std::string_view text) {
  const std::optional<Parts> parts = Cut(text);
  if (!parts) return BadFileError("the reply has no <answer> and no action");
  std::string_view call = Trimmed(parts->action);
  if (call.ends_with(kAnswerEndTag)) call.remove_suffix(kAnswerEndTag.size());
  FEDGLM_ASSIGN_OR_RETURN(AutoglmReply reply, ActionParser(Trimmed(call)).Parse());
  std::string thinking(parts->before);
  for (const std::string_view tag : {std::string_view("<think>"), std::string_view("</think>"), kAnswerTag}) {
    thinking = Without(std::move(thinking), tag);
  }
  reply.thinking = std::string(Trimmed(thinking));
  return reply;
}

ChatMessage AutoglmHistoryMessage(std::string_view answer) {
  const Parts parts = Cut(answer).value_or(Parts{"", answer});
  return {"assistant",
          "<think>" + std::string(parts.before) + "</think><answer>" + std::string(parts.action) + "</answer>"};
}

std::string WriteAutoglmReply(const AutoglmReply& reply) {
  std::string text = "<think>" + reply.thinking + "</think>\n<answer>";
  const AutoglmAction* action = &kAutoglmFinish;
  for (const AutoglmAction& known : kAutoglmActions) {
    if (known.name == reply.action) action = &known;
  }
  const bool finish = action == &kAutoglmFinish;
  text += finish ? "finish(" : std::string(kDoCall) + "\"" + std::string(action->name) + "\"";
  bool first = finish;
  for (const AutoglmField& field : action->fields) {
    if (field.point != nullptr ? !(reply.*field.point).has_value() : !(reply.*field.text).has_value()) continue;
    text += (first ? "" : ", ") + std::string(field.name) + "=";
    first = false;
    if (field.point != nullptr) {
      const ScreenPoint& point = *(reply.*field.point);
      text += "[" + std::to_string(point.x) + "," + std::to_string(point.y) + "]";
    } else {
      AppendText(text, *(reply.*field.text), action->raw_text);
    }
  }
  return text + ")</answer>";
}

}  // namespace fedglm

// What is said to the model, and what it may say.
#include <cstdio>

#include "base/json.h"
#include "inference/autoglm/autoglm_actions.h"

namespace fedglm {
namespace {

constexpr const char* kChineseWeekdays[] = {"星期日", "星期一", "星期二", "星期三", "星期四", "星期五", "星期六"};
constexpr const char* kEnglishWeekdays[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                            "Thursday", "Friday", "Saturday"};

// As Python's json.dumps writes it, which the model was trained on.
std::string ScreenInfo(std::string_view current_app) {
  return "{\"current_app\": " + DumpJson(std::string(current_app)) + "}";
}

// The first line of the client's prompts.
std::string DateLine(bool chinese, std::chrono::year_month_day today) {
  const size_t weekday = std::chrono::weekday(std::chrono::sys_days(today)).c_encoding();
  char date[64];
  std::snprintf(date, sizeof date, chinese ? "今天的日期是: %04d年%02u月%02u日 " : "The current date: %04d-%02u-%02u, ",
                static_cast<int>(today.year()), static_cast<unsigned>(today.month()),
                static_cast<unsigned>(today.day()));
  return date + std::string((chinese ? kChineseWeekdays : kEnglishWeekdays)[weekday]) + "\n";
}

// do(action="Swipe", start=[x,y], end=[x,y])
std::string Form(const AutoglmAction& action, bool finish) {
  std::string form = finish ? "finish(" : std::string(kDoCall) + "\"" + std::string(action.name) + "\"";
  bool first = finish;
  for (const AutoglmField& field : action.fields) {
    form += (first ? "" : ", ") + std::string(field.name) + (field.point != nullptr ? "=[x,y]" : "=\"…\"");
    first = false;
  }
  return form + ")";
}

// The fields in their order, the optional ones in groups.
std::string FieldsGrammar(const AutoglmAction& action, bool finish) {
  std::string text;
  bool first = finish;
  for (const AutoglmField& field : action.fields) {
    std::string one = "\"" + std::string(first ? "" : ", ") + std::string(field.name) + "=\" ";
    one += field.point != nullptr ? "point" : action.raw_text ? "lines" : "line";
    text += field.use == AutoglmField::Use::kSometimes ? " (" + one + ")?" : " " + one;
    first = false;
  }
  return text;
}

// The rule `name` of a text in quotes that has none of the characters of the class `excluded` and not kFinishCall in
// it: the automaton of Knuth, Morris and Pratt, one rule for each length of what was read of it. Its 'f' comes once, so
// that what does not go on begins anew. Each rule's calls stand at its end and cost no stack.
std::string TextGrammar(const std::string& name, const std::string& excluded) {
  std::string rules = name + " ::= \"\\\"\" " + name + "-0\n";
  for (size_t read = 0; read < kFinishCall.size(); ++read) {
    const std::string next(1, kFinishCall[read]);
    rules += name + "-" + std::to_string(read) + " ::= \"\\\"\" | \"f\" " + name + "-1 | [^f" + next + excluded + "] " +
             name + "-0";
    if (read > 0 && read + 1 < kFinishCall.size())
      rules += " | \"" + next + "\" " + name + "-" + std::to_string(read + 1);
    rules += "\n";
  }
  return rules;
}

}  // namespace

ChatMessage AutoglmSystemMessage(AutoglmLanguage language, std::chrono::year_month_day today) {
  const bool chinese = language == AutoglmLanguage::kChinese;
  std::string text = DateLine(chinese, today);
  text += chinese
              ? "你替用户操作手机，每次只做一个动作。每条消息都会告诉你当前所在的应用；请用一句简短的思考和一个动作"
                "回答，严格按照以下格式：\n"
              : "You operate a phone for its user, one action at a time. Each message shows you where you are; answer "
                "with one short thought and one action, in exactly this form:\n";
  text += "<think>{think}</think>\n<answer>{action}</answer>\n\n";
  text += chinese ? "坐标为 [x,y]，从屏幕左上角 [0,0] 到右下角 [999,999]。动作如下：\n"
                  : "Points are [x,y], from [0,0] at the top left of the screen to [999,999] at the bottom right. The "
                    "actions:\n";
  const auto describe = [&](const AutoglmAction& action, bool finish) {
    text += "- " + Form(action, finish) + (chinese ? "：" : ": ") +
            std::string(chinese ? action.purpose_in_chinese : action.purpose) + "\n";
  };
  for (const AutoglmAction& action : kAutoglmActions) describe(action, false);
  describe(kAutoglmFinish, true);
  return {"system", text};
}

ChatMessage AutoglmTaskMessage(std::string_view task, std::string_view current_app) {
  return {"user", std::string(task) + "\n\n" + ScreenInfo(current_app)};
}

ChatMessage AutoglmScreenMessage(std::string_view current_app) {
  return {"user", "** Screen Info **\n\n" + ScreenInfo(current_app)};
}

ChatMessage AutoglmReplyMessage(const AutoglmReply& reply) { return {"assistant", WriteAutoglmReply(reply)}; }

std::string AutoglmGrammar() {
  std::string grammar =
      "root ::= \"<think>\" [^<=]* \"</think>\" \"\\n\"? \"<answer>\" \"\\n\"? (do | finish)\n"
      "finish ::= \"finish(\"" +
      FieldsGrammar(kAutoglmFinish, true) +
      " \")\"\n"
      "do ::= \"do(action=\" (";
  for (const AutoglmAction& action : kAutoglmActions) {
    if (&action != kAutoglmActions) grammar += " | ";
    grammar += "\"\\\"" + std::string(action.name) + "\\\"\"" + FieldsGrammar(action, false);
  }
  // Backslashes only where nothing is escaped: of Python's escapes, a model's may be wrong. No '<': a text that was not
  // closed would take in a spelled </answer>.
  return grammar +
         ") \")\"\n"
         "point ::= \"[\" coordinate \",\" coordinate \"]\"\n"
         "coordinate ::= [0-9] | [1-9] [0-9]{1,2}\n" +
         TextGrammar("line", "\\\"\\\\<\\x00-\\x1F\\x7F") + TextGrammar("lines", "\\\"<\\x00-\\x09\\x0B-\\x1F\\x7F");
}

}  // namespace fedglm

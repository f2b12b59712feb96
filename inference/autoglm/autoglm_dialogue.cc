// What is said to the model, and what it may say.
#include "base/json.h"
#include "inference/autoglm/autoglm_actions.h"

namespace fedglm {
namespace {

// As Python's json.dumps writes it, which the model was trained on.
std::string ScreenInfo(std::string_view current_app) {
  return "{\"current_app\": " + DumpJson(std::string(current_app)) + "}";
}

// do(action="Swipe", start=[x,y], end=[x,y])
std::string Form(const AutoglmAction& action, bool finish) {
  std::string form = finish ? "finish(" : "do(action=\"" + std::string(action.name) + "\"";
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
    text += field.required ? " " + one : " (" + one + ")?";
    first = false;
  }
  return text;
}

}  // namespace

ChatMessage AutoglmSystemMessage(std::string_view date) {
  std::string text = "Today is " + std::string(date) + ".\n";
  text +=
      "You operate a phone for its user, one action at a time. Each message shows you where you are; answer with one "
      "short thought and one action, in exactly this form:\n"
      "<think>{why this action}</think><answer>{action}</answer>\n\n"
      "Points are [x,y], from [0,0] at the top left of the screen to [999,999] at the bottom right. The actions:\n";
  for (const AutoglmAction& action : kAutoglmActions) {
    text += "- " + Form(action, false) + ": " + std::string(action.purpose) + "\n";
  }
  text += "- " + Form(kAutoglmFinish, true) + ": " + std::string(kAutoglmFinish.purpose) + "\n";
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
      "root ::= \"<think>\" [^<=]* \"</think>\" \"\\n\"? \"<answer>\" (do | finish) \"</answer>\"\n"
      "finish ::= \"finish(\"" + FieldsGrammar(kAutoglmFinish, true) + " \")\"\n"
      "do ::= \"do(action=\" (";
  for (const AutoglmAction& action : kAutoglmActions) {
    if (&action != kAutoglmActions) grammar += " | ";
    grammar += "\"\\\"" + std::string(action.name) + "\\\"\"" + FieldsGrammar(action, false);
  }
  // The client splits at <answer> and at the first action that it finds.
  return grammar +
         ") \")\"\n"
         "point ::= \"[\" coordinate \",\" coordinate \"]\"\n"
         "coordinate ::= [0-9] | [1-9] [0-9]{1,2}\n"
         "line ::= \"\\\"\" [^\"\\\\<\\x00-\\x1F\\x7F]* \"\\\"\"\n"
         "lines ::= \"\\\"\" [^\"\\\\<\\x00-\\x09\\x0B-\\x1F\\x7F]* \"\\\"\"\n";
}

}  // namespace fedglm

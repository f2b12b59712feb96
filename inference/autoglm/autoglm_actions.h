// The actions and their fields: one table for the parser, the writer, the grammar and the prompt. Private to this
// folder.
#pragma once

#include <span>
#include <string_view>

#include "inference/autoglm/autoglm.h"

namespace fedglm {

// The calls' beginnings, by which the client finds them wherever they stand; finish first.
inline constexpr std::string_view kFinishCall = "finish(message=";
inline constexpr std::string_view kDoCall = "do(action=";
inline constexpr std::string_view kAnswerTag = "<answer>", kAnswerEndTag = "</answer>";

struct AutoglmField {
  enum class Use {
    kNeeded,     // the client cannot act without it
    kUsual,      // the prompt has it, the client has a default or does not look at it
    kSometimes,  // only where it is meant
  };
  std::string_view name;
  std::optional<ScreenPoint> AutoglmReply::*point = nullptr;
  std::optional<std::string> AutoglmReply::*text = nullptr;  // one of the two
  Use use = Use::kNeeded;
};

struct AutoglmAction {
  std::string_view name;
  std::string_view purpose, purpose_in_chinese;  // one sentence for the system message
  std::span<const AutoglmField> fields = {};
  bool raw_text = false;  // its text is everything up to the closing quote and parenthesis, nothing is escaped
};

inline constexpr AutoglmField kElement = {.name = "element", .point = &AutoglmReply::element};
inline constexpr AutoglmField kElementFields[] = {kElement};
inline constexpr AutoglmField kTapFields[] = {
    kElement, {.name = "message", .text = &AutoglmReply::message, .use = AutoglmField::Use::kSometimes}};
inline constexpr AutoglmField kSwipeFields[] = {{.name = "start", .point = &AutoglmReply::start},
                                                {.name = "end", .point = &AutoglmReply::end}};
inline constexpr AutoglmField kAppFields[] = {{.name = "app", .text = &AutoglmReply::app}};
inline constexpr AutoglmField kTextFields[] = {{.name = "text", .text = &AutoglmReply::text}};
inline constexpr AutoglmField kMessageFields[] = {
    {.name = "message", .text = &AutoglmReply::message, .use = AutoglmField::Use::kUsual}};
inline constexpr AutoglmField kInstructionFields[] = {
    {.name = "instruction", .text = &AutoglmReply::instruction, .use = AutoglmField::Use::kUsual}};
inline constexpr AutoglmField kDurationFields[] = {
    {.name = "duration", .text = &AutoglmReply::duration, .use = AutoglmField::Use::kUsual}};
inline constexpr AutoglmField kFinishFields[] = {{.name = "message", .text = &AutoglmReply::message}};

inline constexpr AutoglmAction kAutoglmActions[] = {
    {"Launch", "starts an app", "启动应用", kAppFields},
    {"Tap", "taps a point; message asks the user first, before something sensitive",
     "点击一个点；涉及支付、隐私等敏感操作时用 message 先询问用户", kTapFields},
    {"Type", "types into the field that has the focus", "在有焦点的输入框中输入文字", kTextFields, true},
    {"Type_Name", "types a person's name", "输入人名", kTextFields, true},
    {"Interact", "asks the user which of several things is meant", "有多个选项时询问用户选哪一个"},
    {"Swipe", "drags from one point to another", "从一个点滑动到另一个点", kSwipeFields},
    {"Note", "remembers what the screen shows", "记录当前页面的内容", kMessageFields},
    {"Call_API", "summarizes or comments on what was remembered", "总结或评论已记录的内容", kInstructionFields},
    {"Long Press", "holds a point", "长按一个点", kElementFields},
    {"Double Tap", "taps a point twice", "双击一个点", kElementFields},
    {"Take_over", "asks the user to log in or to pass a check", "请用户登录或完成验证", kMessageFields},
    {"Back", "goes back", "返回上一页"},
    {"Home", "goes to the home screen", "回到桌面"},
    {"Wait", "waits for the screen, such as \"2 seconds\"", "等待页面加载，例如 \"2 seconds\"", kDurationFields},
};
inline constexpr AutoglmAction kAutoglmFinish = {"finish", "ends the task and tells the user", "结束任务并告知用户",
                                                 kFinishFields, true};

}  // namespace fedglm

// The actions and their fields: one table for the parser, the writer, the grammar and the prompt. Private to this folder.
#pragma once

#include <span>
#include <string_view>

#include "inference/autoglm/autoglm.h"

namespace fedglm {

struct AutoglmField {
  std::string_view name;
  std::optional<ScreenPoint> AutoglmReply::*point = nullptr;
  std::optional<std::string> AutoglmReply::*text = nullptr;  // one of the two
  bool required = true;
};

struct AutoglmAction {
  std::string_view name;
  std::string_view purpose;  // one sentence for the system message
  std::span<const AutoglmField> fields = {};
  bool raw_text = false;  // its text is everything up to the closing quote and parenthesis, nothing is escaped
};

inline constexpr AutoglmField kElement = {.name = "element", .point = &AutoglmReply::element};
inline constexpr AutoglmField kElementFields[] = {kElement};
inline constexpr AutoglmField kTapFields[] = {
    kElement, {.name = "message", .text = &AutoglmReply::message, .required = false}};
inline constexpr AutoglmField kSwipeFields[] = {{.name = "start", .point = &AutoglmReply::start},
                                                {.name = "end", .point = &AutoglmReply::end}};
inline constexpr AutoglmField kAppFields[] = {{.name = "app", .text = &AutoglmReply::app}};
inline constexpr AutoglmField kTextFields[] = {{.name = "text", .text = &AutoglmReply::text}};
inline constexpr AutoglmField kMessageFields[] = {{.name = "message", .text = &AutoglmReply::message}};
inline constexpr AutoglmField kInstructionFields[] = {{.name = "instruction", .text = &AutoglmReply::instruction}};
inline constexpr AutoglmField kDurationFields[] = {{.name = "duration", .text = &AutoglmReply::duration}};

inline constexpr AutoglmAction kAutoglmActions[] = {
    {"Launch", "starts an app", kAppFields},
    {"Tap", "taps a point; message asks the user first, before something sensitive", kTapFields},
    {"Type", "types into the field that has the focus", kTextFields, true},
    {"Type_Name", "types a person's name", kTextFields, true},
    {"Interact", "asks the user which of several things is meant"},
    {"Swipe", "drags from one point to another", kSwipeFields},
    {"Note", "remembers what the screen shows", kMessageFields},
    {"Call_API", "summarizes or comments on what was remembered", kInstructionFields},
    {"Long Press", "holds a point", kElementFields},
    {"Double Tap", "taps a point twice", kElementFields},
    {"Take_over", "asks the user to log in or to pass a check", kMessageFields},
    {"Back", "goes back"},
    {"Home", "goes to the home screen"},
    {"Wait", "waits for the screen, such as \"2 seconds\"", kDurationFields},
};
inline constexpr AutoglmAction kAutoglmFinish = {"finish", "ends the task and tells the user", kMessageFields, true};

}  // namespace fedglm

// The medicine of the demo: what can be seen, and what it is called. Invented for teaching a small model, not for care.
#pragma once

#include <span>
#include <string_view>

namespace fedglm::hospital {

// Placeholders: {side} left|right, {size} small|moderate|large, {mm} a measure, {level} L1-L2…, {lobe} upper|lower.
struct Condition {
  std::string_view exam;         // index into the exams by name
  std::string_view findings[3];  // three ways to describe it
  std::string_view impression;
};

struct Exam {
  std::string_view name;
  std::string_view indications[4];
  std::string_view normal[5];  // sentences that say nothing is wrong elsewhere
};

std::span<const Exam> Exams();
std::span<const Condition> CommonConditions();
std::span<const Condition> OwnConditions(int site);

}  // namespace fedglm::hospital

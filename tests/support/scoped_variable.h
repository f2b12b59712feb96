// An environment variable with another value as long as an object lives. Programs that are started meanwhile see it.
#pragma once

#include <cstdlib>
#include <optional>
#include <string>

namespace fedglm {

class ScopedVariable {
 public:
  // nullptr: without the variable.
  ScopedVariable(const char* name, const char* value) : name_(name) {
    if (const char* const before = std::getenv(name); before != nullptr) before_ = before;
    Set(value);
  }
  ~ScopedVariable() { Set(before_.has_value() ? before_->c_str() : nullptr); }
  ScopedVariable(const ScopedVariable&) = delete;
  ScopedVariable& operator=(const ScopedVariable&) = delete;

 private:
  void Set(const char* value) { value != nullptr ? setenv(name_, value, 1) : unsetenv(name_); }
  const char* const name_;
  std::optional<std::string> before_;
};

}  // namespace fedglm

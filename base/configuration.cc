#include "base/configuration.h"

#define TOML_EXCEPTIONS 1
#include <toml++/toml.h>

#include <cctype>
#include <charconv>
#include <cstdlib>
#include <set>

#include "base/file.h"

namespace fedglm {

struct Configuration::State {
  toml::table table;
  std::string source;
  std::filesystem::path folder;
  std::map<std::string, std::string, std::less<>> overrides;
  std::set<std::string, std::less<>> asked;
};

namespace {

std::string EnvironmentName(std::string_view key) {
  std::string name = "FEDGLM_";
  for (const char c : key) {
    if (c == ']') continue;
    name += c == '.' || c == '-' || c == '[' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return name;
}

bool IsArrayOfTables(const toml::node& node) {
  const toml::array* const array = node.as_array();
  return array != nullptr && !array->empty() && array->is_homogeneous<toml::table>();
}

// Every leaf with its dotted key and line; an inline table has several on one line.
void CollectLeaves(const toml::table& table, const std::string& prefix, std::multimap<uint32_t, std::string>& by_line) {
  for (const auto& [key, node] : table) {
    const std::string name = prefix.empty() ? std::string(key.str()) : prefix + "." + std::string(key.str());
    if (node.is_table()) {
      CollectLeaves(*node.as_table(), name, by_line);
    } else if (IsArrayOfTables(node)) {
      const toml::array& tables = *node.as_array();
      for (size_t i = 0; i < tables.size(); ++i) {
        CollectLeaves(*tables[i].as_table(), name + "[" + std::to_string(i) + "]", by_line);
      }
    } else {
      by_line.emplace(key.source().begin.line, name);
    }
  }
}

}  // namespace

Configuration::Configuration(std::unique_ptr<State> state) : state_(std::move(state)) {}
Configuration::Configuration(Configuration&&) noexcept = default;
Configuration& Configuration::operator=(Configuration&&) noexcept = default;
Configuration::~Configuration() = default;

absl::StatusOr<Configuration> Configuration::Load(const std::filesystem::path& path) {
  absl::StatusOr<std::string> text = ReadFile(path, 1 << 20);
  if (!text.ok()) return ConfigurationError(Message(text.status()));
  FEDGLM_ASSIGN_OR_RETURN(Configuration configuration, Parse(*text, path.string()));
  configuration.state_->folder = path.parent_path();
  return configuration;
}

absl::StatusOr<Configuration> Configuration::Parse(std::string_view toml_text, std::string_view source_name) {
  auto state = std::make_unique<State>();
  state->source = source_name;
  try {
    state->table = toml::parse(toml_text, source_name);
  } catch (const toml::parse_error& error) {
    return ConfigurationError(std::string(source_name) + ":" + std::to_string(error.source().begin.line) + ": " +
                              std::string(error.description()));
  }
  return Configuration(std::move(state));
}

void Configuration::Override(std::string_view key, std::string value) {
  state_->overrides[std::string(key)] = std::move(value);
}

namespace {

// Where a value was found: text from a flag or the environment, or a node of the file.
struct Found {
  std::optional<std::string> text;
  const toml::node* node = nullptr;
  std::string where;
};

template <typename State>
Found Look(State& state, std::string_view key) {
  state.asked.insert(std::string(key));
  Found found;
  if (const auto flag = state.overrides.find(key); flag != state.overrides.end()) {
    found.text = flag->second;
    found.where = "flag for " + std::string(key);
    return found;
  }
  const std::string variable = EnvironmentName(key);
  if (const char* value = std::getenv(variable.c_str()); value != nullptr) {
    found.text = value;
    found.where = variable;
    return found;
  }
  found.node = state.table.at_path(key).node();
  if (found.node != nullptr) {
    found.where = state.source + ":" + std::to_string(found.node->source().begin.line) + ": " + std::string(key);
  }
  return found;
}

absl::Status WrongValue(const Found& found, std::string_view wanted) {
  return ConfigurationError(found.where + " must be " + std::string(wanted));
}

template <typename T>
std::optional<T> ParseNumber(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

absl::StatusOr<std::string> Configuration::String(std::string_view key, std::string fallback) {
  const Found found = Look(*state_, key);
  if (found.text) return *found.text;
  if (found.node == nullptr) return fallback;
  const auto value = found.node->value_exact<std::string>();
  if (!value) return WrongValue(found, "a string");
  return *value;
}

absl::StatusOr<std::string> Configuration::RequiredString(std::string_view key) {
  FEDGLM_ASSIGN_OR_RETURN(std::string value, String(key, ""));
  if (value.empty()) return ConfigurationError(state_->source + ": " + std::string(key) + " is missing");
  return value;
}

absl::StatusOr<int64_t> Configuration::Integer(std::string_view key, int64_t fallback, int64_t minimum,
                                               int64_t maximum) {
  const Found found = Look(*state_, key);
  std::optional<int64_t> value = fallback;
  if (found.text)
    value = ParseNumber<int64_t>(*found.text);
  else if (found.node != nullptr)
    value = found.node->value_exact<int64_t>();
  else
    return fallback;
  if (!value || *value < minimum || *value > maximum) {
    return WrongValue(found, "an integer from " + std::to_string(minimum) + " to " + std::to_string(maximum));
  }
  return *value;
}

absl::StatusOr<double> Configuration::Number(std::string_view key, double fallback, double minimum, double maximum) {
  const Found found = Look(*state_, key);
  std::optional<double> value = fallback;
  if (found.text)
    value = ParseNumber<double>(*found.text);
  else if (found.node != nullptr)
    value = found.node->is_number() ? found.node->value<double>() : std::nullopt;
  else
    return fallback;
  if (!value || !(*value >= minimum && *value <= maximum)) {
    char range[64];
    std::snprintf(range, sizeof(range), "a number from %g to %g", minimum, maximum);
    return WrongValue(found, range);
  }
  return *value;
}

absl::StatusOr<bool> Configuration::Bool(std::string_view key, bool fallback) {
  const Found found = Look(*state_, key);
  if (found.text) {
    if (*found.text == "true" || *found.text == "1") return true;
    if (*found.text == "false" || *found.text == "0") return false;
    return WrongValue(found, "true or false");
  }
  if (found.node == nullptr) return fallback;
  const auto value = found.node->value_exact<bool>();
  if (!value) return WrongValue(found, "true or false");
  return *value;
}

absl::StatusOr<std::vector<std::string>> Configuration::Strings(std::string_view key,
                                                                std::vector<std::string> fallback) {
  const Found found = Look(*state_, key);
  std::vector<std::string> values;
  if (found.text) {  // separated by commas
    for (size_t begin = 0; begin <= found.text->size();) {
      const size_t end = std::min(found.text->find(',', begin), found.text->size());
      if (end > begin) values.push_back(found.text->substr(begin, end - begin));
      begin = end + 1;
    }
    return values;
  }
  if (found.node == nullptr) return fallback;
  const toml::array* const array = found.node->as_array();
  if (array == nullptr) return WrongValue(found, "an array of strings");
  for (const toml::node& element : *array) {
    const auto value = element.value_exact<std::string>();
    if (!value) return WrongValue(found, "an array of strings");
    values.push_back(*value);
  }
  return values;
}

absl::StatusOr<std::filesystem::path> Configuration::Path(std::string_view key, std::filesystem::path fallback) {
  FEDGLM_ASSIGN_OR_RETURN(const std::string path, String(key, fallback.string()));
  return Resolve(path);
}

absl::StatusOr<std::vector<std::filesystem::path>> Configuration::Paths(std::string_view key) {
  FEDGLM_ASSIGN_OR_RETURN(const std::vector<std::string> names, Strings(key, {}));
  std::vector<std::filesystem::path> paths;
  for (const std::string& name : names) paths.push_back(Resolve(name));
  return paths;
}

absl::StatusOr<size_t> Configuration::TableCount(std::string_view key) {
  const toml::node* const node = state_->table.at_path(key).node();
  if (node == nullptr) return 0;
  state_->asked.insert(std::string(key));
  const std::string where = state_->source + ":" + std::to_string(node->source().begin.line) + ": " + std::string(key);
  if (!IsArrayOfTables(*node)) return ConfigurationError(where + " must be tables: [[" + std::string(key) + "]]");
  return node->as_array()->size();
}

std::filesystem::path Configuration::Resolve(const std::filesystem::path& path) const {
  return path.empty() || path.is_absolute() || state_->folder.empty() ? path : state_->folder / path;
}

absl::Status Configuration::Finish() const {
  std::multimap<uint32_t, std::string> leaves;
  CollectLeaves(state_->table, "", leaves);
  for (const auto& [line, key] : leaves) {
    if (state_->asked.count(key) == 0) {
      return ConfigurationError(state_->source + ":" + std::to_string(line) + ": unknown key '" + key + "'");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> ParseByteSize(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  int shift = -1;
  if (unit.empty() || unit == "B")
    shift = 0;
  else if (unit == "KiB" || unit == "K")
    shift = 10;
  else if (unit == "MiB" || unit == "M")
    shift = 20;
  else if (unit == "GiB" || unit == "G")
    shift = 30;
  else if (unit == "TiB" || unit == "T")
    shift = 40;
  if (error != std::errc() || shift < 0 || number > (UINT64_MAX >> shift)) {
    return UsageError("'" + std::string(text) + "' is not a size such as 4GiB or 512MiB");
  }
  return number << shift;
}

std::string FormatByteSize(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) value /= 1024, ++unit;
  char text[32];
  std::snprintf(text, sizeof(text), unit == 0 ? "%.0f %s" : "%.2f %s", value, kUnits[unit]);
  return text;
}

}  // namespace fedglm

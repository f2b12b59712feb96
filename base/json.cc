#include "base/json.h"

#include <unordered_set>
#include <vector>

template class nlohmann::basic_json<nlohmann::ordered_map>;

namespace fedglm {
namespace {

constexpr size_t kMaxDepth = 128;
// What values take beside their text: each in its list, which has room for as many again; a block of its own for a
// list, object or text; a name in its object and among those that were there.
constexpr size_t kValueBytes = 2 * sizeof(Json), kBlockBytes = 64, kNameBytes = 160;

absl::StatusOr<const Json*> Member(const Json& object, std::string_view key) {
  if (!object.is_object()) return BadFileError("expected a JSON object");
  const auto found = object.find(std::string(key));
  return found == object.end() ? nullptr : &*found;
}

absl::Status WrongType(std::string_view key, std::string_view wanted) {
  return BadFileError("\"" + std::string(key) + "\" must be " + std::string(wanted));
}

absl::Status Missing(std::string_view key) { return BadFileError("\"" + std::string(key) + "\" is missing"); }

// Builds the value from the parser's events. The parser's own builder looks every member up among those before it,
// which for an ordered object is a walk: an object of a million members, which any peer can send, would take minutes.
// This one appends, and remembers the names of the objects that are open; a name that is there twice is refused, since
// two readers would take different values.
class Builder : public Json::json_sax_t {
 public:
  explicit Builder(size_t max_bytes) : bytes_left_(max_bytes) {}

  bool null() override { return Put(nullptr); }
  bool boolean(bool value) override { return Put(value); }
  bool number_integer(number_integer_t value) override { return Put(value); }
  bool number_unsigned(number_unsigned_t value) override { return Put(value); }
  bool number_float(number_float_t value, const string_t&) override { return Put(value); }
  bool string(string_t& value) override { return Charge(kBlockBytes + value.capacity()) && Put(std::move(value)); }
  bool binary(binary_t&) override { return Refuse("binary values are no JSON"); }
  bool start_object(size_t) override { return Open(Json::object()); }
  bool start_array(size_t) override { return Open(Json::array()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool key(string_t& name) override {
    if (!Charge(kNameBytes + 2 * name.size())) return false;
    Level& level = open_.back();
    if (!level.names.insert(name).second) return Refuse(DumpJson(name) + " is there twice");
    auto& members = level.value->get_ref<Json::object_t&>();
    members.emplace_back(std::move(name), Json());
    member_ = &members.back().second;
    return true;
  }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception& error) override {
    std::string reason = error.what();  // "[json.exception.parse_error.101] parse error at line 1, column 2: …"
    if (const size_t end = reason.find("] "); end != std::string::npos) reason = reason.substr(end + 2);
    if (const size_t last_read = reason.find("; last read"); last_read != std::string::npos) reason.resize(last_read);
    return Refuse(std::move(reason));
  }

  Json TakeRoot() { return std::move(root_); }
  const std::string& reason() const { return reason_; }

 private:
  struct Level {
    Json* value;
    std::unordered_set<std::string> names;  // of an object
  };

  Json* Place(Json value) {
    if (open_.empty()) return &(root_ = std::move(value));
    if (open_.back().value->is_object()) return &(*member_ = std::move(value));
    return &open_.back().value->get_ref<Json::array_t&>().emplace_back(std::move(value));
  }
  bool Charge(size_t bytes) {
    if (bytes > bytes_left_) return Refuse("JSON takes too much memory");
    bytes_left_ -= bytes;
    return true;
  }
  bool Put(Json value) {
    if (!Charge(kValueBytes)) return false;
    Place(std::move(value));
    return true;
  }
  bool Open(Json value) {
    if (open_.size() >= kMaxDepth) return Refuse("JSON is nested too deeply");
    if (!Charge(kValueBytes + kBlockBytes)) return false;
    Json* const placed = Place(std::move(value));
    open_.push_back({placed, {}});
    return true;
  }
  bool Close() {
    open_.pop_back();
    return true;
  }
  bool Refuse(std::string reason) {
    reason_ = std::move(reason);
    return false;
  }

  Json root_;
  Json* member_ = nullptr;  // the value that the last key waits for
  std::vector<Level> open_;
  size_t bytes_left_;
  std::string reason_;
};

}  // namespace

absl::StatusOr<Json> ParseJson(std::string_view text, std::string_view what, size_t max_bytes) {
  Builder builder(max_bytes);
  if (!Json::sax_parse(text, &builder)) return BadFileError(std::string(what) + ": " + builder.reason());
  return builder.TakeRoot();
}

std::string DumpJson(const Json& value, int indent) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

absl::StatusOr<std::string> RequireString(const Json& object, std::string_view key) {
  FEDGLM_ASSIGN_OR_RETURN(const Json* const member, Member(object, key));
  if (member == nullptr) return Missing(key);
  if (!member->is_string()) return WrongType(key, "a string");
  return member->get<std::string>();
}

absl::StatusOr<int64_t> RequireInteger(const Json& object, std::string_view key) {
  FEDGLM_ASSIGN_OR_RETURN(const Json* const member, Member(object, key));
  if (member == nullptr) return Missing(key);
  if (!member->is_number_integer()) return WrongType(key, "an integer");
  if (member->is_number_unsigned() && member->get<uint64_t>() > uint64_t{INT64_MAX})
    return WrongType(key, "below 2^63");
  return member->get<int64_t>();
}

absl::StatusOr<double> RequireNumber(const Json& object, std::string_view key) {
  FEDGLM_ASSIGN_OR_RETURN(const Json* const member, Member(object, key));
  if (member == nullptr) return Missing(key);
  if (!member->is_number()) return WrongType(key, "a number");
  return member->get<double>();
}

absl::StatusOr<std::string> OptionalString(const Json& object, std::string_view key, std::string fallback) {
  FEDGLM_ASSIGN_OR_RETURN(const Json* const member, Member(object, key));
  if (member == nullptr || member->is_null()) return fallback;
  return RequireString(object, key);
}

absl::StatusOr<int64_t> OptionalInteger(const Json& object, std::string_view key, int64_t fallback) {
  FEDGLM_ASSIGN_OR_RETURN(const Json* const member, Member(object, key));
  if (member == nullptr || member->is_null()) return fallback;
  return RequireInteger(object, key);
}

absl::StatusOr<double> OptionalNumber(const Json& object, std::string_view key, double fallback) {
  FEDGLM_ASSIGN_OR_RETURN(const Json* const member, Member(object, key));
  if (member == nullptr || member->is_null()) return fallback;
  return RequireNumber(object, key);
}

absl::StatusOr<bool> OptionalBool(const Json& object, std::string_view key, bool fallback) {
  FEDGLM_ASSIGN_OR_RETURN(const Json* const member, Member(object, key));
  if (member == nullptr || member->is_null()) return fallback;
  if (!member->is_boolean()) return WrongType(key, "true or false");
  return member->get<bool>();
}

}  // namespace fedglm

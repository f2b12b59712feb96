#include "adapter/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "base/json.h"

namespace fedglm {
namespace {

// Enough for 38 000 tensors. As JSON in memory a header takes up to 30 times its bytes.
constexpr uint64_t kMaxHeaderBytes = 4 << 20;
constexpr size_t kMaxTensors = 1 << 16;

float HalfToFloat(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t exponent = (half >> 10) & 0x1fu, mantissa = half & 0x3ffu;
  if (exponent == 0) {
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(static_cast<float>(mantissa) * 0x1p-24f));
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  return std::bit_cast<float>(sign | ((exponent + 112u) << 23) | (mantissa << 13));
}

struct ElementType {
  uint64_t bytes;
  void (*convert)(const char* from, size_t count, float* to);
};

void CopyFloats(const char* from, size_t count, float* to) { std::memcpy(to, from, count * sizeof(float)); }
void ConvertHalves(const char* from, size_t count, float* to) {
  for (size_t i = 0; i < count; ++i) {
    uint16_t half;
    std::memcpy(&half, from + 2 * i, sizeof(half));
    to[i] = HalfToFloat(half);
  }
}
void ConvertBfloats(const char* from, size_t count, float* to) {
  for (size_t i = 0; i < count; ++i) {
    uint16_t value;
    std::memcpy(&value, from + 2 * i, sizeof(value));
    to[i] = std::bit_cast<float>(static_cast<uint32_t>(value) << 16);
  }
}

absl::StatusOr<ElementType> FindElementType(const std::string& name) {
  if (name == "F32") return ElementType{4, CopyFloats};
  if (name == "F16") return ElementType{2, ConvertHalves};
  if (name == "BF16") return ElementType{2, ConvertBfloats};
  return BadFileError("type '" + name + "' is not supported (F32, F16 and BF16 are)");
}

// Rows and columns of a shape of one or two dimensions.
absl::StatusOr<std::pair<int64_t, int64_t>> ReadShape(const Json& entry) {
  const auto shape = entry.find("shape");
  if (shape == entry.end() || !shape->is_array() || shape->empty() || shape->size() > 2) {
    return BadFileError("a shape of one or two dimensions is expected");
  }
  std::vector<int64_t> extents;
  for (const Json& extent : *shape) {
    if (!extent.is_number_unsigned() || extent.get<uint64_t>() > (uint64_t{1} << 31))
      return BadFileError("an impossible shape");
    extents.push_back(extent.get<int64_t>());
  }
  return extents.size() == 1 ? std::pair<int64_t, int64_t>(1, extents[0]) : std::pair(extents[0], extents[1]);
}

struct Range {
  uint64_t begin, end;
};

absl::StatusOr<Range> ReadRange(const Json& entry, uint64_t data_bytes) {
  const auto offsets = entry.find("data_offsets");
  if (offsets == entry.end() || !offsets->is_array() || offsets->size() != 2 || !(*offsets)[0].is_number_unsigned() ||
      !(*offsets)[1].is_number_unsigned()) {
    return BadFileError("data_offsets is malformed");
  }
  const Range range = {(*offsets)[0].get<uint64_t>(), (*offsets)[1].get<uint64_t>()};
  if (range.begin > range.end || range.end > data_bytes) return BadFileError("data_offsets lie outside the file");
  return range;
}

// The bytes that tensors have claimed, in the order of the header.
struct Claims {
  std::vector<Range> ranges;
  uint64_t bytes = 0;
};

absl::StatusOr<SafetensorsView::Tensor> ReadPlace(const Json& entry, std::string_view data, Claims& claims) {
  if (!entry.is_object()) return BadFileError("a JSON object is expected");
  FEDGLM_ASSIGN_OR_RETURN(const std::string type_name, RequireString(entry, "dtype"));
  FEDGLM_ASSIGN_OR_RETURN(const ElementType type, FindElementType(type_name));
  FEDGLM_ASSIGN_OR_RETURN(const auto shape, ReadShape(entry));
  FEDGLM_ASSIGN_OR_RETURN(const Range range, ReadRange(entry, data.size()));
  const uint64_t count = static_cast<uint64_t>(shape.first) * static_cast<uint64_t>(shape.second);
  if (count > data.size() || count * type.bytes != range.end - range.begin) {
    return BadFileError("its shape and its bytes do not agree");
  }
  // Before anything is allocated: tensors that share bytes would multiply them.
  claims.bytes += range.end - range.begin;
  if (claims.bytes > data.size()) return BadFileError("it shares bytes with another tensor");
  claims.ranges.push_back(range);
  return SafetensorsView::Tensor{shape.first, shape.second, data.substr(range.begin, range.end - range.begin),
                                 type.convert};
}

// Every byte of the data belongs to one tensor.
absl::Status CheckClaims(Claims claims, uint64_t data_bytes) {
  std::sort(claims.ranges.begin(), claims.ranges.end(),
            [](const Range& a, const Range& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  uint64_t end = 0;
  for (const Range& range : claims.ranges) {
    if (range.begin < end) return BadFileError("two tensors overlap");
    if (range.begin > end) break;
    end = range.end;
  }
  if (end != data_bytes) return BadFileError("bytes that belong to no tensor, or a truncated file");
  return absl::OkStatus();
}

absl::StatusOr<std::map<std::string, std::string>> ReadMetadata(const Json& entry) {
  if (!entry.is_object()) return BadFileError("__metadata__ is not an object");
  std::map<std::string, std::string> metadata;
  for (const auto& [key, value] : entry.items()) {
    if (!value.is_string()) return BadFileError("__metadata__ holds something that is no string");
    metadata[key] = value.get<std::string>();
  }
  return metadata;
}

}  // namespace

absl::StatusOr<SafetensorsView> SafetensorsView::Parse(std::string_view bytes, std::string_view what) {
  const std::string name(what);
  uint64_t header_bytes;
  if (bytes.size() < sizeof(header_bytes)) return BadFileError(name + ": truncated");
  std::memcpy(&header_bytes, bytes.data(), sizeof(header_bytes));
  if (header_bytes > kMaxHeaderBytes || header_bytes > bytes.size() - sizeof(header_bytes)) {
    return BadFileError(name + ": not a safetensors file, or truncated");
  }
  const std::string_view header_text = bytes.substr(sizeof(header_bytes), static_cast<size_t>(header_bytes));
  const std::string_view data = bytes.substr(sizeof(header_bytes) + static_cast<size_t>(header_bytes));
  FEDGLM_ASSIGN_OR_RETURN(const Json header, ParseJson(header_text, name));
  if (!header.is_object() || header.size() > kMaxTensors) return BadFileError(name + ": not a safetensors header");

  SafetensorsView view;
  Claims claims;
  for (const auto& [key, entry] : header.items()) {
    if (key == "__metadata__") {
      absl::StatusOr<std::map<std::string, std::string>> metadata = ReadMetadata(entry);
      if (!metadata.ok()) return Annotate(metadata.status(), name);
      view.metadata_ = *std::move(metadata);
      continue;
    }
    const absl::StatusOr<Tensor> tensor = ReadPlace(entry, data, claims);
    if (!tensor.ok()) return Annotate(tensor.status(), name + ": tensor '" + key + "'");
    if (!view.tensors_.emplace(key, *tensor).second) return BadFileError(name + ": '" + key + "' is there twice");
  }
  if (absl::Status status = CheckClaims(std::move(claims), data.size()); !status.ok()) return Annotate(status, name);
  return view;
}

absl::Status SafetensorsView::Read(const std::string& name, std::span<float> values) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) return BadFileError("tensor '" + name + "' is missing");
  const Tensor& tensor = found->second;
  if (static_cast<uint64_t>(tensor.rows) * static_cast<uint64_t>(tensor.columns) != values.size()) {
    return BadFileError("tensor '" + name + "' has another size");
  }
  if (!values.empty()) tensor.convert(tensor.bytes.data(), values.size(), values.data());
  return absl::OkStatus();
}

absl::StatusOr<SafetensorsFile> ParseSafetensors(std::string_view bytes, std::string_view what) {
  FEDGLM_ASSIGN_OR_RETURN(const SafetensorsView view, SafetensorsView::Parse(bytes, what));
  SafetensorsFile file;
  file.metadata = view.metadata();
  for (const auto& [name, tensor] : view.tensors()) {
    Matrix& matrix = file.tensors[name] = Matrix::Zero(tensor.rows, tensor.columns);
    FEDGLM_RETURN_IF_ERROR(view.Read(name, matrix.values));
  }
  return file;
}

absl::Status WriteSafetensors(const std::map<std::string, const Matrix*>& tensors,
                              const std::map<std::string, std::string>& metadata, const ByteSink& sink) {
  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    const uint64_t bytes = tensor->values.size() * sizeof(float);
    header[name] = {
        {"dtype", "F32"}, {"shape", {tensor->rows, tensor->columns}}, {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = DumpJson(header);
  text.append((8 - text.size() % 8) % 8, ' ');  // so that the data is aligned
  const uint64_t header_bytes = text.size();
  FEDGLM_RETURN_IF_ERROR(sink({reinterpret_cast<const char*>(&header_bytes), sizeof(header_bytes)}));
  FEDGLM_RETURN_IF_ERROR(sink(text));
  for (const auto& [name, tensor] : tensors) {
    FEDGLM_RETURN_IF_ERROR(
        sink({reinterpret_cast<const char*>(tensor->values.data()), tensor->values.size() * sizeof(float)}));
  }
  return absl::OkStatus();
}

std::string SerializeSafetensors(const std::map<std::string, Matrix>& tensors,
                                 const std::map<std::string, std::string>& metadata) {
  std::map<std::string, const Matrix*> places;
  size_t values = 0;
  for (const auto& [name, tensor] : tensors) {
    places.emplace(name, &tensor);
    values += tensor.values.size();
  }
  std::string out;
  out.reserve(values * sizeof(float) + 256 * (tensors.size() + 1));
  const absl::Status written = WriteSafetensors(places, metadata, [&out](std::string_view bytes) {
    out += bytes;
    return absl::OkStatus();
  });
  (void)written;  // a string takes everything
  return out;
}

}  // namespace fedglm

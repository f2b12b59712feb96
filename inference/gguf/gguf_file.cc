#include "inference/gguf/gguf_file.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

#include "inference/gguf/gguf_format.h"

namespace fedglm {
namespace {

using namespace gguf_format;

// What a file may make us hold for metadata and tensor table, whatever it declares. The largest vocabulary around
// (262 144 tokens and 515 000 merges) takes 29 MiB; a tokenizer built of what fits here stays below 256 MiB.
constexpr uint64_t kMaxHeldBytes = 48 << 20;
constexpr uint64_t kMaxKeys = 1 << 16;
constexpr uint64_t kMaxTensors = 1 << 16;
constexpr uint64_t kMaxArrayElements = 1 << 20;
constexpr uint64_t kMaxKeyBytes = 1 << 10;
constexpr uint64_t kMaxTensorNameBytes = 64;  // GGUF's own limit
constexpr int64_t kMaxExtent = int64_t{1} << 40;
// What a key or tensor is held in beside its name, index entry included (measured: 300 and 360).
constexpr uint64_t kKeyOverhead = 320, kTensorOverhead = 384;
// The smallest of each in a file, to hold a declared count against the bytes that are left: a name of one byte and its
// length, a type and a value of one byte; and a name, one dimension, type and offset.
constexpr uint64_t kSmallestKey = 8 + 1 + 4 + 1, kSmallestTensor = 8 + 1 + 4 + 8 + 4 + 8;
constexpr uint64_t kMinAlignment = 8, kMaxAlignment = 1 << 20;

// Names go into messages and onto terminals.
bool IsPrintable(std::string_view name) {
  return std::all_of(name.begin(), name.end(), [](unsigned char c) { return c >= 0x20 && c != 0x7f; });
}

// What is charged here before it is allocated never sums up to more than kMaxHeldBytes.
class HeldBudget {
 public:
  absl::Status Charge(uint64_t bytes) {
    if (bytes > kMaxHeldBytes - held_) return BadFileError("its metadata is too large");
    held_ += bytes;
    return absl::OkStatus();
  }
  absl::Status Charge(uint64_t count, uint64_t bytes_each) {
    if (count > kMaxHeldBytes / bytes_each) return BadFileError("its metadata is too large");
    return Charge(count * bytes_each);
  }

 private:
  uint64_t held_ = 0;
};

// What a string takes beside itself.
uint64_t HeapBytes(std::string_view text) {
  constexpr size_t kInside = 15;  // of characters without an allocation
  return text.size() <= kInside ? 0 : text.size() + 16;
}

// Bytes left to read. Every Read checks before it moves.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <typename T>
  absl::StatusOr<T> Read() {
    if (remaining() < sizeof(T)) return BadFileError("truncated");
    T value;
    std::memcpy(&value, bytes_.data() + offset_, sizeof(T));
    offset_ += sizeof(T);
    return value;
  }

  // In the file; nothing is allocated.
  absl::StatusOr<std::string_view> ReadString() {
    FEDGLM_ASSIGN_OR_RETURN(const uint64_t size, Read<uint64_t>());
    if (size > remaining()) return BadFileError("truncated: a string of " + std::to_string(size) + " bytes");
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data() + offset_), static_cast<size_t>(size));
    offset_ += size;
    return text;
  }

  // A key or a tensor's name.
  absl::StatusOr<std::string_view> ReadName(uint64_t max_bytes) {
    FEDGLM_ASSIGN_OR_RETURN(const std::string_view name, ReadString());
    if (name.empty()) return BadFileError("its name is empty");
    if (name.size() > max_bytes) {
      return BadFileError("its name of " + std::to_string(name.size()) + " bytes is too long");
    }
    if (!IsPrintable(name)) return BadFileError("its name has control characters");
    return name;
  }

  size_t offset() const { return offset_; }
  uint64_t remaining() const { return bytes_.size() - offset_; }

 private:
  std::span<const std::byte> bytes_;
  size_t offset_ = 0;
};

// Bytes of one value of a fixed-size type, 0 for strings and arrays, and for unknown types.
uint64_t FixedSize(uint32_t type) {
  switch (type) {
    case kUint8:
    case kInt8:
    case kBool:
      return 1;
    case kUint16:
    case kInt16:
      return 2;
    case kUint32:
    case kInt32:
    case kFloat32:
      return 4;
    case kUint64:
    case kInt64:
    case kFloat64:
      return 8;
    default:
      return 0;
  }
}

template <typename T, typename As>
absl::StatusOr<GgufValue> ReadAs(Reader& reader) {
  FEDGLM_ASSIGN_OR_RETURN(const T value, reader.Read<T>());
  return GgufValue(static_cast<As>(value));
}

absl::StatusOr<GgufValue> ReadScalar(Reader& reader, uint32_t type) {
  switch (type) {
    case kUint8:
      return ReadAs<uint8_t, uint64_t>(reader);
    case kInt8:
      return ReadAs<int8_t, int64_t>(reader);
    case kUint16:
      return ReadAs<uint16_t, uint64_t>(reader);
    case kInt16:
      return ReadAs<int16_t, int64_t>(reader);
    case kUint32:
      return ReadAs<uint32_t, uint64_t>(reader);
    case kInt32:
      return ReadAs<int32_t, int64_t>(reader);
    case kUint64:
      return ReadAs<uint64_t, uint64_t>(reader);
    case kInt64:
      return ReadAs<int64_t, int64_t>(reader);
    case kFloat32:
      return ReadAs<float, double>(reader);
    case kFloat64:
      return ReadAs<double, double>(reader);
    case kBool: {
      FEDGLM_ASSIGN_OR_RETURN(const uint8_t value, reader.Read<uint8_t>());
      if (value > 1) return BadFileError("a bool is neither 0 nor 1");
      return GgufValue(value == 1);
    }
    default:
      return BadFileError("value type " + std::to_string(type) + " is unknown");
  }
}

}  // namespace

class GgufParser {
 public:
  explicit GgufParser(GgufFile& file) : file_(file), reader_(file.bytes_) {}

  absl::Status Parse() {
    FEDGLM_ASSIGN_OR_RETURN(const uint32_t magic, reader_.Read<uint32_t>());
    if (magic != kMagic) return BadFileError("not a GGUF file");
    FEDGLM_ASSIGN_OR_RETURN(file_.version_, reader_.Read<uint32_t>());
    if (file_.version_ != 2 && file_.version_ != 3) {
      const bool swapped = (file_.version_ & 0xffff) == 0 && file_.version_ != 0;
      return BadFileError(swapped
                              ? "big-endian GGUF is not supported"
                              : "GGUF version " + std::to_string(file_.version_) + " is not supported (2 and 3 are)");
    }
    FEDGLM_ASSIGN_OR_RETURN(const uint64_t tensors, reader_.Read<uint64_t>());
    FEDGLM_ASSIGN_OR_RETURN(const uint64_t keys, reader_.Read<uint64_t>());
    // What is declared must fit into what is there.
    if (keys > kMaxKeys || keys > reader_.remaining() / kSmallestKey) {
      return BadFileError("declares " + std::to_string(keys) + " keys, more than the file has room for: is it whole?");
    }
    if (tensors > kMaxTensors || tensors > (reader_.remaining() - keys * kSmallestKey) / kSmallestTensor) {
      return BadFileError("declares " + std::to_string(tensors) +
                          " tensors, more than the file has room for: is it whole?");
    }
    FEDGLM_RETURN_IF_ERROR(budget_.Charge(keys, kKeyOverhead));
    FEDGLM_RETURN_IF_ERROR(budget_.Charge(tensors, kTensorOverhead));
    file_.metadata_.reserve(keys);
    file_.raw_metadata_.reserve(keys);
    file_.tensors_.reserve(tensors);
    offsets_.reserve(tensors);
    for (uint64_t i = 0; i < keys; ++i) {
      FEDGLM_RETURN_IF_ERROR(Annotate(ReadKey(), "metadata key " + std::to_string(i)));
    }
    FEDGLM_RETURN_IF_ERROR(ReadAlignment());
    for (uint64_t i = 0; i < tensors; ++i) {
      FEDGLM_RETURN_IF_ERROR(Annotate(ReadTensor(), "tensor " + std::to_string(i)));
    }
    return PlaceTensors();
  }

 private:
  absl::Status ReadKey() {
    FEDGLM_ASSIGN_OR_RETURN(const std::string_view name, reader_.ReadName(kMaxKeyBytes));
    FEDGLM_RETURN_IF_ERROR(budget_.Charge(2 * HeapBytes(name)));  // in the list and in the index
    std::string key(name);
    const size_t begin = reader_.offset();
    FEDGLM_ASSIGN_OR_RETURN(const uint32_t type, reader_.Read<uint32_t>());
    absl::StatusOr<GgufValue> value = ReadValue(type);
    if (!value.ok()) return Annotate(value.status(), key);
    if (!file_.metadata_index_.emplace(key, file_.metadata_.size()).second) {
      return BadFileError("'" + key + "' is there twice");
    }
    file_.metadata_.emplace_back(std::move(key), *std::move(value));
    file_.raw_metadata_.push_back(file_.bytes_.subspan(begin, reader_.offset() - begin));
    return absl::OkStatus();
  }

  absl::StatusOr<GgufValue> ReadValue(uint32_t type) {
    if (type == kString) {
      FEDGLM_ASSIGN_OR_RETURN(std::string text, ReadHeldString());
      return GgufValue(std::move(text));
    }
    if (type == kArray) return ReadArray();
    return ReadScalar(reader_, type);
  }

  absl::StatusOr<std::string> ReadHeldString() {
    FEDGLM_ASSIGN_OR_RETURN(const std::string_view text, reader_.ReadString());
    FEDGLM_RETURN_IF_ERROR(budget_.Charge(HeapBytes(text)));
    return std::string(text);
  }

  absl::StatusOr<GgufValue> ReadArray() {
    FEDGLM_ASSIGN_OR_RETURN(const uint32_t type, reader_.Read<uint32_t>());
    FEDGLM_ASSIGN_OR_RETURN(const uint64_t count, reader_.Read<uint64_t>());
    if (type == kArray) return BadFileError("arrays of arrays are not supported");
    const uint64_t smallest = type == kString ? 8 : FixedSize(type);
    if (smallest == 0) return BadFileError("array element type " + std::to_string(type) + " is unknown");
    if (count > reader_.remaining() / smallest) return BadFileError("truncated: an array of " + std::to_string(count));
    if (count > kMaxArrayElements) return BadFileError("an array of " + std::to_string(count) + " is too long");
    auto array = std::make_shared<GgufArray>();
    FEDGLM_RETURN_IF_ERROR(type == kString ? ReadStrings(count, *array) : ReadScalars(type, count, *array));
    return GgufValue(std::shared_ptr<const GgufArray>(std::move(array)));
  }

  absl::Status ReadStrings(uint64_t count, GgufArray& array) {
    FEDGLM_RETURN_IF_ERROR(budget_.Charge(count, sizeof(std::string)));
    array.strings.reserve(count);
    for (uint64_t i = 0; i < count; ++i) {
      FEDGLM_ASSIGN_OR_RETURN(std::string text, ReadHeldString());
      array.strings.push_back(std::move(text));
    }
    return absl::OkStatus();
  }

  absl::Status ReadScalars(uint32_t type, uint64_t count, GgufArray& array) {
    FEDGLM_RETURN_IF_ERROR(budget_.Charge(count, sizeof(int64_t)));
    const bool is_float = type == kFloat32 || type == kFloat64;
    is_float ? array.numbers.reserve(count) : array.integers.reserve(count);
    for (uint64_t i = 0; i < count; ++i) {
      FEDGLM_ASSIGN_OR_RETURN(const GgufValue value, ReadScalar(reader_, type));
      if (const double* number = std::get_if<double>(&value)) {
        array.numbers.push_back(*number);
      } else if (const uint64_t* integer = std::get_if<uint64_t>(&value)) {
        array.integers.push_back(static_cast<int64_t>(*integer));
      } else if (const int64_t* signed_integer = std::get_if<int64_t>(&value)) {
        array.integers.push_back(*signed_integer);
      } else {
        array.integers.push_back(std::get<bool>(value) ? 1 : 0);
      }
    }
    return absl::OkStatus();
  }

  absl::Status ReadAlignment() {
    const std::span<const std::byte> raw = file_.RawValue("general.alignment");
    if (raw.empty()) return absl::OkStatus();
    uint32_t type;
    std::memcpy(&type, raw.data(), sizeof(type));
    const int64_t alignment = type == kUint32 ? file_.IntegerOr("general.alignment", 0) : 0;
    const uint64_t unsigned_alignment = static_cast<uint64_t>(alignment);
    if (!std::has_single_bit(unsigned_alignment) || unsigned_alignment < kMinAlignment ||
        unsigned_alignment > kMaxAlignment) {
      return BadFileError("general.alignment is not a power of two from 8 to 1 MiB (uint32)");
    }
    file_.alignment_ = unsigned_alignment;
    return absl::OkStatus();
  }

  absl::Status ReadTensor() {
    FEDGLM_ASSIGN_OR_RETURN(const std::string_view name, reader_.ReadName(kMaxTensorNameBytes));
    FEDGLM_RETURN_IF_ERROR(budget_.Charge(2 * HeapBytes(name)));  // in the list and in the index
    return Annotate(ReadNamedTensor(std::string(name)), "'" + std::string(name) + "'");
  }

  absl::Status ReadNamedTensor(std::string name) {
    GgufTensor tensor;
    tensor.name = std::move(name);
    FEDGLM_ASSIGN_OR_RETURN(const uint32_t dimensions, reader_.Read<uint32_t>());
    if (dimensions < 1 || dimensions > 4) return BadFileError("has " + std::to_string(dimensions) + " dimensions");
    tensor.dimensions = static_cast<int>(dimensions);
    int64_t weights = 1;
    for (uint32_t i = 0; i < dimensions; ++i) {
      FEDGLM_ASSIGN_OR_RETURN(const uint64_t extent, reader_.Read<uint64_t>());
      if (extent < 1 || extent > static_cast<uint64_t>(kMaxExtent / weights)) {
        return BadFileError("has an impossible shape");
      }
      tensor.extent[i] = static_cast<int64_t>(extent);
      weights *= tensor.extent[i];
    }
    FEDGLM_ASSIGN_OR_RETURN(const uint32_t type, reader_.Read<uint32_t>());
    FEDGLM_ASSIGN_OR_RETURN(tensor.type, BlockTypeFromNumber(type));
    if (tensor.columns() % FactsOf(tensor.type).weights_per_block != 0) {
      return BadFileError("rows of " + std::to_string(tensor.columns()) + " are no whole number of blocks");
    }
    FEDGLM_ASSIGN_OR_RETURN(const uint64_t offset, reader_.Read<uint64_t>());
    if (offset % file_.alignment_ != 0) return BadFileError("is not aligned");
    if (!file_.tensor_index_.emplace(tensor.name, file_.tensors_.size()).second) return BadFileError("is there twice");
    offsets_.push_back(offset);
    file_.tensors_.push_back(std::move(tensor));
    return absl::OkStatus();
  }

  // Gives every tensor its bytes and checks that no two overlap.
  absl::Status PlaceTensors() {
    const uint64_t mask = file_.alignment_ - 1;
    const uint64_t data_begin = (reader_.offset() + mask) & ~mask;
    const uint64_t data_bytes = file_.bytes_.size() > data_begin ? file_.bytes_.size() - data_begin : 0;
    std::vector<std::pair<uint64_t, uint64_t>> ranges;
    ranges.reserve(file_.tensors_.size());
    for (size_t i = 0; i < file_.tensors_.size(); ++i) {
      GgufTensor& tensor = file_.tensors_[i];
      const uint64_t bytes = static_cast<uint64_t>(RowBytes(tensor.type, tensor.columns()) * tensor.rows());
      if (offsets_[i] > data_bytes || bytes > data_bytes - offsets_[i]) {
        return BadFileError("truncated: '" + tensor.name + "' lies beyond the end of the file");
      }
      tensor.bytes = file_.bytes_.subspan(data_begin + offsets_[i], bytes);
      ranges.emplace_back(offsets_[i], offsets_[i] + bytes);
    }
    std::sort(ranges.begin(), ranges.end());
    for (size_t i = 1; i < ranges.size(); ++i) {
      if (ranges[i].first < ranges[i - 1].second) return BadFileError("two tensors overlap");
    }
    return absl::OkStatus();
  }

  GgufFile& file_;
  Reader reader_;
  std::vector<uint64_t> offsets_;
  HeldBudget budget_;
};

absl::StatusOr<std::shared_ptr<const GgufFile>> GgufFile::Open(const std::filesystem::path& path) {
  FEDGLM_ASSIGN_OR_RETURN(MappedFile mapping, MappedFile::Open(path));
  std::shared_ptr<GgufFile> file(new GgufFile());
  file->path_ = path;
  file->mapping_ = std::move(mapping);
  file->bytes_ = file->mapping_.bytes();
  const absl::Status parsed = GgufParser(*file).Parse();
  FEDGLM_RETURN_IF_ERROR(file->CheckIntact());  // the cause, if the file was cut meanwhile
  FEDGLM_RETURN_IF_ERROR(Annotate(parsed, path.string()));
  return std::shared_ptr<const GgufFile>(std::move(file));
}

absl::StatusOr<std::shared_ptr<const GgufFile>> GgufFile::Parse(std::span<const std::byte> bytes, std::string name) {
  std::shared_ptr<GgufFile> file(new GgufFile());
  file->path_ = std::move(name);
  file->bytes_ = bytes;
  FEDGLM_RETURN_IF_ERROR(Annotate(GgufParser(*file).Parse(), file->path_.string()));
  return std::shared_ptr<const GgufFile>(std::move(file));
}

const GgufTensor* GgufFile::FindTensor(std::string_view name) const {
  const auto found = tensor_index_.find(name);
  return found == tensor_index_.end() ? nullptr : &tensors_[found->second];
}

absl::StatusOr<const GgufTensor*> GgufFile::RequireTensor(std::string_view name) const {
  if (const GgufTensor* tensor = FindTensor(name)) return tensor;
  return BadFileError(path_.string() + ": tensor '" + std::string(name) + "' is missing");
}

const GgufValue* GgufFile::FindValue(std::string_view key) const {
  const auto found = metadata_index_.find(key);
  return found == metadata_index_.end() ? nullptr : &metadata_[found->second].second;
}

std::span<const std::byte> GgufFile::RawValue(std::string_view key) const {
  const auto found = metadata_index_.find(key);
  return found == metadata_index_.end() ? std::span<const std::byte>() : raw_metadata_[found->second];
}

absl::StatusOr<std::string> GgufFile::RequireString(std::string_view key) const {
  const GgufValue* const value = FindValue(key);
  if (value == nullptr) return BadFileError(path_.string() + ": '" + std::string(key) + "' is missing");
  const std::string* const text = std::get_if<std::string>(value);
  if (text == nullptr) return BadFileError(path_.string() + ": '" + std::string(key) + "' is not a string");
  return *text;
}

absl::StatusOr<int64_t> GgufFile::RequireInteger(std::string_view key) const {
  const GgufValue* const value = FindValue(key);
  if (value == nullptr) return BadFileError(path_.string() + ": '" + std::string(key) + "' is missing");
  if (const uint64_t* number = std::get_if<uint64_t>(value);
      number != nullptr && *number <= uint64_t{std::numeric_limits<int64_t>::max()}) {
    return static_cast<int64_t>(*number);
  }
  if (const int64_t* number = std::get_if<int64_t>(value)) return *number;
  return BadFileError(path_.string() + ": '" + std::string(key) + "' is not an integer");
}

std::string GgufFile::StringOr(std::string_view key, std::string fallback) const {
  const GgufValue* const value = FindValue(key);
  const std::string* const text = value == nullptr ? nullptr : std::get_if<std::string>(value);
  return text == nullptr ? fallback : *text;
}

int64_t GgufFile::IntegerOr(std::string_view key, int64_t fallback) const {
  const absl::StatusOr<int64_t> value = RequireInteger(key);
  return value.ok() ? *value : fallback;
}

double GgufFile::NumberOr(std::string_view key, double fallback) const {
  const GgufValue* const value = FindValue(key);
  if (value == nullptr) return fallback;
  if (const double* number = std::get_if<double>(value)) return *number;
  const absl::StatusOr<int64_t> integer = RequireInteger(key);
  return integer.ok() ? static_cast<double>(*integer) : fallback;
}

bool GgufFile::BoolOr(std::string_view key, bool fallback) const {
  const GgufValue* const value = FindValue(key);
  const bool* const flag = value == nullptr ? nullptr : std::get_if<bool>(value);
  return flag == nullptr ? fallback : *flag;
}

const GgufArray* GgufFile::FindArray(std::string_view key) const {
  const GgufValue* const value = FindValue(key);
  const auto* const array = value == nullptr ? nullptr : std::get_if<std::shared_ptr<const GgufArray>>(value);
  return array == nullptr ? nullptr : array->get();
}

}  // namespace fedglm

// GGUF files that are none, each for one reason: those of llama.cpp's tests/test-gguf.cpp under its names (the first
// comment of each group), and more of our own.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/raw_gguf.h"

namespace fedglm {

struct MalformedGguf {
  std::string name;  // of the case
  std::string bytes;
  std::string reason;  // a part of the message
};

namespace malformed {

inline constexpr uint64_t kAll = ~uint64_t{0};
inline constexpr uint32_t kF32 = static_cast<uint32_t>(BlockType::kF32);
inline constexpr uint32_t kQ8_0 = static_cast<uint32_t>(BlockType::kQ8_0);

// Two keys, two tensors of one block row each, and their data: opens.
inline RawGguf Good() {
  RawGguf file;
  file.keys = {{"general.architecture", gguf_format::kString, GgufString("glm4")},
               ArrayKey("words", gguf_format::kString, 2, GgufString("a") + GgufString("bc"))};
  file.tensors = {{"first", {32, 2}, kQ8_0, 0}, {"second", {8}, kF32, 96}};
  file.data = std::string(96 + 32, '\1');
  return file;
}
template <typename Change>
std::string Changed(Change change) {
  RawGguf file = Good();
  change(file);
  return file.Bytes();
}
inline std::string WithKey(RawKey key) {
  return Changed([&](RawGguf& file) { file.keys.push_back(std::move(key)); });
}
template <typename Change>
std::string WithTensor(Change change) {
  return Changed([&](RawGguf& file) { change(file.tensors[1]); });
}
inline RawKey Alignment(uint64_t value, uint32_t type = gguf_format::kUint32, int bytes = 4) {
  return {"general.alignment", type, LittleEndian(value, bytes)};
}

// HEADER_BAD_MAGIC, BAD_VERSION_0, _1, _FUTURE, BAD_N_KV, BAD_N_TENSORS.
inline void AddHeaders(std::vector<MalformedGguf>& cases) {
  const auto add = [&](std::string name, std::string bytes, std::string reason) {
    cases.push_back({std::move(name), std::move(bytes), std::move(reason)});
  };
  const auto version = [](uint32_t number) { return Changed([&](RawGguf& file) { file.version = number; }); };
  const auto keys = [](uint64_t count) { return Changed([&](RawGguf& file) { file.key_count = count; }); };
  const auto tensors = [](uint64_t count) { return Changed([&](RawGguf& file) { file.tensor_count = count; }); };
  add("Empty", "", "truncated");
  add("OnlyMagic", "GGUF", "truncated");
  add("OnlyVersion", std::string("GGUF") + LittleEndian(3, 4), "truncated");
  add("BadMagic", Changed([](RawGguf& file) { file.magic = "FUGG"; }), "not a GGUF file");
  add("OldFormat", Changed([](RawGguf& file) { file.magic = "ggjt"; }), "not a GGUF file");
  add("Version0", version(0), "version 0");
  add("Version1", version(1), "version 1");
  add("VersionOfTheFuture", version(4), "version 4");
  add("BigEndian", version(0x03000000), "big-endian");
  add("KeyCountOfAllOnes", keys(kAll), "keys");
  add("KeyCountOf2To32", keys(uint64_t{1} << 32), "keys");
  add("OneKeyMoreThanThere", keys(3), "");
  add("OneKeyLessThanThere", keys(1), "");
  add("TensorCountOfAllOnes", tensors(kAll), "tensors");
  add("TensorCountOf2To32", tensors(uint64_t{1} << 32), "tensors");
  add("OneTensorMoreThanThere", tensors(3), "");
  // Both counts fit the bytes, but not together.
  add("CountsThatFitOnlyAlone",
      RawGguf{.tensor_count = 10, .key_count = 20}.Bytes() + std::string(20 * 14 + 9 * 33, '\0'), "tensors");
}

// KV_BAD_KEY_SIZE, EMPTY_KEY, BAD_TYPE, DUPLICATE_KEY, BAD_ALIGN, WRONG_TYPE_ALIGN.
inline void AddKeys(std::vector<MalformedGguf>& cases) {
  using namespace gguf_format;
  const auto add = [&](std::string name, RawKey key, std::string reason) {
    cases.push_back({"Key" + std::move(name), WithKey(std::move(key)), std::move(reason)});
  };
  add("OfAllOnesBytes", {"key", kUint32, LittleEndian(1, 4), kAll}, "truncated");
  add("LongerThanTheFile", {"key", kUint32, LittleEndian(1, 4), 1 << 20}, "truncated");
  add("WithoutAName", {""}, "name is empty");
  add("WithAnEndlessName", {std::string(1 << 12, 'k')}, "too long");
  add("WithANewline", {"a\nb"}, "control characters");
  add("WithANul", {std::string("a\0b", 3)}, "control characters");
  add("OfTheFirstUnknownType", {"key", 13}, "type 13");
  add("OfAllOnesType", {"key", ~uint32_t{0}}, "type 4294967295");
  add("OfTheSameName", {"words"}, "'words' is there twice");
  add("WithABoolOfTwo", {"key", kBool, LittleEndian(2, 1)}, "neither 0 nor 1");
  add("StringOfAllOnesBytes", {"key", kString, LittleEndian(kAll, 8)}, "truncated");
  add("StringLongerThanTheFile", {"key", kString, LittleEndian(1 << 20, 8)}, "truncated");
  add("ArrayOfAnUnknownType", ArrayKey("key", 13, 1, LittleEndian(1, 8)), "type 13");
  add("ArrayOfArrays", ArrayKey("key", kArray, 1, LittleEndian(kUint8, 4) + LittleEndian(1, 8) + "x"),
      "arrays of arrays");
  add("ArrayOfAllOnesElements", ArrayKey("key", kUint8, kAll, ""), "truncated");
  add("ArrayWhoseBytesOverflow", ArrayKey("key", kUint64, uint64_t{1} << 61, ""), "truncated");
  add("ArrayWhoseBytesOverflowToAFew", ArrayKey("key", kUint64, (uint64_t{1} << 61) + 1, LittleEndian(1, 8)),
      "truncated");
  add("ArrayOfMoreStringsThanFit", ArrayKey("key", kString, 1 << 20, ""), "truncated");
  add("ArrayOfStringsCutShort", ArrayKey("key", kString, 2, GgufString("a") + LittleEndian(1 << 20, 8)), "truncated");
  add("ArrayWithABoolOfTwo", ArrayKey("key", kBool, 2, "\1\2"), "neither 0 nor 1");
  add("ArrayThatIsTooLong", ArrayKey("key", kUint8, (1 << 20) + 1, std::string((1 << 20) + 1, '\0')), "too long");
  for (const uint64_t value : {0, 1, 4, 13, 48, 1 << 21}) {
    add("AlignmentOf" + std::to_string(value), Alignment(value), "general.alignment");
  }
  add("AlignmentOf2To63", Alignment(uint64_t{1} << 63, kUint64, 8), "general.alignment");
  add("AlignmentSigned", Alignment(32, kInt32), "general.alignment");
  add("AlignmentAsText", {"general.alignment", kString, GgufString("32")}, "general.alignment");
  add("AlignmentAsArray", ArrayKey("general.alignment", kUint32, 1, LittleEndian(32, 4)), "general.alignment");
}

// TENSORS_BAD_NAME_SIZE, BAD_N_DIMS, BAD_SHAPE, NE_TOO_BIG, NBYTES_TOO_BIG, BAD_TYPE, BAD_OFFSET, DUPLICATE_NAME,
// BAD_ALIGN, INCONSISTENT_ALIGN; DATA_NOT_ENOUGH_DATA, BAD_ALIGN, INCONSISTENT_ALIGN, MEM_SIZE_OVERFLOW. llama.cpp
// allows a dimension of zero; no architecture has a tensor without weights, so it is refused here.
inline void AddTensors(std::vector<MalformedGguf>& cases) {
  const auto add = [&](std::string name, auto change, std::string reason) {
    cases.push_back({"Tensor" + std::move(name), WithTensor(change), std::move(reason)});
  };
  add(
      "WithALongName", [](RawTensor& t) { t.name = std::string(65, 't'); }, "too long");
  add(
      "WithoutAName", [](RawTensor& t) { t.name = ""; }, "name is empty");
  add(
      "WithANewline", [](RawTensor& t) { t.name = "a\nb"; }, "control characters");
  add(
      "OfTheSameName", [](RawTensor& t) { t.name = "first"; }, "'first': is there twice");
  for (const uint32_t count : {uint32_t{0}, uint32_t{5}, ~uint32_t{0}}) {
    add(
        "Of" + std::to_string(count) + "Dimensions", [&](RawTensor& t) { t.dimensions = count; }, "dimensions");
  }
  const auto shape = [&](std::string name, std::vector<uint64_t> extent) {
    add(
        std::move(name), [&](RawTensor& t) { t.extent = extent; }, "impossible shape");
  };
  shape("OfNoColumns", {0});
  shape("OfNoRows", {8, 0});
  shape("OfNegativeColumns", {kAll});
  shape("OfNegativeRows", {8, kAll});
  shape("WhoseWeightsOverflow", {uint64_t{1} << 33, uint64_t{1} << 33});
  shape("WhoseWeightsOverflowToOne", {(uint64_t{1} << 32) + 1, (uint64_t{1} << 32) - 1, 1, 1});
  shape("WhoseWeightsOverflowInTheFourth", {1 << 16, 1 << 16, 1 << 16, 1 << 16});
  shape("WhoseBytesOverflow", {0x7FFFFFFFFFFFFFC0});
  shape("WhoseBytesOverflowInTwo", {uint64_t{3} << 30, uint64_t{3} << 30});
  for (const uint32_t type : {4u, 5u, 9u, 16u, 27u, 1000u, ~0u}) {
    add(
        "OfType" + std::to_string(type), [&](RawTensor& t) { t.type = type; }, "type " + std::to_string(type));
  }
  add(
      "WithAQuarterOfABlock", [](RawTensor& t) { t.type = kQ8_0, t.extent = {8}; }, "no whole number of blocks");
  add(
      "AtAnOffsetOfAllOnes", [](RawTensor& t) { t.offset = kAll; }, "not aligned");
  add(
      "AtTheLastAlignedOffset", [](RawTensor& t) { t.offset = kAll - 31; }, "beyond the end");
  add(
      "AtAnOddOffset", [](RawTensor& t) { t.offset = 97; }, "not aligned");
  add(
      "PackedWithoutAlignment", [](RawTensor& t) { t.offset = 68; }, "not aligned");
  add(
      "BehindTheEnd", [](RawTensor& t) { t.offset = 128; }, "beyond the end");
  add(
      "FarBehindTheEnd", [](RawTensor& t) { t.offset = uint64_t{1} << 40; }, "beyond the end");
  add(
      "InTheMiddleOfAnother", [](RawTensor& t) { t.offset = 32; }, "overlap");
  add(
      "InThePlaceOfAnother", [](RawTensor& t) { t.offset = 0; }, "overlap");
  add(
      "LargerThanTheFile", [](RawTensor& t) { t.extent = {uint64_t{1} << 40}; }, "beyond the end");
  cases.push_back({"DataOneByteShort", Changed([](RawGguf& file) { file.data.pop_back(); }), "beyond the end"});
  cases.push_back({"DataMissing", Changed([](RawGguf& file) { file.data.clear(); }), "beyond the end"});
  cases.push_back({"DataNotAlignedAsDeclared", Changed([](RawGguf& file) {
                     file.keys.push_back(Alignment(4096));
                     file.tensors[1].offset = 96;
                   }),
                   "not aligned"});
  cases.push_back({"DataLaidOutForASmallerAlignment", Changed([](RawGguf& file) {
                     file.keys.push_back(Alignment(4096));
                     file.tensors[1].offset = 4096;
                   }),
                   "beyond the end"});
}

}  // namespace malformed

inline std::vector<MalformedGguf> MalformedGgufs() {
  std::vector<MalformedGguf> cases;
  malformed::AddHeaders(cases);
  malformed::AddKeys(cases);
  malformed::AddTensors(cases);
  return cases;
}

}  // namespace fedglm

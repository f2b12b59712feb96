#include "inference/import/import_checkpoint.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>

#include "base/json.h"
#include "gtest/gtest.h"
#include "inference/tokenizer/tokenizer.h"
#include "tests/inference/import/checkpoint_folder.h"
#include "tests/support/golden.h"
#include "tests/support/tiny_model.h"

namespace fedglm {
namespace {

absl::Status GoOn(int64_t, const std::string&) { return absl::OkStatus(); }

std::vector<float> Decoded(const GgufFile& file, const std::string& name) {
  const GgufTensor* const tensor = file.FindTensor(name);
  if (tensor == nullptr) return {};
  std::vector<float> values(static_cast<size_t>(tensor->rows() * tensor->columns()));
  for (int64_t r = 0; r < tensor->rows(); ++r) {
    DecodeRow(tensor->type, tensor->AsMatrix().Row(r), values.data() + r * tensor->columns(), tensor->columns());
  }
  return values;
}

class Import : public testing::Test {
 protected:
  void SetUp() override {
    folder_.emplace(*TemporaryDirectory::Make());
    checkpoint_ = folder_->path() / "my-model";
    out_ = folder_->path() / "out.gguf";
  }

  // A llama of 40 tokens.
  CheckpointFolder Llama() {
    TinyModel("llama").Write(folder_->path() / "tiny.gguf");
    const auto tiny = *GgufFile::Open(folder_->path() / "tiny.gguf");
    CheckpointFolder folder = CheckpointFolder::FromGguf(*tiny);
    Json vocabulary = Json::object();
    for (int i = 0; i < 26; ++i) vocabulary[std::string(1, static_cast<char>('a' + i))] = i;
    vocabulary["ab"] = 26;
    vocabulary["abc"] = 27;
    folder.tokenizer = {
        {"added_tokens",
         {{{"id", 28}, {"content", "<|begin_of_text|>"}, {"special", true}},
          {{"id", 29}, {"content", "<|end_of_text|>"}, {"special", true}},
          {{"id", 30}, {"content", "<tool>"}, {"special", false}}}},
        {"normalizer", nullptr},
        {"pre_tokenizer", Cl100kPretokenizer()},
        {"post_processor",
         {{"type", "TemplateProcessing"},
          {"single",
           {{{"SpecialToken", {{"id", "<|begin_of_text|>"}, {"type_id", 0}}}},
            {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}}}},
        {"model", {{"type", "BPE"}, {"ignore_merges", true}, {"vocab", vocabulary}, {"merges", {"a b", "ab c"}}}}};
    folder.tokenizer_config = {{"bos_token", "<|begin_of_text|>"},
                               {"eos_token", {{"content", "<|end_of_text|>"}}},
                               {"chat_template", "{{ messages }}"}};
    return folder;
  }

  absl::Status Run() { return ImportCheckpoint(checkpoint_, out_, {}, GoOn).status(); }

  void Refused(const CheckpointFolder& folder, const std::string& because, ExitCode code = ExitCode::kBadInputFile) {
    std::filesystem::remove_all(checkpoint_);
    folder.Write(checkpoint_);
    ExpectRefusal(because, code);
  }
  void ExpectRefusal(const std::string& because, ExitCode code = ExitCode::kBadInputFile) {
    const absl::Status status = Run();
    EXPECT_EQ(ExitCodeOf(status), code) << because << ": " << Message(status);
    EXPECT_NE(Message(status).find(because), std::string::npos) << because << ": " << Message(status);
    EXPECT_FALSE(std::filesystem::exists(out_));
    for (const auto& entry : std::filesystem::directory_iterator(folder_->path())) {
      EXPECT_EQ(entry.path().filename().string().find("out.gguf"), std::string::npos) << "half a file is left";
    }
  }

  std::optional<TemporaryDirectory> folder_;
  std::filesystem::path checkpoint_, out_;
};

TEST_F(Import, TheGoldenModelComesBackByteForByte) {
  GOLDEN_OR_SKIP(path, "golden/glm4-tiny-f32.gguf");
  const auto golden = *GgufFile::Open(path);
  CheckpointFolder folder = CheckpointFolder::FromGguf(*golden);
  folder.SetVocabulary(*golden, Cl100kPretokenizer());
  for (const int shards : {1, 3}) {
    std::filesystem::remove_all(checkpoint_);
    folder.Write(checkpoint_, shards);
    ASSERT_TRUE(Run().ok()) << Message(Run());
    const auto ours = *GgufFile::Open(out_);
    ASSERT_EQ(ours->tensors().size(), golden->tensors().size());
    for (const GgufTensor& tensor : golden->tensors()) {
      const GgufTensor* const imported = ours->FindTensor(tensor.name);
      ASSERT_NE(imported, nullptr) << tensor.name;
      EXPECT_EQ(imported->type, tensor.type) << tensor.name;
      EXPECT_EQ(imported->extent, tensor.extent) << tensor.name;
      EXPECT_EQ(imported->dimensions, tensor.dimensions) << tensor.name;
      EXPECT_TRUE(std::ranges::equal(imported->bytes, tensor.bytes)) << tensor.name;
    }
    // All that decides the numbers is a tensor or one of these.
    for (const char* key : {"general.architecture", "glm4.block_count", "glm4.context_length", "glm4.embedding_length",
                            "glm4.feed_forward_length", "glm4.attention.head_count", "glm4.attention.head_count_kv",
                            "glm4.attention.key_length", "glm4.attention.value_length", "glm4.rope.freq_base",
                            "glm4.attention.layer_norm_rms_epsilon", "glm4.rope.dimension_count", "glm4.vocab_size",
                            "tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.tokens",
                            "tokenizer.ggml.token_type", "tokenizer.ggml.merges", "tokenizer.ggml.eos_token_id"}) {
      EXPECT_TRUE(std::ranges::equal(ours->RawValue(key), golden->RawValue(key))) << key;
    }
    EXPECT_EQ(ours->StringOr("general.name", ""), "my-model");
    EXPECT_EQ(ours->IntegerOr("tokenizer.ggml.eot_token_id", -1), 510);  // <|user|>
    EXPECT_EQ(ours->FindArray("glm4.rope.dimension_sections"), nullptr);
    const auto tokenizer = *Tokenizer::FromGguf(*ours), expected = *Tokenizer::FromGguf(*golden);
    const std::string text = "The patient's blood pressure was 120/80 in 2024.\n\n  OK?";
    EXPECT_EQ(tokenizer->Encode(text, {.add_special = false}), expected->Encode(text, {.add_special = false}));
  }
}

// Written out here as llama.cpp's converter has it: reshape(heads, 2, size / 2, …).swapaxes(1, 2).
TEST_F(Import, LlamasQueriesAndKeysArePermuted) {
  const CheckpointFolder folder = Llama();
  folder.Write(checkpoint_);
  ASSERT_TRUE(Run().ok()) << Message(Run());
  const auto ours = *GgufFile::Open(out_);
  const int64_t half = TinyModel::kHeadSize / 2, columns = TinyModel::kHidden;
  const auto source = folder.tensors.at("model.layers.1.self_attn.k_proj.weight").values;
  const auto bias = folder.tensors.at("model.layers.1.self_attn.k_proj.bias").values;
  const auto imported = Decoded(*ours, "blk.1.attn_k.weight"), imported_bias = Decoded(*ours, "blk.1.attn_k.bias");
  ASSERT_EQ(imported.size(), source.size());
  for (int64_t head = 0; head < TinyModel::kKvHeads; ++head) {
    for (int64_t part = 0; part < 2; ++part) {
      for (int64_t i = 0; i < half; ++i) {
        const int64_t first = head * TinyModel::kHeadSize, from = first + part * half + i, to = first + 2 * i + part;
        for (int64_t c = 0; c < columns; ++c) {
          ASSERT_EQ(imported[static_cast<size_t>(to * columns + c)], source[static_cast<size_t>(from * columns + c)]);
        }
        ASSERT_EQ(imported_bias[static_cast<size_t>(to)], bias[static_cast<size_t>(from)]);
      }
    }
  }
  // So the whole is the model that the checkpoint was made of.
  const auto tiny = *GgufFile::Open(folder_->path() / "tiny.gguf");
  for (const GgufTensor& tensor : tiny->tensors()) {
    EXPECT_EQ(Decoded(*ours, tensor.name), Decoded(*tiny, tensor.name)) << tensor.name;
  }
  const auto h = *ReadHyperparameters(*ours), expected = *ReadHyperparameters(*tiny);
  EXPECT_EQ(h.rotary_base, expected.rotary_base);
  EXPECT_EQ(h.rms_epsilon, expected.rms_epsilon);
  EXPECT_EQ(h.rotary_size, expected.rotary_size);
}

TEST_F(Import, TheVocabularyIsReadWithItsKindsAndSpecialTokens) {
  CheckpointFolder folder = Llama();
  folder.generation_config = {{"eos_token_id", {29, 30}}};
  folder.Write(checkpoint_);
  ASSERT_TRUE(Run().ok()) << Message(Run());
  const auto ours = *GgufFile::Open(out_);
  EXPECT_EQ(ours->StringOr("tokenizer.ggml.pre", ""), "llama-bpe");
  const GgufArray& tokens = *ours->FindArray("tokenizer.ggml.tokens");
  const GgufArray& kinds = *ours->FindArray("tokenizer.ggml.token_type");
  ASSERT_EQ(tokens.strings.size(), static_cast<size_t>(TinyModel::kVocabulary));
  EXPECT_EQ(tokens.strings[27], "abc");
  EXPECT_EQ(tokens.strings[39], "[PAD39]");
  EXPECT_EQ(kinds.integers[0], 1);
  EXPECT_EQ(kinds.integers[28], 3);
  EXPECT_EQ(kinds.integers[30], 4);
  EXPECT_EQ(kinds.integers[39], 5);
  EXPECT_EQ(ours->IntegerOr("tokenizer.ggml.bos_token_id", -1), 28);
  EXPECT_EQ(ours->IntegerOr("tokenizer.ggml.eos_token_id", -1), 29);
  EXPECT_EQ(ours->IntegerOr("tokenizer.ggml.eot_token_id", -1), 30);
  EXPECT_TRUE(ours->BoolOr("tokenizer.ggml.add_bos_token", false));
  EXPECT_FALSE(ours->BoolOr("tokenizer.ggml.add_eos_token", true));
  EXPECT_EQ(ours->StringOr("tokenizer.chat_template", ""), "{{ messages }}");
  const auto tokenizer = *Tokenizer::FromGguf(*ours);
  EXPECT_EQ(tokenizer->Encode("abcab", {}), (std::vector<Token>{28, 27, 26}));

  folder.tokenizer_config["add_bos_token"] = false;  // what it says goes before the template
  folder.Write(checkpoint_);
  ASSERT_TRUE(Run().ok());
  EXPECT_FALSE((*GgufFile::Open(out_))->BoolOr("tokenizer.ggml.add_bos_token", true));
}

TEST_F(Import, PretokenizersAreNamedByTheirPatterns) {
  const auto byte_level = [](bool regex) {
    return Json{{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", regex}};
  };
  const auto name_of = [&](const Json& pre_tokenizer, bool ignore_merges) {
    CheckpointFolder folder = Llama();
    folder.tokenizer["pre_tokenizer"] = pre_tokenizer;
    folder.tokenizer["model"]["ignore_merges"] = ignore_merges;
    folder.Write(checkpoint_);
    const absl::Status status = Run();
    return status.ok() ? (*GgufFile::Open(out_))->StringOr("tokenizer.ggml.pre", "") : Message(status);
  };
  EXPECT_EQ(name_of(byte_level(true), false), "gpt-2");
  EXPECT_EQ(name_of({{"type", "Sequence"},
                     {"pretokenizers", {{{"type", "Digits"}, {"individual_digits", true}}, byte_level(true)}}},
                    false),
            "smollm");
  Json qwen = Cl100kPretokenizer();
  std::string regex = qwen["pretokenizers"][0]["pattern"]["Regex"];
  regex.replace(regex.find("{1,3}"), 5, "");
  qwen["pretokenizers"][0]["pattern"]["Regex"] = regex;
  EXPECT_EQ(name_of(qwen, false), "qwen2");
  EXPECT_EQ(name_of(Cl100kPretokenizer(), false), "dbrx");
  // DeepSeek V3's spells its characters and line breaks themselves.
  const auto split = [](const std::string& regex) {
    return Json{{"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", "Isolated"}, {"invert", false}};
  };
  const std::string words =
      "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"
      " ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+";
  EXPECT_EQ(name_of({{"type", "Sequence"},
                     {"pretokenizers",
                      {split(R"(\p{N}{1,3})"), split("[一-龥぀-ゟ゠-ヿ]+"), split(words), byte_level(false)}}},
                    false),
            "deepseek-v3");
}

TEST_F(Import, HalfPrecisionStaysAndTypesAreQuantizedOnTheWay) {
  CheckpointFolder folder = Llama();
  for (auto& [name, tensor] : folder.tensors) tensor.type = name == "lm_head.weight" ? "F16" : "BF16";
  folder.Write(checkpoint_);
  ASSERT_TRUE(Run().ok());
  const auto plain = *GgufFile::Open(out_);
  EXPECT_EQ(plain->FindTensor("blk.0.ffn_up.weight")->type, BlockType::kBF16);
  EXPECT_EQ(plain->FindTensor("output.weight")->type, BlockType::kF16);
  EXPECT_EQ(plain->FindTensor("output_norm.weight")->type, BlockType::kF32);
  EXPECT_EQ(plain->IntegerOr("general.file_type", -1), 32);

  // The same as the two commands one after the other.
  const QuantizationMix mix = *QuantizationMixFromName("Q4_K_M");
  const std::filesystem::path quantized = folder_->path() / "quantized.gguf", direct = folder_->path() / "direct.gguf";
  ASSERT_TRUE(QuantizeFile(*plain, quantized, {mix, nullptr, 2}, GoOn).ok());
  ASSERT_TRUE(ImportCheckpoint(checkpoint_, direct, {mix, 1}, GoOn).ok());
  const auto a = *GgufFile::Open(quantized), b = *GgufFile::Open(direct);
  for (const GgufTensor& tensor : a->tensors()) {
    const GgufTensor* const other = b->FindTensor(tensor.name);
    EXPECT_EQ(FactsOf(tensor.type).name, FactsOf(other->type).name) << tensor.name;
    EXPECT_TRUE(std::ranges::equal(tensor.bytes, other->bytes)) << tensor.name;
  }
  EXPECT_EQ(b->IntegerOr("general.file_type", -1), 15);
}

// glm4v: the text part is nested, its rotation in sections, its rows de-interleaved; the vision part is left out.
TEST_F(Import, TheTextPartOfAVisionModel) {
  TinyModel model("glm4");
  model.arrays["rope.dimension_sections"] = {1, 1, 0, 0};
  model.Write(folder_->path() / "tiny.gguf");
  const auto tiny = *GgufFile::Open(folder_->path() / "tiny.gguf");
  CheckpointFolder folder = CheckpointFolder::FromGguf(*tiny);
  folder.tokenizer = Llama().tokenizer;
  std::map<std::string, CheckpointFolder::Tensor> nested;
  for (auto& [name, tensor] : folder.tensors) {
    nested[name.rfind("model.", 0) == 0 ? "model.language_model." + name.substr(6) : name] = tensor;
  }
  nested["model.visual.patch_embed.proj.weight"] = {{2, 1, 1, 2, 2}, std::vector<float>(8, 1.0f)};
  folder.tensors = nested;
  Json text = folder.config;
  text["model_type"] = "glm4v_text";
  text["rope_scaling"] = {{"type", "default"}, {"mrope_section", {1, 1, 0}}};
  folder.config = {{"model_type", "glm4v"},
                   {"text_config", text},
                   {"vision_config", {{"depth", 24}}},
                   {"tie_word_embeddings", false}};
  folder.Write(checkpoint_);
  ASSERT_TRUE(Run().ok()) << Message(Run());
  const auto ours = *GgufFile::Open(out_);
  EXPECT_EQ(ours->FindArray("glm4.rope.dimension_sections")->integers, (std::vector<int64_t>{1, 1, 0, 0}));
  EXPECT_EQ(ReadHyperparameters(*ours)->rotary_layout, RotaryLayout::kNeox);
  EXPECT_EQ(ours->tensors().size(), tiny->tensors().size());
  for (const GgufTensor& tensor : tiny->tensors()) {
    EXPECT_EQ(Decoded(*ours, tensor.name), Decoded(*tiny, tensor.name)) << tensor.name;
  }
  // As llama.cpp's converter: of the rotary part the even rows first, then the odd ones, then the rest as it is.
  const auto source = nested.at("model.language_model.layers.0.self_attn.q_proj.weight").values;
  const auto imported = Decoded(*ours, "blk.0.attn_q.weight");
  const int64_t expected_row[TinyModel::kHeadSize] = {0, 2, 1, 3, 4, 5, 6, 7};
  for (int64_t head = 0; head < TinyModel::kHeads; ++head) {
    for (int64_t i = 0; i < TinyModel::kHeadSize; ++i) {
      const int64_t to = head * TinyModel::kHeadSize + i, from = head * TinyModel::kHeadSize + expected_row[i];
      EXPECT_EQ(imported[static_cast<size_t>(to * TinyModel::kHidden)],
                source[static_cast<size_t>(from * TinyModel::kHidden)]);
    }
  }
}

TEST_F(Import, Llama3sRotaryScalingBecomesDivisors) {
  CheckpointFolder folder = Llama();
  folder.config["rope_theta"] = 500000.0;
  folder.config["head_dim"] = TinyModel::kHeadSize;
  folder.config["rope_scaling"] = {{"rope_type", "llama3"},
                                   {"factor", 8.0},
                                   {"low_freq_factor", 1.0},
                                   {"high_freq_factor", 4.0},
                                   {"original_max_position_embeddings", 8192}};
  folder.Write(checkpoint_);
  ASSERT_TRUE(Run().ok()) << Message(Run());
  const std::vector<float> divisors = Decoded(**GgufFile::Open(out_), "rope_freqs.weight");
  ASSERT_EQ(divisors.size(), 4u);
  // Wavelengths 2π·500000^(i/4): 6.28 and 167 are far below 8192 / 4, 4443 is between, 118143 above 8192.
  EXPECT_EQ(divisors[0], 1.0f);
  EXPECT_EQ(divisors[1], 1.0f);
  const double smooth = (8192.0 / (2 * M_PI * std::sqrt(500000.0)) - 1.0) / 3.0;
  EXPECT_NEAR(divisors[2], 1.0 / ((1.0 - smooth) / 8.0 + smooth), 1e-5);
  EXPECT_EQ(divisors[3], 8.0f);
}

TEST_F(Import, TiedEmbeddings) {
  CheckpointFolder folder = Llama();
  folder.config["tie_word_embeddings"] = true;
  folder.Write(checkpoint_);
  ASSERT_TRUE(Run().ok()) << Message(Run());
  EXPECT_EQ((*GgufFile::Open(out_))->FindTensor("output.weight"), nullptr);
}

TEST_F(Import, ContradictionsInTheConfigurationAreRefused) {
  const struct {
    const char* key;
    Json value;
    const char* because;
  } kWrong[] = {{"model_type", "mamba", "'mamba'"},
                {"model_type", nullptr, "model_type"},
                {"hidden_size", "32", "hidden_size"},
                {"hidden_size", -1, "hidden_size"},
                {"hidden_size", 64, "expected"},
                {"num_hidden_layers", 3, "model.layers.2"},
                {"num_hidden_layers", 1, "model.layers.1"},
                {"num_hidden_layers", uint64_t{1} << 63, "num_hidden_layers"},
                {"num_key_value_heads", 3, "K/V heads"},
                {"vocab_size", 39, "expected 39 x 32"},
                {"vocab_size", 20, "no id below 20"},
                {"hidden_act", "gelu", "hidden_act"},
                {"use_sliding_window", true, "sliding window"},
                {"layer_types", Json::array({"full_attention", "sliding_attention"}), "sliding window"},
                {"rope_scaling", Json{{"type", "yarn"}}, "'yarn'"},
                {"rope_scaling", Json{{"type", "linear"}, {"factor", 0}}, "factor"},
                {"partial_rotary_factor", 0.01, "partial_rotary_factor"}};
  for (const auto& [key, value, because] : kWrong) {
    CheckpointFolder folder = Llama();
    folder.config[key] = value;
    Refused(folder, because);
  }
}

TEST_F(Import, TensorsThatDoNotFitAreRefused) {
  CheckpointFolder folder = Llama();
  folder.tensors.erase("model.layers.1.mlp.up_proj.weight");
  Refused(folder, "'model.layers.1.mlp.up_proj.weight' is missing");
  folder = Llama();
  folder.tensors["model.layers.0.self_attn.q_norm.weight"] = {{8}, std::vector<float>(8, 1.0f)};
  Refused(folder, "q_norm.weight' is none");
  folder = Llama();
  folder.tensors["model.norm.weight"].shape = {1, 32};
  Refused(folder, "expected 32");
  folder = Llama();
  folder.tensors["model.layers.0.mlp.down_proj.weight"].values[5] = INFINITY;
  Refused(folder, "blk.0.ffn_down.weight: a weight is not finite");
}

TEST_F(Import, VocabulariesThatContradictThemselvesAreRefused) {
  const auto with = [&](const std::function<void(Json&)>& change) {
    CheckpointFolder folder = Llama();
    change(folder.tokenizer);
    return folder;
  };
  Refused(with([](Json& t) { t["model"]["vocab"]["zz"] = 3; }), "id 3 is there twice");
  Refused(with([](Json& t) { t["model"]["vocab"]["zz"] = 40; }), "no id below 40");
  Refused(with([](Json& t) { t["model"]["vocab"]["zz"] = -1; }), "no id below 40");
  Refused(with([](Json& t) { t["model"]["merges"].push_back("q"); }), "merge 2 is not a pair");
  Refused(with([](Json& t) { t["model"]["merges"].push_back("Q a"); }), "merge 2 joins what is no token");
  Refused(with([](Json& t) { t["model"]["merges"] = 3; }), "merges");
  Refused(with([](Json& t) { t["model"]["type"] = "WordPiece"; }), "'WordPiece'");
  Refused(with([](Json& t) { t["model"]["byte_fallback"] = true; }), "SentencePiece");
  Refused(with([](Json& t) { t["normalizer"] = {{"type", "Lowercase"}}; }), "'Lowercase'");
  Refused(with([](Json& t) { t["pre_tokenizer"] = nullptr; }), "pre_tokenizer");
  Refused(with([](Json& t) { t["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "x+"; }), "no pre-tokenizer");
  Refused(with([](Json& t) { t["added_tokens"][0]["id"] = 29; }), "twice");
}

TEST_F(Import, FoldersThatLackFilesOrHoldBrokenOnesAreRefused) {
  for (const char* file : {"config.json", "tokenizer.json", "model.safetensors"}) {
    Llama().Write(checkpoint_);
    const std::string whole = *ReadFile(checkpoint_ / file);
    for (const size_t bytes : {whole.size() - 1, whole.size() / 2, size_t{3}, size_t{0}}) {
      ASSERT_TRUE(WriteFileAtomically(checkpoint_ / file, whole.substr(0, bytes)).ok());
      ExpectRefusal(file);
    }
    std::filesystem::remove(checkpoint_ / file);
    ExpectRefusal(file);
  }
}

TEST_F(Import, IndexesThatLieAreRefused) {
  const std::filesystem::path index = checkpoint_ / "model.safetensors.index.json";
  const auto with = [&](const std::function<void(Json&)>& change) {
    std::filesystem::remove_all(checkpoint_);
    Llama().Write(checkpoint_, 2);
    Json json = *ParseJson(*ReadFile(index), "index");
    change(json["weight_map"]);
    ASSERT_TRUE(WriteFileAtomically(index, DumpJson(json)).ok());
  };
  with([](Json& map) { map["lm_head.weight"] = "../outside.safetensors"; });
  ExpectRefusal("no plain file name");
  with([](Json& map) { map["lm_head.weight"] = "model-00009-of-00002.safetensors"; });
  ExpectRefusal("model-00009");
  with([](Json& map) { map["made.up"] = "model-00001-of-00002.safetensors"; });
  ExpectRefusal("other tensors than it names");
  with([](Json& map) { map = 3; });
  ExpectRefusal("weight_map");
}

TEST_F(Import, HeadersThatLieAreRefused) {
  const auto with = [&](const std::function<void(Json&)>& change) {
    Llama().Write(checkpoint_);
    const std::string whole = *ReadFile(checkpoint_ / "model.safetensors");
    uint64_t old_size;
    std::memcpy(&old_size, whole.data(), sizeof(old_size));
    Json header = *ParseJson(whole.substr(8, old_size), "header");
    change(header);
    const std::string text = DumpJson(header);
    const uint64_t size = text.size();
    const std::string changed =
        std::string(reinterpret_cast<const char*>(&size), sizeof(size)) + text + whole.substr(8 + old_size);
    ASSERT_TRUE(WriteFileAtomically(checkpoint_ / "model.safetensors", changed).ok());
  };
  const char* const kName = "model.norm.weight";
  with([&](Json& h) { h[kName]["data_offsets"] = {0, uint64_t{1} << 62}; });
  ExpectRefusal("outside the file");
  with([&](Json& h) { h[kName]["shape"] = {uint64_t{1} << 39, uint64_t{1} << 39}; });
  ExpectRefusal("do not agree");
  with([&](Json& h) { h[kName]["shape"] = {-32}; });
  ExpectRefusal("impossible");
  with([&](Json& h) { h[kName]["dtype"] = "F4"; });
  ExpectRefusal("'F4'");
  with([&](Json& h) { h[kName]["data_offsets"] = h["lm_head.weight"]["data_offsets"]; });
  ExpectRefusal("do not agree");
  with([&](Json& h) { h["twin"] = h[kName]; });
  ExpectRefusal("overlap");
  with([&](Json& h) { h.erase(kName); });
  ExpectRefusal("belong to no tensor");
  with([&](Json& h) { h = Json::array(); });
  ExpectRefusal("no JSON object");
}

TEST_F(Import, StoppedHalfwayItLeavesNothing) {
  Llama().Write(checkpoint_);
  const auto stop = [](int64_t done, const std::string&) {
    return done < 3 ? absl::OkStatus() : CancelledError("stopped");
  };
  EXPECT_EQ(ImportCheckpoint(checkpoint_, out_, {}, stop).status().code(), absl::StatusCode::kCancelled);
  EXPECT_FALSE(std::filesystem::exists(out_));
}

}  // namespace
}  // namespace fedglm

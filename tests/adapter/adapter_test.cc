#include "adapter/adapter.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <functional>
#include <limits>
#include <thread>

#include "adapter/safetensors.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"
#include "tests/adapter/sample_adapter.h"
#include "tests/support/golden.h"

namespace fedglm {
namespace {

namespace fs = std::filesystem;

const char kQuery[] = "model.layers.0.self_attn.q_proj";

std::string BytesOf(const Matrix& matrix) {
  return std::string(reinterpret_cast<const char*>(matrix.values.data()), matrix.values.size() * sizeof(float));
}

class AdapterFolder : public testing::Test {
 protected:
  void SaveSampleOnce() {
    if (fs::exists(path_)) return;
    EXPECT_TRUE(SaveAdapter(SampleAdapter(), path_).ok());
  }
  // Changes adapter_config.json of the saved sample and loads it.
  absl::StatusOr<Adapter> LoadWithConfig(const std::function<void(Json&)>& change) {
    SaveSampleOnce();
    Json config = *ParseJson(*ReadFile(path_ / "adapter_config.json"), "config");
    const std::string before = DumpJson(config);
    change(config);
    EXPECT_TRUE(WriteFileAtomically(path_ / "adapter_config.json", DumpJson(config)).ok());
    absl::StatusOr<Adapter> adapter = LoadAdapter(path_);
    EXPECT_TRUE(WriteFileAtomically(path_ / "adapter_config.json", before).ok());
    return adapter;
  }
  absl::StatusOr<Adapter> LoadWithTensors(const std::map<std::string, Matrix>& tensors) {
    SaveSampleOnce();
    EXPECT_TRUE(WriteFileAtomically(path_ / "adapter_model.safetensors", SerializeSafetensors(tensors, {})).ok());
    return LoadAdapter(path_);
  }
  static std::map<std::string, Matrix> SampleTensors() {
    std::map<std::string, Matrix> tensors;
    for (const auto& [module, pair] : SampleAdapter().modules) {
      tensors["base_model.model." + module + ".lora_A.weight"] = pair.a;
      tensors["base_model.model." + module + ".lora_B.weight"] = pair.b;
    }
    return tensors;
  }
  std::ptrdiff_t Entries() const {
    return std::distance(fs::directory_iterator(folder_.path()), fs::directory_iterator());
  }
  static void ExpectBad(const absl::Status& status, const std::string& part) {
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kBadInputFile);
    EXPECT_NE(Message(status).find(part), std::string::npos) << Message(status);
  }

  TemporaryDirectory folder_ = *TemporaryDirectory::Make("fedglm-adapter-test");
  fs::path path_ = folder_.path() / "adapter";
};

TEST_F(AdapterFolder, WhatIsSavedIsLoaded) {
  Adapter adapter = SampleAdapter();
  adapter.provenance = SampleProvenance();
  ASSERT_TRUE(SaveAdapter(adapter, path_).ok());
  const absl::StatusOr<Adapter> loaded = LoadAdapter(path_);
  ASSERT_TRUE(loaded.ok()) << Message(loaded.status());
  EXPECT_EQ(loaded->config, adapter.config);
  EXPECT_EQ(loaded->modules, adapter.modules);
  ASSERT_TRUE(loaded->provenance.has_value());
  adapter.provenance->weights_sha256 = *Sha256HexOfFile(path_ / "adapter_model.safetensors");
  EXPECT_EQ(*loaded->provenance, *adapter.provenance);
  EXPECT_EQ(WeightsSha256(adapter), adapter.provenance->weights_sha256);
}

TEST_F(AdapterFolder, IsInPeftsLayout) {
  ASSERT_TRUE(SaveAdapter(SampleAdapter(), path_ / "").ok()) << "a name that ends in a slash";
  const Json config = *ParseJson(*ReadFile(path_ / "adapter_config.json"), "config");
  const Json expected = {{"peft_type", "LORA"},
                         {"task_type", "CAUSAL_LM"},
                         {"base_model_name_or_path", "glm4-tiny"},
                         {"r", 2},
                         {"lora_alpha", 4.5},
                         {"use_rslora", false},
                         {"lora_dropout", 0.0},
                         {"bias", "none"},
                         {"fan_in_fan_out", false},
                         {"inference_mode", true},
                         {"target_modules", {"down_proj", "q_proj"}}};
  EXPECT_EQ(config, expected);
  const auto file = ParseSafetensors(*ReadFile(path_ / "adapter_model.safetensors"), "weights");
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(file->tensors, SampleTensors());
  EXPECT_EQ(file->metadata, (std::map<std::string, std::string>{{"format", "pt"}}));
  EXPECT_FALSE(fs::exists(path_ / "provenance.json")) << "none was given";
}

TEST_F(AdapterFolder, SavingReplacesAnAdapterWhole) {
  Adapter adapter = SampleAdapter();
  adapter.provenance = SampleProvenance();
  ASSERT_TRUE(SaveAdapter(adapter, path_).ok());
  adapter.provenance.reset();
  adapter.modules.erase(kQuery);
  adapter.config.target_modules = {"down_proj"};
  ASSERT_TRUE(SaveAdapter(adapter, path_).ok());
  const absl::StatusOr<Adapter> loaded = LoadAdapter(path_);
  ASSERT_TRUE(loaded.ok()) << Message(loaded.status());
  EXPECT_EQ(loaded->modules, adapter.modules);
  EXPECT_FALSE(loaded->provenance.has_value()) << "the old provenance stayed";
  EXPECT_EQ(Entries(), 1) << "something is left over";
}

// A node that loads an adapter while the next one takes its place.
TEST_F(AdapterFolder, IsReadWholeWhileItIsReplaced) {
  const Adapter one = SampleAdapter();
  Adapter other = one;
  other.modules.begin()->second.b.values[0] += 1;
  other.provenance = Provenance{std::string(64, 'b')};
  ASSERT_TRUE(SaveAdapter(one, path_).ok());
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    for (bool turn = false; !stop; turn = !turn) EXPECT_TRUE(SaveAdapter(turn ? one : other, path_).ok());
  });
  for (int read = 0; read < 300; ++read) {
    const absl::StatusOr<Adapter> adapter = LoadAdapter(path_);
    EXPECT_TRUE(adapter.ok()) << Message(adapter.status());
    if (!adapter.ok()) continue;
    EXPECT_EQ(adapter->provenance.has_value(), WeightsSha256(*adapter) == WeightsSha256(other));
  }
  stop = true;
  writer.join();
}

TEST_F(AdapterFolder, SavingReplacesNothingElse) {
  ASSERT_TRUE(MakeDirectories(path_).ok());
  EXPECT_TRUE(SaveAdapter(SampleAdapter(), path_).ok()) << "an empty folder is no loss";
  const fs::path home = folder_.path() / "home", file = folder_.path() / "file", empty = folder_.path() / "empty";
  ASSERT_TRUE(MakeDirectories(home / "documents").ok());
  ASSERT_TRUE(WriteFileAtomically(file, "precious").ok());
  ASSERT_TRUE(WriteFileAtomically(empty, "").ok());
  for (const fs::path& path : {home, file, empty}) {
    EXPECT_EQ(ExitCodeOf(SaveAdapter(SampleAdapter(), path)), ExitCode::kFailed);
  }
  EXPECT_TRUE(fs::is_directory(home / "documents"));
  EXPECT_EQ(*ReadFile(file), "precious");
  EXPECT_TRUE(fs::is_regular_file(empty));
  EXPECT_EQ(Entries(), 4) << "something is left over";
}

TEST_F(AdapterFolder, TheGoldenAdapterIsReadAsPythonReadsIt) {
  GOLDEN_OR_SKIP(golden, "golden/glm4-tiny-lora");
  const absl::StatusOr<Adapter> adapter = LoadAdapter(golden);
  ASSERT_TRUE(adapter.ok()) << Message(adapter.status());
  EXPECT_EQ(adapter->config.rank, 4);
  EXPECT_EQ(adapter->config.alpha, 8.0);
  EXPECT_EQ(adapter->config.scale(), 2.0);
  EXPECT_EQ(adapter->config.base_model, "glm4-tiny");
  EXPECT_EQ(adapter->config.target_modules,
            (std::vector<std::string>{"down_proj", "gate_up_proj", "k_proj", "o_proj", "q_proj", "v_proj"}));
  ASSERT_EQ(adapter->modules.size(), 12u);
  EXPECT_FALSE(adapter->provenance.has_value());
  // From the file with Python's struct and hashlib.
  const Matrix& b = adapter->modules.at("model.layers.1.mlp.down_proj").b;
  EXPECT_EQ(b.rows, 256);
  EXPECT_EQ(b.columns, 4);
  EXPECT_EQ(b.values[1], -0.1686514914035797f);
  EXPECT_EQ(Sha256Hex(BytesOf(b)), "6954c6ef1cc6f50bc5c2cbb692a28e20ef8e45fb6f2005193db6a1ddc4b4c11d");
  const Matrix& a = adapter->modules.at("model.layers.0.self_attn.k_proj").a;
  EXPECT_EQ(a.rows, 4);
  EXPECT_EQ(a.columns, 256);
  EXPECT_EQ(Sha256Hex(BytesOf(a)), "44c74c9063d30d37038235b79817844a61d83041ca79317d646ea0baf08fdcea");

  ASSERT_TRUE(SaveAdapter(*adapter, path_).ok());
  const absl::StatusOr<Adapter> again = LoadAdapter(path_);
  ASSERT_TRUE(again.ok()) << Message(again.status());
  EXPECT_EQ(again->modules, adapter->modules);
  EXPECT_EQ(again->config, adapter->config);
}

TEST_F(AdapterFolder, NamesOfOlderPeftsAreUnderstood) {
  std::map<std::string, Matrix> tensors;
  for (const auto& [module, pair] : SampleAdapter().modules) {
    tensors["base_model.model." + module + ".lora_A.default.weight"] = pair.a;
    tensors[module + ".lora_B.weight"] = pair.b;  // without the wrapper's prefix
  }
  const absl::StatusOr<Adapter> adapter = LoadWithTensors(tensors);
  ASSERT_TRUE(adapter.ok()) << Message(adapter.status());
  EXPECT_EQ(adapter->modules, SampleAdapter().modules);
}

TEST_F(AdapterFolder, TheModulesSayWhichLayersAreAdapted) {
  for (const Json& targets : {Json("all-linear"), Json(), Json::array({"q_proj"})}) {
    const absl::StatusOr<Adapter> adapter = LoadWithConfig([&](Json& config) { config["target_modules"] = targets; });
    ASSERT_TRUE(adapter.ok()) << Message(adapter.status());
    EXPECT_EQ(adapter->config.target_modules, (std::vector<std::string>{"down_proj", "q_proj"}));
  }
}

TEST_F(AdapterFolder, ConfigurationDefaultsArePefts) {
  const absl::StatusOr<Adapter> adapter = LoadWithConfig([](Json& config) {
    config = {{"r", 2}, {"use_rslora", true}};
  });
  ASSERT_TRUE(adapter.ok()) << Message(adapter.status());
  EXPECT_EQ(adapter->config.rank, 2);
  EXPECT_EQ(adapter->config.alpha, 2.0);
  EXPECT_NEAR(adapter->config.scale(), std::sqrt(2.0), 1e-12);
  EXPECT_EQ(adapter->config.base_model, "");
}

TEST_F(AdapterFolder, OptionsThatChangeTheArithmeticAreRefused) {
  const std::pair<const char*, Json> options[] = {
      {"peft_type", "LOHA"},
      {"bias", "lora_only"},
      {"use_dora", true},
      {"fan_in_fan_out", true},
      {"rank_pattern", {{"q_proj", 8}}},
      {"alpha_pattern", {{"q_proj", 8}}},
      {"modules_to_save", Json::array({"lm_head"})},
      {"lora_bias", true},
      {"layer_replication", Json::array({Json::array({0, 4})})},
      {"alora_invocation_tokens", Json::array({1, 2})},
      {"init_lora_weights", "pissa_niter_16"},
      {"init_lora_weights", "loftq"},
  };
  for (const auto& [key, value] : options) {
    const absl::StatusOr<Adapter> adapter =
        LoadWithConfig([&key = key, &value = value](Json& config) { config[key] = value; });
    EXPECT_FALSE(adapter.ok()) << key;
    EXPECT_EQ(ExitCodeOf(adapter.status()), ExitCode::kBadInputFile) << key;
    EXPECT_NE(Message(adapter.status()).find("adapter_config.json"), std::string::npos) << Message(adapter.status());
  }
}

TEST_F(AdapterFolder, OptionsThatAreOffAreAccepted) {
  const absl::StatusOr<Adapter> adapter = LoadWithConfig([](Json& config) {
    for (const char* key : {"use_dora", "lora_bias", "use_qalora"}) config[key] = false;
    for (const char* key : {"modules_to_save", "layer_replication", "arrow_config", "alora_invocation_tokens"}) {
      config[key] = nullptr;
    }
    for (const char* key : {"rank_pattern", "alpha_pattern", "loftq_config"}) config[key] = Json::object();
    config["init_lora_weights"] = true;
    config["revision"] = "main";
  });
  EXPECT_TRUE(adapter.ok()) << Message(adapter.status());
  EXPECT_TRUE(LoadWithConfig([](Json& config) { config["init_lora_weights"] = "gaussian"; }).ok());
}

TEST_F(AdapterFolder, BadConfigurationsAreRefused) {
  const std::pair<const char*, Json> values[] = {{"r", 0},
                                                 {"r", -2},
                                                 {"r", 5000},
                                                 {"r", "2"},
                                                 {"r", nullptr},
                                                 {"r", 3 /* the factors have two */},
                                                 {"lora_alpha", "16"},
                                                 {"use_rslora", 1},
                                                 {"target_modules", 7},
                                                 {"target_modules", Json::array({1})}};
  for (const auto& [key, value] : values) {
    const absl::StatusOr<Adapter> adapter =
        LoadWithConfig([&key = key, &value = value](Json& config) { config[key] = value; });
    EXPECT_EQ(ExitCodeOf(adapter.status()), ExitCode::kBadInputFile) << key << " " << value;
  }
  EXPECT_FALSE(LoadWithConfig([](Json& config) { config = Json::array(); }).ok());
}

TEST_F(AdapterFolder, MissingPartsAreToldByName) {
  ExpectBad(LoadAdapter(path_).status(), "no adapter there");
  EXPECT_EQ(LoadAdapter(path_).status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(SaveAdapter(SampleAdapter(), path_).ok());
  fs::remove(path_ / "adapter_model.safetensors");
  ExpectBad(LoadAdapter(path_).status(), "adapter_model.safetensors: No such file");
  ASSERT_TRUE(WriteFileAtomically(path_ / "adapter_config.json", "{\"r\": 2").ok());
  ExpectBad(LoadAdapter(path_).status(), "adapter_config.json: ");
}

TEST_F(AdapterFolder, FactorsThatDoNotBelongTogetherAreRefused) {
  const std::string query = std::string("base_model.model.") + kQuery;
  auto tensors = SampleTensors();
  tensors.erase(query + ".lora_B.weight");
  ExpectBad(LoadWithTensors(tensors).status(), kQuery);

  tensors = SampleTensors();
  tensors[query + ".lora_A.weight"] = Matrix::Zero(3, 3);
  ExpectBad(LoadWithTensors(tensors).status(), "two factors of rank 2");

  tensors = SampleTensors();
  tensors[std::string(kQuery) + ".lora_A.weight"] = Matrix::Zero(2, 3);
  ExpectBad(LoadWithTensors(tensors).status(), "is there twice");

  tensors = SampleTensors();
  tensors["base_model.model.lm_head.weight"] = Matrix::Zero(2, 2);
  ExpectBad(LoadWithTensors(tensors).status(), "'base_model.model.lm_head.weight' is no factor of a LoRA");

  ExpectBad(LoadWithTensors({}).status(), "no LoRA modules");

  for (const float value : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    tensors = SampleTensors();
    tensors[query + ".lora_A.weight"].values[4] = value;
    ExpectBad(LoadWithTensors(tensors).status(), "module '" + std::string(kQuery) + "' has a value that is not finite");
  }
}

TEST_F(AdapterFolder, WeightsThatTheProvenanceDoesNotDescribeAreRefused) {
  Adapter adapter = SampleAdapter();
  adapter.provenance = SampleProvenance();
  ASSERT_TRUE(SaveAdapter(adapter, path_).ok());
  adapter.modules[kQuery].b.values[0] += 1;
  ASSERT_TRUE(SaveAdapter(adapter, folder_.path() / "other").ok());
  fs::copy_file(folder_.path() / "other" / "adapter_model.safetensors", path_ / "adapter_model.safetensors",
                fs::copy_options::overwrite_existing);
  ExpectBad(LoadAdapter(path_).status(), "is not the file that provenance.json describes");
}

TEST_F(AdapterFolder, BadProvenanceIsRefused) {
  ASSERT_TRUE(SaveAdapter(SampleAdapter(), path_).ok());
  for (const char* text : {"", "[]", "{}", R"({"version":2})", R"({"version":"1"})", R"({"version":1,"round":"7"})",
                           R"({"version":1,"contributors":"x"})", R"({"version":1,"contributors":[1]})",
                           R"({"version":1,"base_sha256":"a\nround 7"})", R"({"version":1,"weights_sha256":"a b"})"}) {
    ASSERT_TRUE(WriteFileAtomically(path_ / "provenance.json", text).ok());
    ExpectBad(LoadAdapter(path_).status(), "provenance.json");
  }
  ASSERT_TRUE(WriteFileAtomically(path_ / "provenance.json", R"({"version":1})").ok());
  const absl::StatusOr<Adapter> adapter = LoadAdapter(path_);
  ASSERT_TRUE(adapter.ok()) << Message(adapter.status());
  EXPECT_EQ(*adapter->provenance, Provenance());
}

TEST(AdapterBytes, ComeBackAndAreTheSameForTheSameAdapter) {
  Adapter adapter = SampleAdapter();
  for (const bool with_provenance : {false, true}) {
    if (with_provenance) adapter.provenance = SampleProvenance();
    const std::string bytes = SerializeAdapter(adapter);
    EXPECT_EQ(SerializeAdapter(adapter), bytes);
    const absl::StatusOr<Adapter> parsed = ParseAdapter(bytes);
    ASSERT_TRUE(parsed.ok()) << Message(parsed.status());
    EXPECT_EQ(parsed->config, adapter.config);
    EXPECT_EQ(parsed->modules, adapter.modules);
    EXPECT_EQ(parsed->provenance, adapter.provenance);
    EXPECT_EQ(SerializeAdapter(*parsed), bytes);
  }
  Adapter other = adapter;
  other.modules[kQuery].b.values[7] = std::nextafter(other.modules[kQuery].b.values[7], 1e9f);
  EXPECT_NE(SerializeAdapter(other), SerializeAdapter(adapter));
  EXPECT_NE(WeightsSha256(other), WeightsSha256(adapter));
}

TEST(AdapterBytes, TheDigestOfTheWeightsIsOfTheWeightsOnly) {
  Adapter other = SampleAdapter();
  other.config.alpha = 99;
  other.provenance = SampleProvenance();
  EXPECT_EQ(WeightsSha256(other), WeightsSha256(SampleAdapter()));
}

TEST(AdapterBytes, MalformedOnesAreRefused) {
  Adapter adapter = SampleAdapter();
  adapter.provenance = SampleProvenance();
  const std::string bytes = SerializeAdapter(adapter);
  for (size_t size = 0; size < bytes.size(); size += 5) {
    const absl::StatusOr<Adapter> parsed = ParseAdapter(std::string_view(bytes).substr(0, size));
    ASSERT_EQ(ExitCodeOf(parsed.status()), ExitCode::kBadInputFile) << size;
  }
  const std::map<std::string, Matrix> tensors = ParseSafetensors(bytes, "adapter")->tensors;
  const auto with = [&](const std::map<std::string, std::string>& metadata) {
    return ExitCodeOf(ParseAdapter(SerializeSafetensors(tensors, metadata)).status());
  };
  EXPECT_EQ(with({{"fedglm.config", R"({"r":2})"}}), ExitCode::kDone);
  EXPECT_EQ(with({}), ExitCode::kBadInputFile);
  EXPECT_EQ(with({{"fedglm.config", "{"}}), ExitCode::kBadInputFile);
  EXPECT_EQ(with({{"fedglm.config", R"({"r":3})"}}), ExitCode::kBadInputFile);
  EXPECT_EQ(with({{"fedglm.config", R"({"r":2,"use_dora":true})"}}), ExitCode::kBadInputFile);
  EXPECT_EQ(with({{"fedglm.config", R"({"r":2})"}, {"fedglm.provenance", "7"}}), ExitCode::kBadInputFile);
  adapter.modules[kQuery].a.values[0] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(ExitCodeOf(ParseAdapter(SerializeAdapter(adapter)).status()), ExitCode::kBadInputFile);
}

TEST(AdapterConfig, ScaleIsAlphaOverRankOrOverItsRoot) {
  AdapterConfig config;
  config.rank = 16;
  config.alpha = 8;
  EXPECT_EQ(config.scale(), 0.5);
  config.use_rslora = true;
  EXPECT_EQ(config.scale(), 2.0);
}

TEST(CheckBase, RefusesAnotherBaseOnly) {
  Adapter adapter = SampleAdapter();
  const std::string base(64, 'a'), other(64, 'b');
  EXPECT_TRUE(CheckBase(adapter, base).ok()) << "it does not say whose it is";
  adapter.provenance = SampleProvenance();
  EXPECT_TRUE(CheckBase(adapter, base).ok());
  EXPECT_TRUE(CheckBase(adapter, "").ok()) << "the base is not known";
  const absl::Status status = CheckBase(adapter, other);
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kBadInputFile);
  EXPECT_NE(Message(status).find("another base"), std::string::npos);
  EXPECT_NE(Message(status).find("aaaaaaaaaaaa"), std::string::npos);
  EXPECT_NE(Message(status).find("bbbbbbbbbbbb"), std::string::npos);
  adapter.provenance->base_sha256.clear();
  EXPECT_TRUE(CheckBase(adapter, other).ok());
}

}  // namespace
}  // namespace fedglm

// Writes the seeds of the binary formats into a corpus folder: fuzz_seeds tests/fuzz/corpus. The texts among the seeds
// are written by hand, and regression-* is what was found.
#include <cstdio>
#include <filesystem>
#include <string>

#include "adapter/adapter.h"
#include "adapter/tensors.h"
#include "adapter/training_job.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"
#include "base/tls.h"
#include "fedglm/v1/enrolment.pb.h"
#include "fedglm/v1/federation.pb.h"
#include "inference/tokenizer/byte_encoding.h"
#include "tests/support/malformed_gguf.h"
#include "tests/support/tiny_model.h"

namespace fedglm {
namespace {

using namespace gguf_format;

std::filesystem::path corpus;

void Write(const std::string& target, const std::string& name, const std::string& bytes) {
  const std::filesystem::path folder = corpus / target;
  absl::Status status = MakeDirectories(folder);
  if (status.ok()) status = WriteFileAtomically(folder / name, bytes);
  if (!status.ok()) std::fprintf(stderr, "fuzz_seeds: %s\n", Message(status).c_str());
}

RawKey Texts(std::string key, const std::vector<std::string>& texts) {
  std::string elements;
  for (const std::string& text : texts) elements += GgufString(text);
  return ArrayKey(std::move(key), kString, texts.size(), std::move(elements));
}

void WriteVocabularies() {
  std::vector<std::string> tokens, pieces = {"<unk>", "<s>", "</s>", "▁", "a", "b", "▁a", "<0x0A>"};
  std::string types, piece_types, scores;
  for (int byte = 0; byte < 256; ++byte) tokens.push_back(ByteCharacter(static_cast<unsigned char>(byte)));
  for (const char* text : {"ab", "abc", "<|user|>", "<|assistant|>", "[gMASK]", "<sop>", "<|endoftext|>"}) {
    tokens.push_back(text);
  }
  for (size_t i = 0; i < tokens.size(); ++i) types += LittleEndian(i < 258 ? 1 : 3, 4);
  for (size_t i = 0; i < pieces.size(); ++i) {
    piece_types += LittleEndian(i == 0 ? 2 : i < 3 ? 3 : i == 7 ? 6 : 1, 4);
    scores += LittleEndian(0xbf800000 + (i << 16), 4);
  }
  RawGguf bpe, sentencepiece;
  bpe.keys = {{"tokenizer.ggml.model", kString, GgufString("gpt2")},
              {"tokenizer.ggml.pre", kString, GgufString("glm4")},
              Texts("tokenizer.ggml.tokens", tokens),
              ArrayKey("tokenizer.ggml.token_type", kInt32, tokens.size(), types),
              Texts("tokenizer.ggml.merges", {"a b", "ab c"}),
              {"tokenizer.ggml.eos_token_id", kUint32, LittleEndian(262, 4)},
              {"tokenizer.chat_template", kString, GgufString("[gMASK]<sop>{% for m in messages %}<|user|>")}};
  sentencepiece.keys = {{"tokenizer.ggml.model", kString, GgufString("llama")},
                        Texts("tokenizer.ggml.tokens", pieces),
                        ArrayKey("tokenizer.ggml.token_type", kInt32, pieces.size(), piece_types),
                        ArrayKey("tokenizer.ggml.scores", kFloat32, pieces.size(), scores),
                        {"tokenizer.ggml.add_space_prefix", kBool, "\1"}};
  Write("gguf", "vocabulary-bytes", bpe.Bytes());
  Write("gguf", "vocabulary-sentencepiece", sentencepiece.Bytes());
}

void WriteModels() {
  for (const char* kind : {"glm4", "llama"}) {
    TinyModel model(kind, 1);
    model.texts = {{"general.name", "tiny"}, {"tokenizer.ggml.model", "gpt2"}, {"tokenizer.ggml.pre", "glm4"}};
    model.lists = {{"tokenizer.ggml.tokens", {"a", "b", "ab", "<|user|>"}}, {"tokenizer.ggml.merges", {"a b"}}};
    if (std::string(kind) == "glm4") model.arrays["rope.dimension_sections"] = {1, 1, 0};
    model.Write(corpus / "gguf" / (std::string("model-") + kind));
  }
}

void WriteGguf() {
  Write("gguf", "empty", RawGguf{}.Bytes());
  Write("gguf", "two-tensors", malformed::Good().Bytes());
  RawGguf values;
  const std::pair<uint32_t, int> sizes[] = {{kUint8, 1},  {kInt8, 1},    {kBool, 1},   {kUint16, 2},
                                            {kInt16, 2},  {kUint32, 4},  {kInt32, 4},  {kInt64, 8},
                                            {kUint64, 8}, {kFloat32, 4}, {kFloat64, 8}};
  for (const auto& [type, bytes] : sizes) {
    const std::string name = std::to_string(type), one = LittleEndian(1, bytes);
    values.keys.push_back({"scalar." + name, type, one});
    values.keys.push_back(ArrayKey("array." + name, type, 2, one + one));
  }
  values.keys.push_back(malformed::Alignment(64));
  Write("gguf", "every-type", values.Bytes());
  WriteVocabularies();
  WriteModels();
}

Adapter SmallAdapter() {
  AdapterConfig config;
  config.rank = 2;
  config.target_modules = {"q_proj", "down_proj"};
  Adapter adapter =
      MakeSeededAdapter(config, {{"model.layers.0.self_attn.q_proj", 4, 4}, {"model.layers.0.mlp.down_proj", 8, 4}}, 1);
  adapter.provenance =
      Provenance{.base_sha256 = Sha256Hex("base"), .federation = "test", .round = 3, .mode = "freeze-a"};
  return adapter;
}

std::string SafetensorsOf(const std::string& header, const std::string& data) {
  return LittleEndian(header.size(), 8) + header + data;
}

void WriteSafetensors() {
  Write("safetensors", "adapter", SerializeAdapter(SmallAdapter()));
  Write("safetensors", "update", SerializeTensors(TensorsOf(SmallAdapter(), UpdateForm::kChangeOfFactors)));
  Write("safetensors", "halves",
        SafetensorsOf(R"({"a":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]},)"
                      R"("b":{"dtype":"BF16","shape":[3],"data_offsets":[8,14]}})",
                      std::string(14, '\x3c')));
  Write("safetensors", "metadata", SafetensorsOf(R"({"__metadata__":{"format":"pt"}})", ""));
}

void WriteWire() {
  const auto write = [](char which, const std::string& name, const google::protobuf::Message& message) {
    Write("wire", name, std::string(1, which) + message.SerializeAsString());
  };
  v1::UploadRequest header, chunk;
  header.mutable_header()->set_update_id("north-1");
  header.mutable_header()->set_mode("freeze-a");
  header.mutable_header()->set_examples(12);
  header.mutable_header()->set_training_loss(1.5);
  chunk.set_chunk(SerializeTensors(TensorsOf(SmallAdapter(), UpdateForm::kChangeOfB)));
  write('\0', "upload-header", header);
  write('\0', "upload-chunk", chunk);

  const auto now = std::chrono::system_clock::now();
  const TlsKeyPem key = *GenerateTlsKey();
  const std::string ca = (*MakeCaCertificate(key, "fuzz", now, std::chrono::hours(24))).text();
  v1::EnrolRequest request;
  request.set_token_secret("secret");
  request.set_site_name("north");
  request.set_certificate_request_pem(*MakeCertificateRequest(key, "north"));
  write('\1', "enrol", request);
  v1::EnrolResponse response;
  response.set_site_id("north");
  response.set_certificate_pem(ca);
  response.set_ca_certificate_pem(ca);
  response.set_signing_public_key_pem(PublicKeyOf(*GenerateSigningKey())->text());
  response.set_federation_address("127.0.0.1:7443");
  write('\2', "membership", response);
  v1::DownloadChunk download;
  download.set_data(SerializeAdapter(SmallAdapter()));
  write('\3', "artifact", download);
  v1::NextTaskRequest next;
  next.set_installed_round(-1);
  next.set_base_sha256(Sha256Hex("base"));
  write('\4', "next-task", next);
  v1::Task task;
  task.mutable_train()->set_mode("stack");
  task.mutable_train()->set_plan(DumpJson(ToJson(TrainingPlan())));
  write('\5', "train", task);
  Write("wire", "token", "\7" + Base64UrlEncode(R"({"secret":"x","ca":"y","address":"z"})"));
}

void WriteLines() {
  TrainingJob job;
  job.model = "/model.gguf";
  job.records = {"/records.jsonl"};
  job.output = "/out";
  Write("training_job", "job", DumpJson(ToJson(job)));
  TrainerEvent event;
  event.event = "step";
  event.step = 3;
  event.loss = 1.25;
  Write("training_job", "event", DumpJson(ToJson(event)));
  const std::string nul(1, '\0');
  Write("chat_template", "glm4",
        "[gMASK]<sop>" + nul + '\2' + "Be brief." + nul + '\0' + "Hi <|user|>" + nul + '\1' + "Hello");
  Write("chat_template", "chatml",
        "<|im_start|>system\\nYou are kind<|im_end|>" + nul + '\0' + "<|im_end|>" + nul + '\3' + "4" + nul);
  Write("chat_template", "llama2",
        "bos_token [INST] <<SYS>>" + nul + '\0' + " [/INST] </s>" + nul + '\1' + "yes" + nul);
  Write("chat_template", "llama3",
        "<|start_header_id|>Cutting Knowledge Date: December 2023" + nul + '\0' + "<|eot_id|>");
  Write("chat_template", "zephyr", "<|user|> <|assistant|>" + nul + '\0' + "x" + nul + '\1' + "y" + nul + '\0' + "z");
  Write("chat_template", "none", nul + '\0' + "x");
}

}  // namespace
}  // namespace fedglm

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: fuzz_seeds FOLDER\n");
    return 2;
  }
  fedglm::corpus = argv[1];
  fedglm::WriteGguf();
  fedglm::WriteSafetensors();
  fedglm::WriteWire();
  fedglm::WriteLines();
  return 0;
}

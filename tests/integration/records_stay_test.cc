// Raw records stay: what is in the sites' records is in nothing that leaves a site or that anybody else keeps. A man in
// the middle reads every message in plain text; strings that nobody could miss are searched for in it, in every file of
// the aggregator, in every log, and in what waits to leave.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"
#include "base/tls.h"
#include "inference/gguf/gguf_file.h"
#include "inference/tokenizer/tokenizer.h"
#include "tests/integration/federation.h"
#include "tests/integration/processes.h"
#include "tests/integration/relay.h"
#include "tests/support/golden.h"

namespace fedglm {
namespace {

constexpr int kRecords = 6, kHeldOut = 2;
const std::vector<std::string> kSites = {"hospital", "branch-north", "branch-south"};

// Strings of one site's records, a different one in every question and every answer, with and without non-ASCII.
// Each half has digits of its own.
std::string RandomWord(std::mt19937_64& random, const std::string& site, bool ascii) {
  char digits_text[17];
  std::snprintf(digits_text, sizeof(digits_text), "%016llx", static_cast<unsigned long long>(random()));
  const std::string digits = digits_text;
  const std::string first = digits.substr(0, 8), second = digits.substr(8);
  return ascii ? "Seen " + first + " at " + site + " by " + second : "Größe 雪 " + first + " Ωμέγα 🩺 " + second;
}

struct Needle {
  std::string what, bytes;
};

template <typename Integer>
std::string LittleEndian(const std::vector<Token>& tokens) {
  std::string bytes;
  for (const Token token : tokens) {
    for (size_t i = 0; i < sizeof(Integer); ++i)
      bytes += static_cast<char>(static_cast<Integer>(token) >> (8 * i) & 0xff);
  }
  return bytes;
}

std::string Varints(const std::vector<Token>& tokens) {  // as protobuf packs them
  std::string bytes;
  for (Token token : tokens) {
    for (; token >= 0x80; token >>= 7) bytes += static_cast<char>((token & 0x7f) | 0x80);
    bytes += static_cast<char>(token);
  }
  return bytes;
}

// Base64 of `text` wherever it stands in a longer text: three alignments, without the digits that neighbours share.
std::vector<std::string> Base64Forms(const std::string& text) {
  std::vector<std::string> forms;
  for (size_t before = 0; before < 3; ++before) {
    const size_t whole = (text.size() + before) / 3 * 3;
    std::string encoded =
        Base64UrlEncode((std::string(before, 'x') + text).substr(0, whole)).substr(before == 0 ? 0 : 4);
    forms.push_back(encoded);
    for (char& c : encoded) c = c == '-' ? '+' : c == '_' ? '/' : c;
    forms.push_back(encoded);
  }
  return forms;
}

// Everything that would give a planted string away: itself or half of it, and as tokens, in the forms that bytes take.
std::vector<Needle> NeedlesOf(const std::string& planted, const Tokenizer& tokenizer) {
  std::vector<Needle> needles;
  size_t middle = planted.size() / 2;
  while ((planted[middle] & 0xc0) == 0x80) ++middle;  // between two characters
  for (const std::string& part : {planted.substr(0, middle), planted.substr(middle)}) {
    needles.push_back({"text", part});
    const std::string json = Json(part).dump(-1, ' ', true);
    needles.push_back({"JSON escapes", json.substr(1, json.size() - 2)});
    needles.push_back({"hexadecimal", HexEncode(std::vector<uint8_t>(part.begin(), part.end()))});
    for (const std::string& form : Base64Forms(part)) needles.push_back({"base64", form});
  }
  // At its ends a text may share tokens with what stands beside it.
  std::vector<Token> tokens = tokenizer.Encode(planted, {.add_special = false});
  tokens = {tokens.begin() + 2, tokens.end() - 2};
  const auto half = tokens.begin() + static_cast<ptrdiff_t>(tokens.size() / 2);
  for (const std::vector<Token>& part :
       {std::vector<Token>(tokens.begin(), half), std::vector<Token>(half, tokens.end())}) {
    needles.push_back({"int32 tokens", LittleEndian<int32_t>(part)});
    needles.push_back({"int64 tokens", LittleEndian<int64_t>(part)});
    needles.push_back({"varint tokens", Varints(part)});
  }
  return needles;
}

// Every file below a folder, by name.
std::map<std::string, std::string> FilesBelow(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) files[entry.path()] = TextOf(entry.path());
  }
  return files;
}

class RecordsStay : public testing::Test {
 protected:
  void SetUp() override {
    setenv("TMPDIR", FolderForTests().c_str(), 1);
    folder_.emplace(Get(TemporaryDirectory::Make("records-stay")));
    model_ = GoldenPath("golden/glm4-tiny-q4_k_m.gguf");
    const auto file = Get(GgufFile::Open(model_));
    tokenizer_ = Get(Tokenizer::FromGguf(*file));
    const Outcome made =
        RunProgram("fedglm", {"adapter", "init", "-m", model_, "--out", Path("initial")}, folder_->path());
    ASSERT_EQ(made.status, 0) << made.err;
    FederationSettings settings;
    settings.model = model_;
    settings.initial_adapter = Path("initial");
    settings.min_sites = static_cast<int>(kSites.size());
    settings.training = "steps = 2\nbatch_tokens = 256\n";
    settings.advertise = "127.0.0.2";  // where the relay listens: it is in the path from the first connection on
    federation_.emplace(Path("federation"), settings);
  }

  std::filesystem::path Path(const std::string& name) const { return folder_->path() / name; }

  std::string Plant(const std::string& site) {
    std::string word = RandomWord(random_, site, planted_.size() % 2 == 0);
    planted_.push_back(word);
    return word;
  }

  // In turn all three forms that a record may have.
  std::string PlantRecords(const std::string& site, int count) {
    std::string lines;
    for (int i = 0; i < count; ++i) {
      const std::string question = Plant(site) + "?", answer = "It is " + Plant(site) + ".";
      if (i % 3 == 0) {
        lines += DumpJson(Json{
                     {"messages",
                      {{{"role", "user"}, {"content", question}}, {{"role", "assistant"}, {"content", answer}}}}}) +
                 "\n";
      } else if (i % 3 == 1) {
        lines += RecordLine(question, answer);
      } else {
        lines += DumpJson(Json{{"text", question + " " + answer}}) + "\n";
      }
    }
    return lines;
  }

  // One relay for each of the aggregator's two ports.
  void StartRelays() {
    const std::filesystem::path state = federation_->AggregatorState();
    const TlsKeyPem ca_key = Get(ReadPem<TlsKeyPem>(state / "ca-key.pem"));
    auto keys = std::make_shared<RelayKeys>();
    keys->ca_pem = Get(ReadPem<CaCertificatePem>(state / "ca.pem"));
    keys->server.key_pem = Get(GenerateTlsKey());
    CertificateTerms terms;
    terms.common_name = "relay";
    terms.dns_names = {"127.0.0.2"};
    terms.server = true;
    terms.not_before = std::chrono::system_clock::now() - std::chrono::hours(1);
    terms.not_after = terms.not_before + std::chrono::hours(24);
    keys->server.certificate_pem =
        Get(IssueCertificate(ca_key, keys->ca_pem, Get(MakeCertificateRequest(keys->server.key_pem, "relay")), terms));
    enrolment_ = Get(Relay::Start(federation_->enrolment_port(), keys));
    auto with_clients = std::make_shared<RelayKeys>(*keys);
    with_clients->client_certificates = true;
    with_clients->identity_of = [this](const std::string& site) -> absl::StatusOr<KeyAndCertificate> {
      KeyAndCertificate identity;
      const std::filesystem::path folder = federation_->SiteState(site) / "identity";
      FEDGLM_ASSIGN_OR_RETURN(identity.key_pem, ReadPem<TlsKeyPem>(folder / "key.pem"));
      FEDGLM_ASSIGN_OR_RETURN(identity.certificate_pem, ReadPem<CertificatePem>(folder / "cert.pem"));
      return identity;
    };
    rounds_ = Get(Relay::Start(federation_->federation_port(), with_clients));
  }

  // Looks for every planted string in every form. Returns how many were found, each a failed test if `forbidden`.
  int Search(const std::map<std::string, std::string>& haystacks, bool forbidden) {
    int found = 0;
    for (const std::string& planted : planted_) {
      for (const Needle& needle : NeedlesOf(planted, *tokenizer_)) {
        for (const auto& [name, bytes] : haystacks) {
          if (bytes.find(needle.bytes) == std::string::npos) continue;
          ++found;
          if (forbidden) ADD_FAILURE() << "'" << planted << "' is in " << name << " as " << needle.what;
        }
      }
    }
    return found;
  }

  std::map<std::string, std::string> Recorded() const {
    std::map<std::string, std::string> haystacks;
    for (const Relay* relay : {enrolment_.get(), rounds_.get()}) {
      for (const RelayedConnection& connection : relay->Recorded()) {
        const std::string name = "connection " + std::to_string(haystacks.size()) + " of " + connection.site;
        for (const bool up : {true, false}) {
          const std::string& raw = up ? connection.to_aggregator : connection.to_site;
          haystacks[name + (up ? ", to the aggregator" : ", to the site")] = raw;
          std::string& messages = haystacks[name + (up ? ", messages to the aggregator" : ", messages to the site")];
          for (const GrpcMessage& message : GrpcMessagesOf(raw, up)) messages += message.bytes;
        }
      }
    }
    return haystacks;
  }

  // The search does find what is there, every string of it, and its tokens where they are.
  void ExpectSearchFindsTheRecords() {
    for (const std::string& site : kSites) {
      const std::map<std::string, std::string> records = FilesBelow(federation_->SiteFolder(site) / "records");
      for (const std::string& planted : planted_) {
        if (planted.find(site) == std::string::npos) continue;
        const auto holds = [&](const auto& file) { return file.second.find(planted) != std::string::npos; };
        EXPECT_TRUE(std::any_of(records.begin(), records.end(), holds)) << planted;
      }
      EXPECT_GE(Search(records, false), 2 * 2 * (kRecords + kHeldOut));  // both halves of each
    }
    const std::vector<Token> tokens = tokenizer_->Encode("before " + planted_[0] + " after", {.add_special = false});
    EXPECT_EQ(Search({{"tokens", LittleEndian<int32_t>(tokens)}}, false), 2);
    EXPECT_EQ(Search({{"tokens", LittleEndian<int64_t>(tokens)}}, false), 2);
    EXPECT_GE(Search({{"base64", Base64UrlEncode("a longer text with " + planted_[0] + " in it")}}, false), 2);
  }

  // Nothing was compressed or cut off, or the search would have been blind.
  void ExpectWholeUploads() const {
    int uploads = 0;
    for (const RelayedConnection& connection : rounds_->Recorded()) {
      for (const bool up : {true, false}) {
        for (const GrpcMessage& message : GrpcMessagesOf(up ? connection.to_aggregator : connection.to_site, up)) {
          EXPECT_FALSE(message.compressed);
          uploads += up && message.bytes.size() > (64 << 10);
        }
      }
    }
    EXPECT_GE(uploads, static_cast<int>(2 * kSites.size()));
  }

  std::optional<TemporaryDirectory> folder_;
  std::filesystem::path model_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::mt19937_64 random_{20261124};
  std::vector<std::string> planted_;
  std::optional<Federation> federation_;
  std::unique_ptr<Relay> enrolment_, rounds_;
};

TEST_F(RecordsStay, InNoMessageNoFileAndNoLog) {
  ASSERT_TRUE(Done(federation_->StartAggregator()));
  StartRelays();
  for (const std::string& site : kSites) {
    const std::string training = PlantRecords(site, kRecords), held_out = PlantRecords(site, kHeldOut);
    ASSERT_TRUE(Done(federation_->AddSite(site, training, held_out)));
  }
  ASSERT_EQ(planted_.size(), kSites.size() * 2 * (kRecords + kHeldOut));

  // In the middle of the first upload everything is held: what is about to leave lies in the outbox, and part of it in
  // the spool.
  rounds_->HoldAfter(32 << 10);
  for (const std::string& site : kSites) ASSERT_TRUE(Done(federation_->StartNode(site)));
  ASSERT_TRUE(WaitUntil([&] { return rounds_->Holding(); }, std::chrono::minutes(1))) << federation_->AllLogs();
  std::map<std::string, std::string> outboxes;
  for (const std::string& site : kSites) {
    std::error_code ignored;
    if (std::filesystem::exists(federation_->SiteState(site) / "outbox", ignored))
      outboxes.merge(FilesBelow(federation_->SiteState(site) / "outbox"));
  }
  outboxes.merge(FilesBelow(federation_->AggregatorState() / "spool"));
  rounds_->Release();
  ASSERT_TRUE(Done(federation_->WaitForRound(2)));
  ASSERT_TRUE(WaitUntil([&] { return federation_->AggregatorLog().find("round 2 is done") != std::string::npos; },
                        std::chrono::minutes(1)));
  federation_->Stop();
  EXPECT_THAT(rounds_->Errors(), testing::IsEmpty());
  EXPECT_THAT(enrolment_->Errors(), testing::IsEmpty());

  const std::map<std::string, std::string> recorded = Recorded();
  std::map<std::string, std::string> logs = {{"the aggregator's log", federation_->AggregatorLog()}};
  for (const std::string& site : kSites) logs[site + "'s log"] = federation_->NodeLog(site);
  Search(outboxes, true);
  Search(recorded, true);
  Search(logs, true);
  Search(FilesBelow(federation_->AggregatorFolder()), true);
  Search(FilesBelow(federation_->AggregatorState()), true);

  ExpectSearchFindsTheRecords();

  // And what is sent does pass the relay in plain text: names, update ids, tensors, both rounds of every site.
  const auto seen = [&](const std::string& what) {
    int count = 0;
    for (const auto& [name, bytes] : recorded)
      count += name.find("messages to the aggregator") != std::string::npos && bytes.find(what) != std::string::npos;
    return count;
  };
  ASSERT_FALSE(outboxes.empty());
  std::string update_id;
  for (const auto& [name, bytes] : outboxes) update_id = std::filesystem::path(name).stem();
  EXPECT_GE(seen(update_id), 1) << update_id;
  EXPECT_GE(seen("model.layers.0.self_attn.q_proj.lora_B"), static_cast<int>(kSites.size()));
  for (const std::string& site : kSites) EXPECT_GE(seen(site), 1) << site;

  ExpectWholeUploads();
}

}  // namespace
}  // namespace fedglm

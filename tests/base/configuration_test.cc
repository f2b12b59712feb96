#include "base/configuration.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/support/scoped_variable.h"

namespace fedglm {
namespace {

Configuration Parsed(std::string_view toml) {
  absl::StatusOr<Configuration> configuration = Configuration::Parse(toml, "node.toml");
  EXPECT_TRUE(configuration.ok()) << Message(configuration.status());
  return *std::move(configuration);
}

void ExpectBad(const absl::Status& status, const std::string& message) {
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kConfiguration);
  EXPECT_EQ(Message(status), message);
}

TEST(Configuration, FlagBeforeEnvironmentBeforeFileBeforeDefault) {
  Configuration configuration = Parsed("[server]\nlisten = \"file\"\nmax-sites = 3\n");
  EXPECT_EQ(*configuration.String("server.name", "default"), "default");
  EXPECT_EQ(*configuration.String("server.listen", "default"), "file");
  {
    const ScopedVariable listen("FEDGLM_SERVER_LISTEN", "environment"), sites("FEDGLM_SERVER_MAX_SITES", "4");
    EXPECT_EQ(*configuration.String("server.listen", "default"), "environment");
    EXPECT_EQ(*configuration.Integer("server.max-sites", 1, 1, 9), 4);
    configuration.Override("server.listen", "flag");
    configuration.Override("server.max-sites", "5");
    EXPECT_EQ(*configuration.String("server.listen", "default"), "flag");
    EXPECT_EQ(*configuration.Integer("server.max-sites", 1, 1, 9), 5);
  }
  EXPECT_EQ(*configuration.String("server.listen", "default"), "flag");
}

TEST(Configuration, ReadsEveryType) {
  Configuration configuration = Parsed(
      "text = \"ä\"\ninteger = -5\nnumber = 0.25\nintegral = 2\nyes = true\nnames = [\"a\", \"b\"]\n"
      "[deep.deeper]\nvalue = 1\n");
  EXPECT_EQ(*configuration.String("text", ""), "ä");
  EXPECT_EQ(*configuration.Integer("integer", 0, -10, 10), -5);
  EXPECT_EQ(*configuration.Number("number", 0, 0, 1), 0.25);
  EXPECT_EQ(*configuration.Number("integral", 0, 0, 5), 2.0);
  EXPECT_EQ(*configuration.Bool("yes", false), true);
  EXPECT_EQ(*configuration.Strings("names", {}), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(*configuration.Integer("deep.deeper.value", 0, 0, 1), 1);
  EXPECT_TRUE(configuration.Finish().ok());
}

TEST(Configuration, DefaultsStandWhereNothingIsSet) {
  Configuration configuration = Parsed("");
  EXPECT_EQ(*configuration.Integer("a", 7, 0, 5), 7) << "a default is not checked against the range";
  EXPECT_EQ(*configuration.Number("a", 0.5, 0, 1), 0.5);
  EXPECT_EQ(*configuration.Bool("a", true), true);
  EXPECT_EQ(*configuration.Strings("a", {"x"}), std::vector<std::string>{"x"});
  EXPECT_TRUE(configuration.Finish().ok());
}

TEST(Configuration, AnotherTypeInTheFileIsAnErrorWithItsLine) {
  Configuration configuration =
      Parsed("# comment\n[a]\ntext = 1\ninteger = \"1\"\nfloat = 1.5\nyes = 1\nnames = [1]\nname = \"x\"\n");
  ExpectBad(configuration.String("a.text", "").status(), "node.toml:3: a.text must be a string");
  ExpectBad(configuration.Integer("a.integer", 0, 0, 9).status(),
            "node.toml:4: a.integer must be an integer from 0 to 9");
  ExpectBad(configuration.Integer("a.float", 0, 0, 9).status(), "node.toml:5: a.float must be an integer from 0 to 9");
  ExpectBad(configuration.Number("a.integer", 0, 0, 1).status(), "node.toml:4: a.integer must be a number from 0 to 1");
  ExpectBad(configuration.Bool("a.yes", false).status(), "node.toml:6: a.yes must be true or false");
  ExpectBad(configuration.Strings("a.names", {}).status(), "node.toml:7: a.names must be an array of strings");
  ExpectBad(configuration.Strings("a.name", {}).status(), "node.toml:8: a.name must be an array of strings");
}

TEST(Configuration, ValuesOutsideTheirRangeAreErrors) {
  Configuration configuration = Parsed("low = 0\nhigh = 11\nnumber = 1.5\nnan = nan\n");
  ExpectBad(configuration.Integer("low", 5, 1, 10).status(), "node.toml:1: low must be an integer from 1 to 10");
  ExpectBad(configuration.Integer("high", 5, 1, 10).status(), "node.toml:2: high must be an integer from 1 to 10");
  ExpectBad(configuration.Number("number", 0, 0, 1).status(), "node.toml:3: number must be a number from 0 to 1");
  ExpectBad(configuration.Number("nan", 0, 0, 1).status(), "node.toml:4: nan must be a number from 0 to 1");
}

TEST(Configuration, TextOfFlagsAndEnvironmentIsConvertedAndItsErrorsNameThem) {
  Configuration configuration = Parsed("");
  configuration.Override("rate", "1e-3");
  configuration.Override("yes", "1");
  configuration.Override("no", "false");
  configuration.Override("names", "a,,b c,");
  EXPECT_EQ(*configuration.Number("rate", 0, 0, 1), 1e-3);
  EXPECT_EQ(*configuration.Bool("yes", false), true);
  EXPECT_EQ(*configuration.Bool("no", true), false);
  EXPECT_EQ(*configuration.Strings("names", {}), (std::vector<std::string>{"a", "b c"}));

  const ScopedVariable steps("FEDGLM_TRAINING_STEPS", "5x");
  ExpectBad(configuration.Integer("training.steps", 0, 0, 9).status(),
            "FEDGLM_TRAINING_STEPS must be an integer from 0 to 9");
  configuration.Override("training.steps", "");
  ExpectBad(configuration.Integer("training.steps", 0, 0, 9).status(),
            "flag for training.steps must be an integer from 0 to 9");
  configuration.Override("rate", "nan");
  EXPECT_FALSE(configuration.Number("rate", 0, 0, 1).ok());
  configuration.Override("yes", "maybe");
  EXPECT_FALSE(configuration.Bool("yes", false).ok());
}

TEST(Configuration, ARequiredStringMustBeThere) {
  Configuration configuration = Parsed("empty = \"\"\nname = \"x\"\n");
  EXPECT_EQ(*configuration.RequiredString("name"), "x");
  ExpectBad(configuration.RequiredString("empty").status(), "node.toml: empty is missing");
  ExpectBad(configuration.RequiredString("absent").status(), "node.toml: absent is missing");
}

TEST(Configuration, AnUnknownKeyIsAnErrorWithItsLine) {
  Configuration configuration = Parsed("known = 1\n\n[server]\nlisten = \"a\"\nlissten = \"b\"\n[other]\nkey = 1\n");
  ASSERT_TRUE(configuration.Integer("known", 0, 0, 9).ok());
  ASSERT_TRUE(configuration.String("server.listen", "").ok());
  ExpectBad(configuration.Finish(), "node.toml:5: unknown key 'server.lissten'");
  ASSERT_TRUE(configuration.String("server.lissten", "").ok());
  ExpectBad(configuration.Finish(), "node.toml:7: unknown key 'other.key'");
}

TEST(Configuration, AnUnknownKeyIsFoundInAnInlineTableToo) {
  Configuration configuration = Parsed("server = { listen = \"a\", zone = 2, lissten = \"b\" }\n");
  ASSERT_TRUE(configuration.String("server.listen", "").ok());
  ASSERT_TRUE(configuration.Integer("server.zone", 0, 0, 9).ok());
  ExpectBad(configuration.Finish(), "node.toml:1: unknown key 'server.lissten'");
}

TEST(Configuration, TablesOfAnArrayAreReadOneByOne) {
  Configuration configuration = Parsed("[[host]]\nname = \"a\"\n[[host]]\nname = \"b\"\nprot = 1\n[one]\nhost = 7\n");
  EXPECT_EQ(*configuration.TableCount("host"), 2u);
  EXPECT_EQ(*configuration.TableCount("nothing"), 0u);
  EXPECT_EQ(*configuration.String("host[0].name", ""), "a");
  EXPECT_EQ(*configuration.String("host[1].name", ""), "b");
  EXPECT_EQ(*configuration.String("host[1].zone", "none"), "none");
  ExpectBad(configuration.TableCount("one.host").status(), "node.toml:7: one.host must be tables: [[one.host]]");
  ExpectBad(configuration.Finish(), "node.toml:5: unknown key 'host[1].prot'");
}

TEST(Configuration, AKeyThatAFlagCoversIsKnown) {
  Configuration configuration = Parsed("name = \"file\"\n");
  configuration.Override("name", "flag");
  ASSERT_TRUE(configuration.String("name", "").ok());
  EXPECT_TRUE(configuration.Finish().ok());
}

TEST(Configuration, MalformedTomlIsAnErrorWithItsLine) {
  const absl::Status status = Configuration::Parse("a = 1\nb = = 2\n", "node.toml").status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kConfiguration);
  EXPECT_EQ(Message(status).find("node.toml:2: "), 0u) << Message(status);
  EXPECT_FALSE(Configuration::Parse("a = 1\na = 2\n", "node.toml").ok());
  EXPECT_FALSE(Configuration::Parse("a = \"\xff\"\n", "node.toml").ok());
}

TEST(Configuration, RelativePathsAreRelativeToItsFolder) {
  const auto folder = TemporaryDirectory::Make();
  const std::filesystem::path file = folder->path() / "node.toml";
  const char text[] = "data = \"records/a.jsonl\"\nmodel = \"/models/m.gguf\"\nmore = [\"x\", \"/y\"]\n";
  ASSERT_TRUE(WriteFileAtomically(file, text).ok());
  absl::StatusOr<Configuration> configuration = Configuration::Load(file);
  ASSERT_TRUE(configuration.ok()) << Message(configuration.status());
  EXPECT_EQ(*configuration->Path("data", ""), folder->path() / "records/a.jsonl");
  EXPECT_EQ(*configuration->Path("model", ""), "/models/m.gguf");
  EXPECT_EQ(*configuration->Path("state", "state"), folder->path() / "state");
  EXPECT_EQ(*configuration->Path("absent", ""), "");
  EXPECT_EQ(*configuration->Paths("more"), (std::vector<std::filesystem::path>{folder->path() / "x", "/y"}));
  EXPECT_TRUE(configuration->Paths("absent")->empty());
  EXPECT_TRUE(configuration->Finish().ok());
}

TEST(Configuration, AMissingFileIsBadConfiguration) {
  const absl::Status status = Configuration::Load("/nonexistent/node.toml").status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kConfiguration);
  EXPECT_NE(Message(status).find("/nonexistent/node.toml"), std::string::npos);
}

TEST(ByteSize, Parses) {
  EXPECT_EQ(*ParseByteSize("0"), 0u);
  EXPECT_EQ(*ParseByteSize("1000"), 1000u);
  EXPECT_EQ(*ParseByteSize("7B"), 7u);
  EXPECT_EQ(*ParseByteSize("3KiB"), 3072u);
  EXPECT_EQ(*ParseByteSize("512MiB"), uint64_t{512} << 20);
  EXPECT_EQ(*ParseByteSize("4GiB"), uint64_t{4} << 30);
  EXPECT_EQ(*ParseByteSize("2T"), uint64_t{2} << 40);
  EXPECT_EQ(*ParseByteSize("18446744073709551615"), UINT64_MAX);
}

TEST(ByteSize, WhatIsNoneIsRefused) {
  for (const char* text :
       {"", "GiB", "-1", "1.5GiB", "4 GiB", "4gib", "4GB", "1e3", "4GiBx", "18446744073709551616", "16777216TiB"}) {
    EXPECT_EQ(ExitCodeOf(ParseByteSize(text).status()), ExitCode::kUsage) << text;
  }
}

TEST(ByteSize, Formats) {
  EXPECT_EQ(FormatByteSize(0), "0 B");
  EXPECT_EQ(FormatByteSize(1023), "1023 B");
  EXPECT_EQ(FormatByteSize(1536), "1.50 KiB");
  EXPECT_EQ(FormatByteSize(uint64_t{5} << 30), "5.00 GiB");
  EXPECT_EQ(FormatByteSize(uint64_t{2048} << 40), "2048.00 TiB");
}

}  // namespace
}  // namespace fedglm

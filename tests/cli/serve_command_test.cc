// fedglm serve and fedglm api-key as an administrator meets them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/process.h"
#include "tests/support/golden.h"
#include "tests/support/source_tree.h"

namespace fedglm {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class ServeCommand : public testing::Test {
 protected:
  std::string Path(const std::string& name) const { return (folder_.path() / name).string(); }

  // Exit status; what it says is in out_ and err_.
  int Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), ProgramPath("fedglm"));
    std::filesystem::remove(Path("stdout"));  // it is added to
    std::filesystem::remove(Path("stderr"));
    SpawnOptions options;
    options.arguments = std::move(arguments);
    options.stdout_file = Path("stdout");
    options.stderr_file = Path("stderr");
    absl::StatusOr<Process> process = Process::Spawn(options);
    EXPECT_TRUE(process.ok());
    const int status = process->WaitFor(std::chrono::seconds(60)).value_or(-1);
    out_ = *ReadFile(Path("stdout"));
    err_ = *ReadFile(Path("stderr"));
    return status;
  }
  int Serve(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"serve", "-m", GoldenPath("golden/glm4-tiny-q4_k_m.gguf").string()});
    return Run(std::move(arguments));
  }

  const TemporaryDirectory folder_ = *TemporaryDirectory::Make("serve");
  std::string out_, err_;
};

TEST_F(ServeCommand, RefusesToServeStrangersUnlessItIsMeant) {
  EXPECT_EQ(Serve({"--listen", "0.0.0.0:0"}), 3);
  EXPECT_THAT(err_, HasSubstr("--insecure-open"));
  ASSERT_EQ(Run({"api-key", "new", "--file", Path("keys"), "--name", "a"}), 0);
  EXPECT_EQ(Serve({"--listen", "0.0.0.0:0", "--api-keys", Path("keys")}), 3) << "keys without TLS can be overheard";
  EXPECT_EQ(Serve({"--api-keys", Path("no-such-file")}), 3);
  EXPECT_EQ(Serve({"--listen", "nonsense"}), 2);
  EXPECT_EQ(Serve({"--request-timeout", "soon"}), 3);
  EXPECT_EQ(Serve({"--serve-adapter", "nonsense"}), 2);
}

TEST_F(ServeCommand, AnUpstreamOutsideTheSitesRuleIsRefused) {
  ASSERT_TRUE(WriteFileAtomically(Path("serve.toml"), "[[serve.upstream]]\nurl = 'https://api.example.com'\n").ok());
  EXPECT_EQ(Serve({"--config", Path("serve.toml")}), 3);
  EXPECT_THAT(err_, HasSubstr("'api.example.com' is not among the hosts that this site allows"));
}

TEST_F(ServeCommand, KeysAreMadeListedAndRevoked) {
  ASSERT_EQ(Run({"api-key", "new", "--file", Path("keys"), "--name", "ward-7", "--parallel", "2"}), 0);
  const std::string key = out_;
  EXPECT_THAT(key, StartsWith("fedglm-"));
  EXPECT_EQ(Run({"api-key", "new", "--file", Path("keys"), "--name", "ward-7"}), 2);
  ASSERT_EQ(Run({"api-key", "list", "--file", Path("keys"), "--json"}), 0);
  EXPECT_THAT(out_, HasSubstr("\"name\":\"ward-7\""));
  EXPECT_THAT(out_, HasSubstr("\"parallel\":2"));
  EXPECT_THAT(out_, testing::Not(HasSubstr(key.substr(20, 43))));
  EXPECT_EQ(Run({"api-key", "revoke", "--file", Path("keys"), "--name", "ward-7"}), 0);
  EXPECT_EQ(Run({"api-key", "revoke", "--file", Path("keys"), "--name", "ward-7"}), 2);
}

}  // namespace
}  // namespace fedglm

#include "tests/integration/processes.h"

#include <unistd.h>

#include <cctype>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>

#include "base/file.h"
#include "tests/support/source_tree.h"

namespace fedglm {
namespace {

std::string ReadProc(pid_t pid, const char* file) {
  std::ifstream stream("/proc/" + std::to_string(pid) + "/" + file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

struct ProcessFacts {
  pid_t parent = 0;
  char state = 'Z';
  std::string began, command;
};

// proc(5): "pid (comm) state ppid …", and the start time is field 22. A name may have spaces and brackets.
bool ReadFacts(pid_t pid, ProcessFacts& facts) {
  const std::string text = ReadProc(pid, "stat");
  const size_t open = text.find('('), close = text.rfind(')');
  if (open == std::string::npos || close == std::string::npos) return false;
  facts.command = text.substr(open + 1, close - open - 1);
  std::istringstream rest(text.substr(close + 1));
  rest >> facts.state >> facts.parent;
  for (int field = 5; field <= 22; ++field) rest >> facts.began;
  return static_cast<bool>(rest);
}

std::vector<pid_t> AllPids() {
  std::vector<pid_t> pids;
  std::error_code error;
  for (std::filesystem::directory_iterator entry("/proc", error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename();
    if (std::isdigit(static_cast<unsigned char>(name[0]))) pids.push_back(static_cast<pid_t>(std::stol(name)));
  }
  return pids;
}

}  // namespace

testing::AssertionResult Done(const absl::Status& status) {
  return status.ok() ? testing::AssertionSuccess() : testing::AssertionFailure() << Message(status);
}

std::filesystem::path FolderForTests() {
  constexpr uint64_t kEnough = uint64_t{512} << 20;  // containers often have 64 MiB there
  std::error_code error;
  const std::filesystem::space_info space = std::filesystem::space("/dev/shm", error);
  const bool good = !error && space.available >= kEnough && access("/dev/shm", W_OK) == 0;
  return good ? std::filesystem::path("/dev/shm") : std::filesystem::temp_directory_path();
}

std::string BinaryPath(const std::string& program) { return ProgramPath(program); }

SpawnOptions OptionsFor(const std::string& program, std::vector<std::string> arguments,
                        const std::filesystem::path& folder) {
  SpawnOptions options;
  options.arguments = {BinaryPath(program)};
  options.arguments.insert(options.arguments.end(), arguments.begin(), arguments.end());
  options.environment = {"XDG_CACHE_HOME=" + (folder / "cache").string()};
  return options;
}

Outcome RunProgram(const std::string& program, std::vector<std::string> arguments, const std::filesystem::path& folder,
                   std::chrono::seconds limit) {
  SpawnOptions options = OptionsFor(program, std::move(arguments), folder);
  options.stdout_file = folder / "stdout";
  options.stderr_file = folder / "stderr";
  std::filesystem::remove(options.stdout_file);
  std::filesystem::remove(options.stderr_file);
  Process process = Get(Process::Spawn(options));
  const std::optional<int> status = process.WaitFor(limit);
  EXPECT_TRUE(status.has_value()) << program << " does not end";
  return {status.value_or(-1), TextOf(options.stdout_file), TextOf(options.stderr_file)};
}

std::string TextOf(const std::filesystem::path& file) {
  const absl::StatusOr<std::string> text = ReadFile(file);
  return text.ok() ? *text : "";
}

std::vector<RunningProcess> DescendantsOf(pid_t root) {
  std::multimap<pid_t, RunningProcess> children;
  for (const pid_t pid : AllPids()) {
    ProcessFacts facts;
    if (ReadFacts(pid, facts) && facts.state != 'Z')
      children.emplace(facts.parent, RunningProcess{pid, facts.began, facts.command});
  }
  std::vector<RunningProcess> found;
  std::vector<pid_t> parents = {root};
  while (!parents.empty()) {
    const auto [first, last] = children.equal_range(parents.back());
    parents.pop_back();
    for (auto child = first; child != last; ++child) {
      found.push_back(child->second);
      parents.push_back(child->second.pid);
    }
  }
  return found;
}

bool IsRunning(const RunningProcess& process) {
  ProcessFacts facts;
  return ReadFacts(process.pid, facts) && facts.began == process.began && facts.state != 'Z';
}

std::vector<RunningProcess> ProcessesNaming(const std::string& text) {
  std::vector<RunningProcess> found;
  for (const pid_t pid : AllPids()) {
    if (pid == getpid()) continue;
    if (ReadProc(pid, "cmdline").find(text) == std::string::npos &&
        ReadProc(pid, "environ").find(text) == std::string::npos)
      continue;
    ProcessFacts facts;
    if (ReadFacts(pid, facts) && facts.state != 'Z') found.push_back({pid, facts.began, facts.command});
  }
  return found;
}

}  // namespace fedglm

#include "tests/support/source_tree.h"

namespace fedglm {

std::filesystem::path SourceFolder() { return FEDGLM_SOURCE_DIR; }
std::filesystem::path ProgramFolder() { return FEDGLM_BINARY_DIR; }
std::string ProgramPath(const std::string& name) { return (ProgramFolder() / name).string(); }

}  // namespace fedglm

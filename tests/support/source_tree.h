// Where the checkout and its programs lie. Known to one object file alone: in every clone the paths would make each
// test's compilation another one, and ccache would find none of them.
#pragma once

#include <filesystem>
#include <string>

namespace fedglm {

std::filesystem::path SourceFolder();              // the checkout
std::filesystem::path ProgramFolder();             // build/PRESET/bin
std::string ProgramPath(const std::string& name);  // of a program there

}  // namespace fedglm

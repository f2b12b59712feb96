// Where the checkout and its programs lie. Known to one object file alone: the paths would make every test's compilation
// another one in every clone, and ccache would find none again.
#pragma once

#include <filesystem>
#include <string>

namespace fedglm {

std::filesystem::path SourceFolder();              // the checkout
std::filesystem::path ProgramFolder();             // build/PRESET/bin
std::string ProgramPath(const std::string& name);  // of a program there

}  // namespace fedglm

// Measures llama.cpp as `fedglm bench` measures fedglm, and prints the same JSON. bench/fetch-llamacpp compiles it
// against llama.cpp's prebuilt libraries; it is no part of the build and uses nothing of this project.
//
//   llamacpp-driver -m MODEL [-p 128] [-n 16] [-t 2] [-r 1] [--streams N] [--no-repack]
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "ggml-backend.h"
#include "llama.h"

namespace {

struct Options {
  std::string model;
  int prompt_tokens = 128, answer_tokens = 16, threads = 2, repetitions = 1;
  int streams = 0;     // > 0: also so many answers side by side
  bool repack = true;  // llama.cpp's default
};

[[noreturn]] void Fail(const std::string& message) {
  std::fprintf(stderr, "llamacpp-driver: %s\n", message.c_str());
  std::exit(1);
}

double Now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

class Driver {
 public:
  explicit Driver(const Options& options) : options_(options) {
    llama_model_params model_params = llama_model_default_params();
    model_params.use_extra_bufts = options.repack;
    model_ = llama_model_load_from_file(options.model.c_str(), model_params);
    if (model_ == nullptr) Fail("cannot load " + options.model);
    vocabulary_ = llama_vocab_n_tokens(llama_model_get_vocab(model_));

    const int sequences = std::max(1, options.streams);
    llama_context_params context_params = llama_context_default_params();
    const int tokens = (options.prompt_tokens + options.answer_tokens + 256) / 256 * 256;  // of each sequence
    context_params.n_ctx = static_cast<uint32_t>(tokens * sequences);
    context_params.n_batch = static_cast<uint32_t>(std::max(512, options.prompt_tokens));
    context_params.n_seq_max = static_cast<uint32_t>(sequences);
    context_params.n_threads = context_params.n_threads_batch = options.threads;
    context_ = llama_init_from_model(model_, context_params);
    if (context_ == nullptr) Fail("cannot make a context");
  }
  ~Driver() {
    llama_free(context_);
    llama_model_free(model_);
  }

  // Reads the prompt and returns the first token of the answer.
  llama_token Prefill(int run) {
    Forget();
    std::vector<llama_token> prompt;
    for (int i = 0; i < options_.prompt_tokens; ++i) prompt.push_back((i * 7 + run + 1) % vocabulary_);
    if (llama_decode(context_, llama_batch_get_one(prompt.data(), options_.prompt_tokens)) != 0) Fail("prefill failed");
    return Choose(-1);
  }

  void Decode(llama_token token) {
    for (int i = 0; i < options_.answer_tokens; ++i) {
      if (llama_decode(context_, llama_batch_get_one(&token, 1)) != 0) Fail("decoding failed");
      token = Choose(-1);
    }
  }

  // Tokens per second of all streams together, each with a prompt of its own; the prompts' time is not counted.
  double DecodeSideBySide(int run) {
    Forget();
    llama_batch batch = llama_batch_init(std::max(options_.prompt_tokens, options_.streams), 0, options_.streams);
    std::vector<llama_token> last(static_cast<size_t>(options_.streams));
    for (int stream = 0; stream < options_.streams; ++stream) {
      batch.n_tokens = 0;
      for (int i = 0; i < options_.prompt_tokens; ++i) {
        Add(batch, (i * 7 + run + stream + 1) % vocabulary_, i, stream, i + 1 == options_.prompt_tokens);
      }
      if (llama_decode(context_, batch) != 0) Fail("prefill of a stream failed");
      last[static_cast<size_t>(stream)] = Choose(batch.n_tokens - 1);
    }
    const double start = Now();
    for (int i = 0; i < options_.answer_tokens; ++i) {
      batch.n_tokens = 0;
      for (int stream = 0; stream < options_.streams; ++stream) {
        Add(batch, last[static_cast<size_t>(stream)], options_.prompt_tokens + i, stream, true);
      }
      if (llama_decode(context_, batch) != 0) Fail("decoding of the streams failed");
      for (int stream = 0; stream < options_.streams; ++stream) last[static_cast<size_t>(stream)] = Choose(stream);
    }
    const double seconds = Now() - start;
    llama_batch_free(batch);
    return options_.streams * options_.answer_tokens / seconds;
  }

 private:
  void Forget() { llama_memory_clear(llama_get_memory(context_), true); }

  static void Add(llama_batch& batch, llama_token token, int position, int stream, bool wants_logits) {
    const int i = batch.n_tokens++;
    batch.token[i] = token;
    batch.pos[i] = position;
    batch.n_seq_id[i] = 1;
    batch.seq_id[i][0] = stream;
    batch.logits[i] = wants_logits;
  }

  // The most likely token after output `index` of the last batch.
  llama_token Choose(int index) const {
    const float* const logits = llama_get_logits_ith(context_, index);
    if (logits == nullptr) Fail("no logits");
    return static_cast<llama_token>(std::max_element(logits, logits + vocabulary_) - logits);
  }

  const Options options_;
  llama_model* model_ = nullptr;
  llama_context* context_ = nullptr;
  int vocabulary_ = 0;
};

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--no-repack") {
      options.repack = false;
      continue;
    }
    if (flag == "--json") continue;  // it prints nothing else
    if (++i == argc) Fail(flag + " needs a value");
    if (flag == "-m")
      options.model = argv[i];
    else if (flag == "-p")
      options.prompt_tokens = std::atoi(argv[i]);
    else if (flag == "-n")
      options.answer_tokens = std::atoi(argv[i]);
    else if (flag == "-t")
      options.threads = std::atoi(argv[i]);
    else if (flag == "-r")
      options.repetitions = std::atoi(argv[i]);
    else if (flag == "--streams")
      options.streams = std::atoi(argv[i]);
    else
      Fail("unknown flag " + flag);
  }
  if (options.model.empty() || options.prompt_tokens < 1 || options.answer_tokens < 1 || options.threads < 1) {
    Fail("usage: llamacpp-driver -m MODEL [-p 128] [-n 16] [-t 2] [-r 1] [--streams N] [--no-repack]");
  }
  return options;
}

void QuietLog(ggml_log_level level, const char* text, void*) {
  if (level == GGML_LOG_LEVEL_ERROR) std::fputs(text, stderr);
}

}  // namespace

int main(int argc, char** argv) {
  const double start = Now();
  const Options options = Parse(argc, argv);
  llama_log_set(QuietLog, nullptr);
  // The libraries of all instruction sets lie beside this program; the best that this CPU has is chosen.
  ggml_backend_load_all_from_path(std::filesystem::read_symlink("/proc/self/exe").parent_path().c_str());
  llama_backend_init();

  Driver driver(options);
  const double loaded = Now();
  // The first run also warms up. It counts as the time to the first token, and for nothing else.
  llama_token token = driver.Prefill(0);
  const double first_token = Now();
  std::vector<double> prefill, decode, batch;
  if (options.repetitions > 0) driver.Decode(token);
  for (int run = 1; run <= options.repetitions; ++run) {
    const double begin = Now();
    token = driver.Prefill(run);
    const double middle = Now();
    driver.Decode(token);
    prefill.push_back(options.prompt_tokens / (middle - begin));
    decode.push_back(options.answer_tokens / (Now() - middle));
    if (options.streams > 0) batch.push_back(driver.DecodeSideBySide(run));
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::printf(
      "{\"version\":1,\"prefill_tps\":%.6g,\"decode_tps\":%.6g,\"batch_tps\":%.6g,\"load_seconds\":%.6g,"
      "\"first_token_seconds\":%.6g,\"peak_rss_bytes\":%lld}\n",
      Median(prefill), Median(decode), Median(batch), loaded - start, first_token - start,
      static_cast<long long>(usage.ru_maxrss) * 1024);
}

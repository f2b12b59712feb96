#include "inference/api/parallel_answers.h"

#include <system_error>

namespace fedglm {

ParallelAnswers::ParallelAnswers(Engine& engine, std::vector<GenerationRequest> requests)
    : requests_(std::move(requests)), running_(requests_.size()) {
  for (size_t i = 0; i < requests_.size(); ++i) {
    requests_[i].still_wanted = [this] { return !cancelled_; };
    try {
      threads_.emplace_back([this, &engine, i] { Run(engine, static_cast<int>(i), requests_[i]); });
    } catch (const std::system_error&) {  // the process may have no more threads
      AnswerEvent end{static_cast<int>(i), "", {}, std::nullopt};
      end.end = absl::ResourceExhaustedError("no thread is left for another answer");
      Put(std::move(end));
    }
  }
}

ParallelAnswers::~ParallelAnswers() {
  Cancel();
  for (std::thread& thread : threads_) thread.join();
}

void ParallelAnswers::Run(Engine& engine, int choice, const GenerationRequest& request) {
  AnswerEvent end{choice, "", {}, std::nullopt};
  end.end = engine.Generate(request, [&](const GeneratedToken& token) {
    if (cancelled_) return false;
    AnswerEvent event{choice, std::string(token.text), {}, std::nullopt};
    // The token that ends a turn is no part of the answer: it only brings text that was held back.
    if (request.logprobs >= 0 && !engine.tokenizer().EndsGeneration(token.token)) {
      event.scores.push_back({{token.token, token.logprob}, token.top});
    }
    if (!event.text.empty() || !event.scores.empty()) Put(std::move(event));
    return true;
  });
  Put(std::move(end));
}

void ParallelAnswers::Put(AnswerEvent event) {
  MutexLock lock(mutex_);
  if (event.end) --running_;
  events_.push_back(std::move(event));
  arrived_.notify_all();
}

std::optional<AnswerEvent> ParallelAnswers::Next(std::chrono::milliseconds timeout) {
  MutexLock lock(mutex_);
  if (events_.empty() && running_ > 0) lock.WaitFor(arrived_, timeout);
  if (events_.empty()) return std::nullopt;
  AnswerEvent event = std::move(events_.front());
  events_.pop_front();
  return event;
}

bool ParallelAnswers::ended() const {
  MutexLock lock(mutex_);
  return running_ == 0 && events_.empty();
}

}  // namespace fedglm

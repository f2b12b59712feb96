#include "inference/api/parallel_answers.h"

#include <system_error>

namespace fedglm {

absl::StatusOr<std::unique_ptr<ParallelAnswers>> ParallelAnswers::Start(Engine& engine,
                                                                        std::vector<GenerationRequest> requests) {
  std::unique_ptr<ParallelAnswers> started(new ParallelAnswers(engine.tokenizer(), requests.size()));
  for (GenerationRequest& request : requests) request.still_wanted = [p = started.get()] { return !p->cancelled_; };
  FEDGLM_ASSIGN_OR_RETURN(std::vector<PendingAnswer> answers, engine.Take(std::move(requests)));
  for (size_t i = 0; i < answers.size(); ++i) started->Follow(static_cast<int>(i), std::move(answers[i]));
  return started;
}

ParallelAnswers::~ParallelAnswers() {
  Cancel();
  for (std::thread& thread : threads_) thread.join();
}

void ParallelAnswers::Follow(int choice, PendingAnswer answer) {
  try {
    threads_.emplace_back([this, choice, answer = std::move(answer)]() mutable { Run(choice, answer); });
  } catch (const std::system_error&) {  // the process may have no more threads
    AnswerEvent end{choice, "", {}, std::nullopt};
    end.end = absl::ResourceExhaustedError("no thread is left for another answer");
    Put(std::move(end));
  }
}

void ParallelAnswers::Run(int choice, PendingAnswer& answer) {
  AnswerEvent end{choice, "", {}, std::nullopt};
  end.end = answer.Wait([&](const GeneratedToken& token) {
    if (cancelled_) return false;
    AnswerEvent event{choice, std::string(token.text), {}, std::nullopt};
    // The token that ends a turn is no part of the answer: it only brings text that was held back.
    if (answer.request().logprobs >= 0 && !tokenizer_.EndsGeneration(token.token)) {
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

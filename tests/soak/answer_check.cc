#include "tests/soak/answer_check.h"
#include "base/json.h"

#include <algorithm>
#include <cstdlib>
#include <set>

namespace fedglm::soak {
namespace {

constexpr int kTooMany = 429, kNoMemory = 503;
constexpr size_t kShown = 300;

absl::Status Wrong(const std::string& what, const std::string& body) {
  return FailedError(what + ": " + body.substr(0, kShown));
}

absl::Status Expect(bool holds, const char* what) { return holds ? absl::OkStatus() : FailedError(what); }

std::string HeaderOf(const HttpAnswer& answer, const char* name) {
  const auto header = answer.headers.find(name);
  return header == answer.headers.end() ? "" : header->second;
}

// The functions below read with at(), which throws for what is missing: CheckAnswer makes that an error.

absl::Status CheckRefusal(const HttpAnswer& answer, const Json& body) {
  const Json& error = body.at("error");
  FEDGLM_RETURN_IF_ERROR(Expect(!error.at("message").get<std::string>().empty(), "a refusal that does not say why"));
  FEDGLM_RETURN_IF_ERROR(Expect(error.at("type").is_string(), "a refusal without a type"));
  if (answer.status != kTooMany && answer.status != kNoMemory) return absl::OkStatus();
  const int seconds = std::atoi(HeaderOf(answer, "retry-after").c_str());
  return Expect(seconds >= 1, "a refusal for lack of room without Retry-After");
}

// Every event is JSON, every choice ends once, and [DONE] is the last. A stream that has begun may end with an error
// event if the memory runs out under it, and with no other.
absl::Status CheckStream(const std::string& body, bool chat) {
  std::set<int64_t> begun, ended;
  bool out_of_memory = false;
  size_t at = 0;
  while (true) {
    const size_t end = body.find("\n\n", at);
    if (body.compare(at, 6, "data: ") != 0 || end == std::string::npos) return Wrong("no event", body.substr(at));
    const std::string data = body.substr(at + 6, end - at - 6);
    at = end + 2;
    if (data == "[DONE]") break;
    FEDGLM_ASSIGN_OR_RETURN(const Json event, ParseJson(data, "event"));
    if (event.contains("error")) {
      out_of_memory = event.at("error").at("code") == "out_of_memory_budget";
      if (!out_of_memory) return Wrong("an error in a stream", data);
      continue;
    }
    for (const Json& choice : event.at("choices")) {
      if (!choice.contains(chat ? "delta" : "text")) return Wrong("a choice of another shape", data);
      const int64_t index = choice.at("index").get<int64_t>();
      begun.insert(index);
      if (choice.at("finish_reason").is_null()) continue;
      if (!ended.insert(index).second) return Wrong("a choice that ends twice", data);
    }
  }
  FEDGLM_RETURN_IF_ERROR(Expect(at == body.size(), "something comes after [DONE]"));
  return Expect(out_of_memory || (begun == ended && !begun.empty()), "a stream whose choices do not all end");
}

absl::Status CheckPatient(const std::string& content) {
  FEDGLM_ASSIGN_OR_RETURN(const Json patient, ParseJson(content, "answer"));
  const int64_t age = patient.at("age").get<int64_t>();
  const Json& ward = patient.at("ward");
  const bool fits = patient.size() == 2 && age >= 0 && age <= 120 && (ward == "north" || ward == "south");
  return fits ? absl::OkStatus() : Wrong("not of the schema", content);
}

absl::Status CheckChoices(AnswerShape shape, const Json& answer) {
  FEDGLM_RETURN_IF_ERROR(Expect(!answer.at("choices").empty(), "no choices"));
  FEDGLM_RETURN_IF_ERROR(Expect(answer.at("usage").at("prompt_tokens") > 0, "a prompt without tokens"));
  for (const Json& choice : answer.at("choices")) {
    const auto reason = choice.at("finish_reason").get<std::string>();
    const Json& text = shape == AnswerShape::kCompletion ? choice.at("text") : choice.at("message").at("content");
    const auto content = text.get<std::string>();
    if (shape == AnswerShape::kYesOrNo && content != "yes" && content != "no") {
      return Wrong("not of the grammar", content);
    }
    if (shape == AnswerShape::kPatient && reason == "stop") FEDGLM_RETURN_IF_ERROR(CheckPatient(content));
  }
  return absl::OkStatus();
}

absl::Status CheckEmbeddings(const Json& answer) {
  FEDGLM_RETURN_IF_ERROR(Expect(answer.at("data").size() == 2, "not two embeddings"));
  for (const Json& item : answer.at("data")) {
    double square = 0;
    for (const Json& value : item.at("embedding")) square += value.get<double>() * value.get<double>();
    FEDGLM_RETURN_IF_ERROR(Expect(square > 0.99 && square < 1.01, "an embedding whose length is not 1"));
  }
  return absl::OkStatus();
}

absl::Status CheckWhole(AnswerShape shape, const Json& answer) {
  switch (shape) {
    case AnswerShape::kEmbedding:
      return CheckEmbeddings(answer);
    case AnswerShape::kTokens: {
      const auto count = answer.at("count").get<size_t>();
      return Expect(count > 0 && count == answer.at("tokens").size(), "another count of tokens");
    }
    case AnswerShape::kText:
      return Expect(answer.at("content").is_string(), "no text");
    case AnswerShape::kModels:
      return Expect(answer.at("data").size() >= 3, "not all models");
    default:
      return CheckChoices(shape, answer);
  }
}

absl::Status CheckStatusAndBody(const SoakRequest& request, const HttpAnswer& answer) {
  const bool lacks_room = answer.status == kTooMany || answer.status == kNoMemory;
  const bool refused =
      request.refused_with != 0 ? answer.status == request.refused_with : lacks_room && request.needs_engine();
  if (!refused && (request.refused_with != 0 || answer.status != 200)) {
    return Wrong("status " + std::to_string(answer.status), answer.body);
  }
  const bool streams = request.shape == AnswerShape::kChatStream || request.shape == AnswerShape::kCompletionStream;
  if (!refused && streams) return CheckStream(answer.body, request.shape == AnswerShape::kChatStream);
  FEDGLM_ASSIGN_OR_RETURN(const Json body, ParseJson(answer.body, "answer"));
  const absl::Status status = refused ? CheckRefusal(answer, body) : CheckWhole(request.shape, body);
  return status.ok() ? status : Wrong(Message(status), answer.body);
}

}  // namespace

absl::Status CheckAnswer(const SoakRequest& request, const std::string& id, const HttpAnswer& answer) {
  try {
    FEDGLM_RETURN_IF_ERROR(CheckStatusAndBody(request, answer));
  } catch (const Json::exception& error) {
    return Wrong(error.what(), answer.body);
  }
  return Expect(HeaderOf(answer, "x-request-id") == id, "another x-request-id than the request's");
}

}  // namespace fedglm::soak

#include "base/json.h"
#include "inference/api/routes.h"

namespace fedglm {
namespace {

Json ModelJson(const std::string& id, const std::string& owner, const std::string& parent) {
  Json model = {{"id", id}, {"object", "model"}, {"created", 0}, {"owned_by", owner}};
  if (!parent.empty()) model["parent"] = parent;  // the model that the adapter is for
  return model;
}

Json AllModels(const ApiContext& context) {
  Json models = Json::array({ModelJson(context.options.model_name, "fedglm", "")});
  for (const std::string& adapter : context.engine.AdapterNames()) {
    models.push_back(ModelJson(adapter, "fedglm", context.options.model_name));
  }
  for (const std::string& model : context.upstreams.Models()) models.push_back(ModelJson(model, "upstream", ""));
  return models;
}

}  // namespace

void AnswerModels(ApiContext& context, const std::shared_ptr<Exchange>& exchange) {
  exchange->SendJson({{"object", "list"}, {"data", AllModels(context)}});
}

void AnswerModel(ApiContext& context, const std::shared_ptr<Exchange>& exchange) {
  for (const Json& model : AllModels(context)) {
    if (model["id"] == exchange->parameter()) return exchange->SendJson(model);
  }
  exchange->SendStatus(NotFoundError("there is no model of this name; /v1/models lists them"));
}

}  // namespace fedglm

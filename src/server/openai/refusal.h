// Errors in the API's shape: {"error": {"message", "type", "param", "code"}}.
#pragma once

#include <chrono>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "server/generator.h"
#include "server/http.h"

namespace cachalot::openai {

// Why a request is not answered. Thrown by whoever finds out; guarded() (follow.h) tells the client.
struct Refusal {
  int status;
  std::string message;
  std::string param;  // the field, "" for none
  std::string code;   // for programs, "" for none
  std::optional<std::chrono::seconds> retry_after;

  // 400, for the value of a field.
  static Refusal field(std::string_view name, std::string_view why);
  static Refusal of(const Busy& busy);
};

nlohmann::ordered_json error_json(const Refusal& refusal);
http::Response error_response(const Refusal& refusal);

}  // namespace cachalot::openai

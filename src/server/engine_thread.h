// One thread that owns an engine and runs the requests of all connections in it.
//
// Whoever has a request leaves it in a mailbox, and so are cancellations left; between steps the thread takes all
// that is there, and it sleeps while it has nothing to do. So a cancellation acts before the next step. The lock of
// the mailbox is held for moments, never during a step.
//
// What fails. A request that the engine will not take, or has no memory for, ends with FinishReason::error alone.
// When there is no memory to plan a step, it is tried again for a while; then the request that came last ends with
// an error, and so on until a step can be made. News are kept until there is memory to hand them on.
#pragma once

#include <chrono>
#include <thread>

#include "load/loaded_model.h"
#include "server/generator.h"
#include "server/metrics.h"
#include "server/prompt_history.h"

namespace cachalot {

struct EngineThreadOptions {
  int max_waiting = 256;                           // requests that wait besides those that can run at once
  int64_t max_waiting_tokens = int64_t{16} << 20;  // in their prompts, as often as they want answers
  Metrics* metrics = nullptr;                      // outlives the thread
};

class EngineThread final : public Generator {
 public:
  // Borrows the model, which nobody else runs meanwhile.
  EngineThread(const LoadedModel& model, const EngineThreadOptions& options);
  EngineThread(Ops& ops, const Transformer& model, EngineOptions engine, const EngineThreadOptions& options);
  // Ends what runs, and the thread.
  ~EngineThread() override;

  void check(const Request& request) const override { engine_.check(request); }
  Generation start(Request request) override;

  // From now on start() throws; what runs goes on, but after that time it is cancelled. The earliest end counts. From
  // any thread.
  void stop(std::chrono::milliseconds grace);
  // After stop(): until everything has ended. By one thread.
  void join();

  const Engine& engine() const { return engine_; }  // after join()

 private:
  struct Job;
  struct Mailbox;
  using Jobs = std::vector<std::shared_ptr<Job>>;

  void run();
  bool receive();
  void submit(const std::shared_ptr<Job>& job);
  void refuse(Job& job, const std::string& reason);
  void cancel(const Job& job, std::optional<int> answer);
  void cancel_all();
  void step();
  void step_failed();
  void deliver(std::vector<Event>& events);
  void note(Job& job, Event& event, double now);
  void note_beginning(Job& job, const Event& event);
  void note_token(Job& job, const Event& event, double now);
  void note_end(Job& job, double now);
  Job* find(RequestId id) const;

  EngineThreadOptions options_;
  Engine engine_;
  PromptHistory history_;
  std::shared_ptr<Mailbox> mailbox_;  // with every Generation, which may outlive the thread
  Jobs jobs_;                         // that have not ended, in the order of their ids
  Jobs submitted_, cancelled_;        // taken from the mailbox
  std::vector<Job*> with_news_;       // in this step
  int failed_steps_ = 0;              // in a row
  std::thread thread_;
};

}  // namespace cachalot

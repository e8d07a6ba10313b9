#include "services/cli/doctor/doctor_command.h"

#include "absl/time/clock.h"
#include "common/config/command_line.h"
#include "common/http/http_call.h"
#include "fmt/format.h"
#include "services/cli/doctor/doctor_report.h"
#include "services/cli/doctor/examiner.h"
#include "services/cli/doctor/findings.h"
#include "services/cli/door_options.h"

namespace baton::cli {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(10);

struct DoctorOptions {
  config::Address http{"127.0.0.1", 8000};
  DoorOptions door;
  config::TlsOptions tls;  // towards workers
  ExamineOptions examine;
  Thresholds thresholds;
  bool json = false;
};

absl::StatusOr<ClusterPicture> AskRouter(const DoctorOptions& options) {
  const absl::Time asked = absl::Now();
  ASSIGN_OR_RETURN(const http::Reply reply,
                   http::Get(options.door.Http(options.http), "/debug/cluster", kPatience));
  if (reply.status != 200) return Unavailable("it answers {}", reply.status);
  return ReadClusterPage(reply.body, asked, absl::Now());
}

absl::Status SetUpTls(DoctorOptions& options) {
  RETURN_IF_ERROR(options.tls.Validate("doctor"));
  ASSIGN_OR_RETURN(options.examine.credentials, rpc::Credentials::MakeWithoutRole(options.tls));
  return absl::OkStatus();
}

void AddTo(config::OptionSet& set, DoctorOptions& options) {
  set.Add("http", &options.http, {.help = "HTTP door of the router"});
  options.door.AddKeyTo(set);
  options.door.AddHttpTo(set);
  options.tls.AddTo(set);
  set.Add("paths", &options.examine.paths_max,
          {.min = 0, .max = 1 << 20, .help = "paths to measure at most, one after another"});
  set.Add("answer_within", &options.examine.answer_within,
          {.min = 0.1, .max = 60, .help = "a worker that takes longer is silent"});
  set.Add("skew", &options.thresholds.clock_skew,
          {.flag = "--max-skew", .min = 0, .max = 3600, .help = "clocks may differ so much"});
  set.Add("json", &options.json, {.help = "for programs", .bare = true});
}

}  // namespace

int DoctorCommand(int argc, const char* const* argv) {
  DoctorOptions options;
  config::OptionSet set("doctor", "Options");
  AddTo(set, options);
  const config::Program program{
      .name = "baton doctor",
      .about =
          "Measures every way KV takes from a prefill to a decode worker, finds what is slow, "
          "silent or does not fit together, and says what to do. Run it where the workers' "
          "addresses can be dialled. Exit code 0: all is well; 1: findings.",
      .examples =
          "  baton doctor                        the cluster on this machine\n"
          "  baton doctor --http router:8000     from inside a larger one\n"
          "  baton doctor --json | jq .findings\n"};
  if (auto exit =
          config::ParseCommandLine(program, argc, argv, config::ProcessEnvironment(), {&set})) {
    return config::Leave(*exit);
  }
  const absl::Status tls = SetUpTls(options);
  if (!tls.ok()) {
    fmt::print(stderr, "baton doctor: {}\n", MessageOf(tls));
    return config::kExitConfig;
  }
  absl::StatusOr<ClusterPicture> picture = AskRouter(options);
  if (!picture.ok()) {
    fmt::print(stderr, "baton doctor: no word from a router at {}: {}\n", options.http.text(),
               MessageOf(picture.status()));
    return 1;
  }
  ExamineWorkers(options.examine, *picture);
  const size_t paths = ProbePaths(options.examine, *picture);
  const std::vector<Finding> findings = FindingsOf(*picture, BATON_VERSION, options.thresholds);
  fmt::print("{}", (options.json ? DoctorJson : DoctorText)(*picture, paths, findings));
  return findings.empty() ? 0 : 1;
}

}  // namespace baton::cli

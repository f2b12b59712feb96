#include "aggregator/options/aggregator_options.h"

namespace fedglm {
namespace {

// A line "# key = value" shows a default that is seldom changed; a test reads the file with and without them.
constexpr char kFirstFile[] =
    R"(# The configuration of fedglm-aggregator. Paths are relative to this file's folder. A variable of the environment
# overrides a key: FEDGLM_SERVER_LISTEN. docs/federation-protocol.md lists every key.

[federation]
name = "federation"               # cannot change later
initial_adapter = "first-adapter" # a folder made by `fedglm adapter init`; read at the first start only
mode = "freeze-a"                 # or average, stack, fedsgd; cannot change later
rounds = 10                       # may be raised between two starts
min_sites = 3                     # a round begins when this many sites have asked for work
min_updates = 3                   # a round is not closed with fewer updates; fewer than 3 hide no site from another
round_timeout_seconds = 86400     # then a round is closed with those that are there
# silence_seconds = 600           # a round with min_updates does not wait for a site that is silent so long
# server_learning_rate = 1.0      # of mode fedsgd

[aggregation]
# strategy = "fedavg"             # default: the mode's; cannot change later
# norm_bound = 3.0                # an update longer than this times the median is scaled down; 0: never
# max_weight_share = 0.5          # no site counts for more of the mean; 0: all count the same
# reject_share = 0.5              # an adapter that more of its sites decline is taken back; 1: never

[training]                        # what every site does in a round: docs/training-plan.md
steps = 20
batch_tokens = 2048
sequence_length = 1024            # longer records are cut
learning_rate = 1e-3
# optimizer = "adamw"             # or sgd
# weight_decay = 0.0
# momentum = 0.0                  # of sgd
# beta1 = 0.9                     # this and the next two: of adamw
# beta2 = 0.999
# epsilon = 1e-8
# warmup_steps = 0
# schedule = "constant"           # or cosine, over all rounds
# clip_norm = 1.0                 # bound on the norm of a step's gradient; 0: none
# seed = 1                        # order of the records
# arithmetic = "served"           # as the engine multiplies; or exact, in float32

[server]
listen = "127.0.0.1:7443"                 # sites and administrators; "0.0.0.0:7443": also from other machines
enrolment_listen = "127.0.0.1:7444"       # new sites
host_names = ["localhost", "127.0.0.1"]   # in the server's certificate; sites dial the first one
# advertise = "localhost"                 # what sites are told to dial, HOST or HOST:PORT, if it is another one
# enrolment_advertise = "localhost"       # and new sites, if these are told another one
state_dir = "state"                       # the federation's keys and all that it knows: keep it private, back it up
# certificate_days = 365                  # of sites' certificates

[limits]
# max_update_bytes = "4GiB"       # a lower limit follows from the adapter

[log]
level = "info"                    # or debug, warning, error
# file = "aggregator.log"         # default: stderr
# json = false
)";

}  // namespace

std::string_view AggregatorOptions::FirstFile() { return kFirstFile; }

}  // namespace fedglm

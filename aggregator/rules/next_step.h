// What a site is told to do next, and what the sites together make of an adapter.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fedglm {

// What a site says of itself whenever it asks for work.
struct SitePosition {
  int64_t installed_round = -1;       // of the adapter that runs there; -1: none
  std::string installed_sha256;       // its artifact; empty: none, or an older node, which does not say
  std::string declined_sha256;        // an artifact that it does not use: it does not run there, or its own records
                                      // speak against it
  bool trains_from_declined = false;  // the latter: it can be trained from all the same
  int64_t training_records = 0;
  std::string setback;   // a word of IsSetback for what keeps it from its task; empty: nothing
  std::string version;   // of its program
  std::string instance;  // made at random at its start (Instances); empty: an older node
};

// Words, never text: what keeps a site from its task must not tell what is in its records.
bool IsSetback(std::string_view word);

// What the federation is at, for this site.
struct FederationPosition {
  int64_t round = 0;           // whose adapter is the latest
  std::string adapter_sha256;  // that adapter
  bool expected = false;       // an update of this site for the open round
  bool finished = false;       // no round is open, and none will be
};

enum class NextStep { kWait, kInstall, kTrain, kFinished };

// A site runs the latest adapter, whatever the number of its round: an aggregator that was restored from a copy is
// behind its sites, and they follow it. What the site declined is not offered again.
NextStep StepFor(const SitePosition& site, const FederationPosition& federation);

// Whether an adapter is to be taken back: more than this share of the sites that made it decline it.
bool IsRejected(int64_t declined, int64_t sites, double reject_share);

}  // namespace fedglm

#!/usr/bin/env python3
"""Writes Baton's Grafana dashboards, helm/baton/dashboards/*.json (Helm packs only what is in the chart's folder).

  deploy/observability/dashboards.py [--check]     --check: exit status 1 when the files are not what this would write

What a metric means is in docs/operations/metrics.md.
"""
import pathlib
import sys

from panels import Panel, dashboard, now, over, quantiles, rate, series, text_of, variable

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "helm/baton/dashboards"
TTFT, ITL = "baton_request_ttft_seconds", "baton_request_itl_seconds"
BY_WORKER = "{{pod}} {{instance}}"
# The chart's defaults: monitoring.rules.ttftSeconds, and the hundredth that BatonRequestsFail and BatonHandOversFail bear.
TTFT_LATE, FAILED_MANY = 5, 0.01


def failed_share():
    return over(rate("baton_requests_total", outcome="failed"), rate("baton_requests_total"))


def first_token(width=8):
    return Panel("Time to the first token", "From acceptance to the first token, at the router. The line is where "
                 "BatonFirstTokenLate looks at p95 unless the chart was told otherwise.", "s", quantiles(TTFT), width=width, red=TTFT_LATE)


def between_tokens(width=8):
    return Panel("Time between tokens", "Between consecutive tokens of a choice, at the router.", "s", quantiles(ITL), width=width)


def requests(width=8):
    return Panel("Requests by outcome", "Requests that ended. Clients that hang up are cancelled, not failed.", "reqps",
                 [(rate("baton_requests_total", by="outcome"), "{{outcome}}")], width=width, stacked=True)


def decisions(width=8):
    return Panel("Where prompts are computed", "Placements by reason: policy_remote and remote_cheaper go to a prefill worker, "
                 "the others stay where tokens are generated.", "ops",
                 [(rate("baton_placement_decisions_total", by="reason"), "{{reason}}")], width=width, stacked=True)


def blocks_in_use(by, legend, width=8, **labels):
    used = now("baton_kv_blocks", by=by, state="active|quarantined|replaced", **labels)
    return Panel("KV blocks in use", "Blocks of running sequences, and those that wait for a hand-over's end; what is cached can be "
                 "evicted and counts as free. At 100 % sequences wait or are preempted.", "percentunit",
                 [(over(used, now("baton_kv_blocks", by=by, **labels)), legend)], width=width, maximum=1)


def busy(by, legend, width=8, **labels):
    spent = rate("baton_step_work_seconds_total", by=by, **labels)
    return Panel("Busy computing", "Share of the time spent in steps that only computed prompts or only generated tokens. A worker "
                 "that does both at once is busier than this says.", "percentunit",
                 [(over(spent, f"count{f' by ({by})' if by else ''} ({series('baton_waiting_prompt_tokens', **labels)})"), legend)],
                 width=width, maximum=1)


def hits(width=8, **labels):
    found = rate("baton_prompt_tokens_total", source="prefix_cache", **labels)
    return Panel("Prefix cache hit rate", "Prompt tokens found in the prefix cache, of all that were looked for.", "percentunit",
                 over(found, rate("baton_prompt_tokens_total", source="prefix_cache|computed", **labels)), width=width, maximum=1)


def overview():
    one = {"kind": "stat", "width": 4}
    return dashboard("baton-overview", "Baton / Overview", "Is the service well, and which pool is short.", "baton_requests_inflight", {
        "Service": [
            Panel("Requests", "Ended per second.", "reqps", rate("baton_requests_total"), **one),
            Panel("Failed", "Share of the requests that failed; red where BatonRequestsFail fires.", "percentunit", failed_share(),
                  red=FAILED_MANY, **one),
            Panel("First token, p95", "At the router.", "s", quantiles(TTFT, which=[("p95", 0.95)]), red=TTFT_LATE, **one),
            Panel("Between tokens, p95", "At the router.", "s", quantiles(ITL, which=[("p95", 0.95)]), **one),
            Panel("Prefill workers ready", "As the router that sees most of them says. None: decode workers compute prompts.", "none",
                  now("baton_workers", how="max", role="prefill", state="ready"), **one),
            Panel("Decode workers ready", "As the router that sees most of them says. None: every request is refused.", "none",
                  now("baton_workers", how="max", role="decode", state="ready"), red_below=1, **one)],
        "Requests": [requests(), first_token(), between_tokens()],
        "Load": [
            Panel("Tokens", "Prompt tokens accepted, those of completed requests that were found in a prefix cache, tokens generated.",
                  "short", [(rate("baton_accepted_prompt_tokens_total"), "prompt tokens/s"),
                            (rate("baton_prompt_cached_tokens_total"), "of these cached/s"),
                            (rate("baton_completion_tokens_total"), "output tokens/s")]),
            Panel("Requests in the system", "In flight, and of these waiting in the routers; sequences that wait at workers.", "short",
                  [(now("baton_requests_inflight"), "in flight"), (now("baton_router_queue_requests"), "waiting in routers"),
                   (now("baton_sequences", by="role", state="waiting"), "waiting at {{role}} workers")]),
            decisions()],
        "Pools": [
            busy("role", "{{role}}"), blocks_in_use("role", "{{role}}"),
            Panel("KV handed over", "Bytes received by decode workers per second.", "Bps",
                  rate("baton_kv_transfer_bytes_total", role="decode"))]})


def router():
    waits = quantiles("baton_router_queue_wait_seconds", by="urgency", legend="{{urgency}} ", which=[("p50", 0.5), ("p95", 0.95)])
    return dashboard("baton-router", "Baton / Router", "Rate, errors, duration; the queue; where requests are placed.",
                     "baton_requests_inflight", {
        "Rate and errors": [
            requests(),
            Panel("HTTP answers by status", "Everything on the HTTP door, health and metrics too.", "reqps",
                  [(rate("baton_http_responses_total", by="route, status"), "{{status}} {{route}}")]),
            Panel("Refused", "By the queue (429, 503) with the reason, and for want of any decode worker of the model. "
                  "BatonTurnsAway fires when it goes on for five minutes.", "reqps",
                  [(rate("baton_router_turned_away_total", by="reason"), "{{reason}}"),
                   (rate("baton_requests_without_worker_total"), "no worker")])],
        "Duration": [
            first_token(), between_tokens(),
            Panel("Whole requests", "From acceptance to the end, of completed requests; as long as the answers are.", "s",
                  quantiles("baton_request_duration_seconds")),
            Panel("Time to the first token, spread", "How many requests per second had their first token in which time.", "s",
                  [(rate(f"{TTFT}_bucket", by="le"), "{{le}}")], kind="heatmap", width=16),
            Panel("Mean time per output token", "Of the gaps that the routers saw.", "s",
                  over(rate(f"{ITL}_sum"), rate(f"{ITL}_count")))],
        "Queue": [
            Panel("Waiting requests", "By tenant and urgency (priority below, at, above 0).", "short",
                  [(now("baton_router_queue_requests", by="tenant, urgency"), "{{tenant}} {{urgency}}")], stacked=True),
            Panel("Time in the queue", "Of requests that waited and then began; empty while none does.", "s", waits),
            Panel("Tokens by tenant", "Served: prompt tokens computed, output tokens generated.", "short",
                  [(rate("baton_tenant_tokens_total", by="tenant, kind"), "{{tenant}} {{kind}}/s")])],
        "Placement": [
            decisions(),
            Panel("Prediction error", "By how much the first token came later, or earlier, than the placement expected. Policies that "
                  "estimate nothing have none.", "s",
                  quantiles("baton_placement_ttft_error_seconds", by="came", legend="{{came}} ", which=[("p50", 0.5), ("p95", 0.95)])),
            Panel("Turned", "Decode workers that knew better than the placement where to compute the prompt.", "ops",
                  [(rate("baton_placement_turned_total", by="to"), "to {{to}}")])],
        "What goes wrong": [
            Panel("Moved requests", "Given to another decode worker because theirs was lost or drained; workers given no work for a "
                  "while. BatonWorkerEjected fires on the last.", "ops",
                  [(rate("baton_requests_resubmitted_total"), "resubmitted"), (rate("baton_requests_migrated_total"), "migrated"),
                   (rate("baton_worker_ejections_total"), "workers ejected")]),
            Panel("Workers", "As the router that sees most of them says.", "short",
                  [(now("baton_workers", by="role, state", how="max"), "{{role}} {{state}}")]),
            Panel("Connections and index", "Open HTTP connections; blocks in the KV index.", "short",
                  [(now("baton_http_connections"), "connections"), (now("baton_kv_index_blocks"), "indexed blocks")])]})


def pool(role, kind, rows):
    """What both kinds of worker have; `kind`: the steps that this pool is there for."""
    own = {"role": role, "model": "$model"}
    steps = rate("baton_step_work_steps_total", by="pod, instance", kind=kind, **own)
    work = [
        Panel("Time per step", f"Of steps that were {kind} alone.", "s",
              [(over(rate("baton_step_work_seconds_total", by="pod, instance", kind=kind, **own), steps), BY_WORKER)]),
        Panel("Tokens per step", "Prompt tokens in a chunk." if kind == "prefill" else "The batch: a step generates a token per sequence.",
              "short", [(over(rate("baton_step_work_tokens_total", by="pod, instance", kind=kind, **own), steps), BY_WORKER)]),
        busy("pod, instance", BY_WORKER, **own)]
    waiting = [
        Panel("Running", "Sequences in the batch.", "short", [(now("baton_sequences", by="pod, instance", state="running", **own), BY_WORKER)]),
        Panel("Waiting", "Sequences that have not begun.", "short",
              [(now("baton_sequences", by="pod, instance", state="waiting", **own), BY_WORKER)]),
        Panel("Prompt tokens ahead", "Accepted and not yet computed, waiting and running.", "short",
              [(now("baton_waiting_prompt_tokens", by="pod, instance", **own), BY_WORKER)])]
    memory = [
        Panel("KV blocks by state", "All workers together.", "short", [(now("baton_kv_blocks", by="state", **own), "{{state}}")], stacked=True),
        blocks_in_use("pod, instance", BY_WORKER, **own),
        Panel("Preemptions", "Sequences put off for lack of blocks. Lasting: more KV memory, or more workers.", "ops",
              [(rate("baton_preemptions_total", by="pod, instance", **own), BY_WORKER)])]
    return dashboard(f"baton-{role}", f"Baton / {role.capitalize()} workers", f"Saturation of the {role} pool.", "baton_sequences",
                     {"Work": work, "Sequences": waiting, "KV memory": memory} | rows(own),
                     [variable("model", f'label_values(baton_sequences{{namespace=~"$namespace", job=~"$job", role="{role}"}}, model)', "Model")])


def prefill():
    return pool("prefill", "prefill", lambda own: {"Prompts": [
        Panel("Prompt tokens computed", "Per second, by worker.", "short",
              [(rate("baton_prompt_tokens_total", by="pod, instance", source="computed", **own), BY_WORKER)]),
        hits(**own),
        Panel("KV sent", "Bytes handed over per second, by worker.", "Bps",
              [(rate("baton_kv_transfer_bytes_total", by="pod, instance", **own), BY_WORKER)])]})


def decode():
    return pool("decode", "decode", lambda own: {"Tokens": [
        Panel("Tokens generated", "Per second, by worker.", "short",
              [(rate("baton_output_tokens_total", by="pod, instance", **own), BY_WORKER)]),
        between_tokens(),
        Panel("Prompt tokens computed here", "Per second: prompts, or ends of prompts, that no prefill worker computed.", "short",
              [(rate("baton_prompt_tokens_total", by="pod, instance", source="computed", **own), BY_WORKER)]),
        hits(**own)]})


def handover():
    received = {"role": "decode"}
    ended = rate("baton_kv_transfers_total", **received)
    spent = rate("baton_kv_transfer_seconds_total", **received)
    size = rate("baton_kv_transfer_bytes_total", **received)
    return dashboard("baton-handover", "Baton / KV hand-over", "KV on its way from prefill to decode workers, as decode workers count it.",
                     "baton_kv_transfer_bytes_total", {
        "Rate": [
            Panel("Hand-overs by outcome", "Ended per second, at the receivers.", "ops",
                  [(rate("baton_kv_transfers_total", by="outcome", **received), "{{outcome}}")], stacked=True),
            Panel("Bytes", "Received, by worker.", "Bps",
                  [(rate("baton_kv_transfer_bytes_total", by="pod, instance", **received), BY_WORKER)], stacked=True),
            Panel("Failed", "Share of the hand-overs; their prompts are computed again. The line is where BatonHandOversFail fires.",
                  "percentunit", over(rate("baton_kv_transfers_total", outcome="failed", **received), ended), red=FAILED_MANY)],
        "Duration": [
            Panel("Speed on the wire", "Bytes over the time in which senders had a put under way, by sender. `baton doctor` measures the "
                  "same path with nothing else on it.", "Bps",
                  [(over(rate("baton_kv_transfer_bytes_total", by="pod, instance", role="prefill"),
                         rate("baton_kv_transfer_seconds_total", by="pod, instance", role="prefill")), BY_WORKER)]),
            Panel("Mean time", "At receivers, from asked for to verified: the prefill worker's queue and computing are in it.", "s",
                  over(spent, ended)),
            Panel("Mean size", "Of a hand-over.", "bytes", over(size, ended)),
            Panel("Under way", "Hand-overs at once, on average.", "short",
                  [(rate("baton_kv_transfer_seconds_total", by="pod, instance", **received), BY_WORKER)])],
        "Integrity": [
            Panel("Wrong bytes", "Blocks whose checksum was another than the sender's; no request reads them. BatonKvCorrupted fires at "
                  "the first.", "short", [(rate("baton_kv_checksum_mismatches_total", by="pod, instance"), BY_WORKER)], red=1e-9),
            Panel("Sent and received", "What prefill workers count beside what decode workers count.", "Bps",
                  [(rate("baton_kv_transfer_bytes_total", by="role"), "{{role}}")])]})


def scaling():
    def planner(metric, legend="{{pool}}", by="pool"):
        return [(now(f"baton_planner_{metric}", by=by, how="max", pool="$pool"), legend)]

    def traffic(metric):
        return now(f"baton_planner_{metric}", how="max")

    return dashboard("baton-scaling", "Baton / Scaling", "What the planner sees, and how many workers it wants of each.",
                     "baton_planner_dry_run", {
        "Plan": [
            Panel("Workers", "Desired (within bounds and budget), needed (before them), and there.", "short",
                  planner("desired_replicas", "{{pool}} desired") + planner("needed_replicas", "{{pool}} needed")
                  + planner("present_replicas", "{{pool}} present"), width=16),
            Panel("What decides", "The reason that holds now, of each pool.", "none",
                  [(now("baton_planner_reason", by="pool, reason", how="max", pool="$pool") + " == 1", "{{pool}}: {{reason}}")], stacked=True),
            Panel("Changes", "Changed plans per second, up and down: a pool that goes to and fro needs longer cool-downs.", "ops",
                  [(rate("baton_planner_changes_total", by="pool, direction", pool="$pool"), "{{pool}} {{direction}}")])],
        "Traffic that it plans for": [
            Panel("Requests", "Accepted per second by routers, over the last seconds.", "reqps", traffic("requests_per_second")),
            Panel("Tokens of a request", "On average, lately.", "short",
                  [(traffic("request_prompt_tokens"), "prompt"), (traffic("request_output_tokens"), "output")]),
            Panel("Cached", "Share of prompt tokens found in a prefix cache.", "percentunit", traffic("cached_ratio"), maximum=1),
            Panel("Waiting in routers", "Requests.", "short", traffic("queued_requests")),
            Panel("Pace of decode", "Time between tokens over what the workers' own step models say: 1 is as expected.", "none",
                  traffic("itl_pace_ratio"))],
        "The planner itself": [
            Panel("Age of the plan", "Grows while no router answers; pools then stay as they are.", "s",
                  [(f"time() - {traffic('last_plan_timestamp_seconds')}", "age")]),
            Panel("Routers", "That answered, and that failed, at its last look.", "short",
                  [(now("baton_planner_routers", by="state", how="max"), "{{state}}")]),
            Panel("Dry run", "1: plans are published and nobody follows.", "none", traffic("dry_run"), kind="stat", width=4)]},
        [variable("pool", 'label_values(baton_planner_desired_replicas{namespace=~"$namespace", job=~"$job"}, pool)', "Pool")])


def boards():
    return [overview(), router(), prefill(), decode(), handover(), scaling()]


def main():
    wrong = 0
    for board in boards():
        path = FOLDER / f"{board['uid'].removeprefix('baton-')}.json"
        if sys.argv[1:] != ["--check"]:
            path.write_text(text_of(board))
        elif not path.exists() or path.read_text() != text_of(board):
            print(f"{path} is not what dashboards.py writes")
            wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main())

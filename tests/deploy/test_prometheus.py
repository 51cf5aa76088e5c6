"""Rules and dashboards: promtool's judgement, and a real Prometheus that scrapes a real goheapd and answers every query."""
import json
import os
import re
import subprocess
import time
import urllib.parse

import pytest
import yaml

from harness.daemon import Daemon, fetch, free_port
from tools import DEPLOY, PROMETHEUS, TREE, run

PROMTOOL = PROMETHEUS / "promtool"
RULES = sorted((DEPLOY / "prometheus").glob("*.rules.yml"))
DASHBOARDS = sorted((DEPLOY / "grafana").glob("*.json"))
RULE_TESTS = sorted((TREE / "tests/deploy/prometheus").glob("*.test.yml"))
# There only where a cgroup sets a limit, or is not the root.
MAY_BE_MISSING = {"goheapd_memory_limit_bytes", "goheapd_memory_usage_bytes",
                  "goheapd_web_certificate_not_before_timestamp_seconds",  # without TLS
                  "goheapd_web_certificate_not_after_timestamp_seconds"}
FROM_PROMETHEUS = {"up"}
NAME = re.compile(r"\b(?:[a-z]+:)?(?:goheapd|process|go)_[a-z0-9_]+(?::[a-z0-9_]+)?\b|\bup\b")


def rules():
    return [rule for file in RULES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


def panels(dashboard):
    return [panel for panel in json.loads(dashboard.read_text())["panels"] if panel["type"] != "row"]


def queries(dashboard):
    return [(f"{panel['title']} {target['refId']}", target["expr"]) for panel in panels(dashboard) for target in panel["targets"]]


def without_strings(expression):
    return re.sub(r'"[^"]*"', '""', expression)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """A Prometheus, which is a Go program, profiled by a goheapd that it scrapes."""
    folder = tmp_path_factory.mktemp("prometheus")
    daemon_port, port = free_port(), free_port()
    config = {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
              "rule_files": [str(file) for file in RULES],
              "scrape_configs": [{"job_name": "goheapd", "honor_labels": True,
                                  "static_configs": [{"targets": [f"127.0.0.1:{daemon_port}"]}]},
                                 # Each profiled program, as if it exported its Go collector's metrics itself.
                                 {"job_name": "programs",
                                  "http_sd_configs": [{"url": f"http://127.0.0.1:{daemon_port}/api/v1/sd",
                                                       "refresh_interval": "1s"}]},
                                 {"job_name": "itself", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}]}
    (folder / "web.yml").write_text("{}")
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    log = open(folder / "log", "w")
    prometheus = subprocess.Popen(
        [PROMETHEUS / "prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
         f"--web.listen-address=127.0.0.1:{port}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        env={**os.environ, "GOMEMLIMIT": "4GiB"})   # what is shown of a limit needs one
    try:
        with Daemon(prometheus.pid, arguments=["--web.listen-address", f"127.0.0.1:{daemon_port}",
                                               "--web.config.file", folder / "web.yml"]) as daemon:
            daemon.wait_for_state(prometheus.pid)

            def ask(expression):
                answer = fetch(f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode({"query": expression})).json()
                assert answer["status"] == "success", answer
                return answer["data"]["result"]
            # A counter's rate wants two scrapes, a pause's quantile two garbage collections.
            deadline = time.monotonic() + 60
            while not (ask("increase(goheapd_gc_pause_seconds_count[30s]) > 0") and ask("increase(goheapd_alloc_objects_total[30s]) > 0")):
                assert time.monotonic() < deadline, f"no data: {daemon.log()}\n{(folder / 'log').read_text()}"
                # Makes it allocate.
                for _ in range(20):
                    ask('count({__name__=~".+"})')
                time.sleep(0.2)
            yield daemon, ask
    finally:
        prometheus.kill()
        prometheus.wait()
        log.close()


# Of a Go collector older than the present one: gone since client_golang 1.15.
GONE = {"go_memstats_gc_cpu_fraction", "go_memstats_lookups_total"}
# What the well-known dashboards for Go programs show (grafana.com 6671 and 10826, among others).
GO_DASHBOARDS = [
    "go_goroutines{%s}", "go_threads{%s}", "go_info{%s}", "go_memstats_alloc_bytes{%s}",
    "rate(go_memstats_alloc_bytes_total{%s}[30s])", "rate(go_memstats_mallocs_total{%s}[30s])",
    "go_memstats_mallocs_total{%s} - go_memstats_frees_total{%s}", "go_memstats_heap_inuse_bytes{%s}",
    "go_memstats_heap_idle_bytes{%s}", "go_memstats_heap_objects{%s}", "go_memstats_stack_inuse_bytes{%s}",
    "go_memstats_sys_bytes{%s}", "go_memstats_next_gc_bytes{%s}", "time() - go_memstats_last_gc_time_seconds{%s}",
    'go_gc_duration_seconds{%s, quantile="0.75"}', "rate(go_gc_duration_seconds_count{%s}[30s])",
    "irate(go_gc_duration_seconds_sum{%s}[30s])", "process_resident_memory_bytes{%s}", "process_virtual_memory_bytes{%s}",
    "rate(process_cpu_seconds_total{%s}[30s])", "process_open_fds{%s} / process_max_fds{%s}", "time() - process_start_time_seconds{%s}"]


def test_go_dashboards_have_data(fleet):
    """Through /api/v1/sd alone, with no word of configuration about the program."""
    _, ask = fleet
    deadline = time.monotonic() + 30
    while not ask('rate(go_gc_duration_seconds_count{job="programs"}[30s])'):
        assert time.monotonic() < deadline, ask('up{job="programs"}')
        time.sleep(0.2)
    for query in GO_DASHBOARDS:
        assert ask(query.replace("%s", 'job="programs"')), query


def test_the_same_as_the_programs_own_collector(fleet):
    """Prometheus exports the metrics of client_golang itself: every name and type is also ours."""
    daemon, ask = fleet
    [series] = ask('go_info{job="programs"}')
    own_address = ask('go_info{job="itself"}')[0]["metric"]["instance"]
    ours = daemon.get(f"/targets/{series['metric']['pid']}/metrics").text
    own = fetch(f"http://{own_address}/metrics").text

    def types(text):
        return {name: kind for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)
                if name.startswith("process_") or re.match("go_(memstats_|gc_duration|goroutines|threads|info)", name)}
    theirs = {name: kind for name, kind in types(own).items() if name not in GONE and "network" not in name}
    assert len(theirs) > 30
    assert theirs.items() <= types(ours).items()
    for constant in ("process_start_time_seconds", "process_max_fds", "process_virtual_memory_max_bytes"):
        values = [float(re.search(rf"^{constant} (\S+)$", text, re.MULTILINE)[1]) for text in (own, ours)]
        assert values[0] == pytest.approx(values[1], rel=1e-12, abs=0.011), constant
    # Ours are as of a moment before, but with what the processors have not handed in yet, which runtime/metrics leaves out
    # and ReadMemStats does not: at most a span of each class for each of them.
    for growing, cached in (("go_memstats_mallocs_total", 500_000), ("go_memstats_alloc_bytes_total", 16 << 20)):
        values = [float(re.search(rf"^{growing} (\S+)$", text, re.MULTILINE)[1]) for text in (ours, own)]
        assert 0.5 * values[1] < values[0] <= values[1] + cached, growing
    result = subprocess.run([PROMTOOL, "check", "metrics"], input=ours, text=True, capture_output=True, timeout=60)
    # It dislikes the name that client_golang itself gives this one.
    complaints = [line for line in result.stdout.splitlines() if not line.startswith("go_memstats_alloc_bytes_total")]
    assert not complaints and result.returncode in (0, 3), result.stdout + result.stderr


def test_rules_are_clean():
    assert len(RULES) == 2
    run(PROMTOOL, "check", "rules", "--lint=all", "--lint-fatal", *RULES)


@pytest.mark.parametrize("file", RULE_TESTS, ids=lambda file: file.name)
def test_rules_do_what_they_say(file):
    run(PROMTOOL, "test", "rules", file)


def test_every_rule_is_tested():
    tested = "".join(file.read_text() for file in RULE_TESTS)
    for rule in rules():
        assert re.search(rf"\b{rule.get('alert') or rule['record']}\b", tested), rule


def test_losses_about_which_nothing_is_to_be_done_do_not_count():
    table = (TREE / "README.md").read_text().split("What `goheapd_lost_events_total{reason=...}` counts")[1].split("\n## ")[0]
    remedies = {name: remedy for names, remedy in re.findall(r"^\| (`.*`) \| .* \| (.*) \|$", table, re.MULTILINE)
                for name in re.findall(r"`(\w+)`", names)}
    ratio, = (rule["expr"] for rule in rules() if rule.get("record") == "instance:goheapd_lost_events:ratio_rate5m")
    pattern, again = re.findall(r'reason!~"([^"]*)"', ratio)
    assert pattern == again
    left_out = {name for name in remedies if re.fullmatch(pattern, name)}
    assert {name for name, remedy in remedies.items() if re.match("nothing(;|$)", remedy)} <= left_out
    assert not left_out & {"ring_full", "counts_full", "stacks_full", "bad_stack", "verdict_missed"}
    for alternative in re.sub(r"\((\w+)\|(\w+)\|(\w+)\)(\w+)", r"\1\4|\2\4|\3\4", pattern).split("|"):
        assert alternative in remedies, alternative   # a reason that there is


def test_alerts_say_what_to_do():
    page = (DEPLOY / "prometheus" / "README.md").read_text()
    alerts = [rule for rule in rules() if "alert" in rule]
    for alert in alerts:
        assert set(alert["annotations"]) == {"summary", "description"}
        assert alert["labels"]["severity"] in ("info", "warning", "critical")
        assert f"\n## {alert['alert']}\n" in page
        # Of a program: where it runs, if that is known.
        assert ("$labels.pid" in alert["annotations"]["summary"]) is ("$labels.pod" in alert["annotations"]["summary"])
    assert len(re.findall(r"^## Go", page, re.MULTILINE)) == len(alerts)


def test_metrics_are_clean(fleet):
    daemon, _ = fleet
    run_input = daemon.get("/metrics").text
    result = subprocess.run([PROMTOOL, "check", "metrics"], input=run_input, text=True, capture_output=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr


def test_only_metrics_that_exist(fleet):
    daemon, _ = fleet
    exist = set(MAY_BE_MISSING | FROM_PROMETHEUS)
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", daemon.get("/metrics").text, re.MULTILINE):
        exist |= {name + suffix for suffix in ("_bucket", "_sum", "_count")} if kind == "histogram" else {name}
    exist |= {rule["record"] for rule in rules() if "record" in rule}
    expressions = [rule["expr"] for rule in rules()] + [expr for file in DASHBOARDS for _, expr in queries(file)]
    used = {name for expression in expressions for name in NAME.findall(without_strings(expression))}
    assert len(used) > 20
    assert used <= exist, used - exist


def test_every_rule_can_be_evaluated(fleet):
    _, ask = fleet
    for rule in rules():
        ask(rule["expr"])
    for healthy in ("GoheapdDown", "GoheapdConfigReloadFailed", "GoheapdCannotAttach", "GoheapdMayNotLook",
                    "GoheapdTargetsWithoutSeries"):
        assert not ask(next(rule["expr"] for rule in rules() if rule.get("alert") == healthy)), healthy


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda file: file.name)
def test_dashboard_has_data(dashboard, fleet):
    _, ask = fleet
    # Outside of Kubernetes: ".*" is what Grafana makes of "All" there.
    values = {"job": "goheapd", "instance": ".*", "namespace": ".*", "workload": ".*", "pod": ".*", "comm": "prometheus", "pid": ".*", "__rate_interval": "30s"}
    if dashboard.name == "goheapd-process.json":
        values["instance"] = ask("goheapd_build_info")[0]["metric"]["instance"]
        values["comm"] = ask("goheapd_target_info")[0]["metric"]["comm"]
    empty = []
    for title, expression in queries(dashboard):
        expression = re.sub(r"\$(__rate_interval|\w+)", lambda match: values[match[1]], expression)
        if not ask(expression) and not any(name in expression for name in MAY_BE_MISSING):
            empty.append((title, expression))
    assert not empty


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda file: file.name)
def test_dashboard_is_portable(dashboard):
    board = json.loads(dashboard.read_text())
    assert board["id"] is None and board["uid"] == dashboard.stem
    variables = {variable["name"] for variable in board["templating"]["list"]}
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    for panel in panels(dashboard):
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["fieldConfig"]["defaults"]["unit"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            assert set(re.findall(r"\$(\w+)", target["expr"])) <= variables | {"__rate_interval"}
    places = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert place["x"] + place["w"] <= 24 and not cells & places, panel["title"]
        places |= cells

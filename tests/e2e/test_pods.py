"""Go processes in pods: real cgroups, an API server's stand-in, the kubelet's log files."""
import signal
import uuid

import pytest

from harness.daemon import Daemon
from harness.kubernetes import NODE, ApiServer, pod, pod_cgroup
from harness.target import Target

LABELS = {"app": "shop", "pod-template-hash": "5d9f7c6b8"}


@pytest.fixture
def in_pod():
    """A Go program in a pod: (target, the pod's uid, the container's id)."""
    uid, container_id = str(uuid.uuid4()), uuid.uuid4().hex * 2
    with Target.of(24, profile_rate=1) as target, pod_cgroup(target.pid, uid, container_id):
        target.run("direct", 100)   # without it, what there is to be sampled is the runtime's own doing
        yield target, uid, container_id


def test_the_api_server_names_a_process(in_pod, tmp_path):
    target, uid, container_id = in_pod
    with ApiServer(tmp_path) as api:
        api.put(pod("shop-5d9f7c6b8-x2k4p", uid, "web", container_id, labels=LABELS))
        with Daemon(target.pid, arguments=api.arguments) as daemon:
            row = daemon.wait_for_state(target.pid)
            assert (row["namespace"], row["pod"], row["container"]) == ("shop", "shop-5d9f7c6b8-x2k4p", "web")
            assert row["container_id"] == container_id
            assert row["kubernetes"] == {"pod_uid": uid, "node": "node-1", "labels": LABELS,
                                         "workload": {"kind": "Deployment", "name": "shop"}}
            names = {"pid": str(target.pid), "namespace": "shop", "container": "web", "pod": "shop-5d9f7c6b8-x2k4p"}
            daemon.wait_until(lambda: daemon.metrics().sum("goheapd_live_bytes", **names) > 0, "no live heap of the pod")
            metrics = daemon.metrics()
            assert metrics.sum("goheapd_target_info", node="node-1", workload="shop", workload_kind="Deployment") == 1
            assert metrics.sum("goheapd_kubernetes_api_up") == 1
            [group] = daemon.get("/api/v1/sd").json()
            assert group["labels"]["__meta_kubernetes_pod_name"] == "shop-5d9f7c6b8-x2k4p"
            assert group["labels"]["__meta_kubernetes_pod_label_app"] == "shop"
            assert group["labels"]["__meta_kubernetes_pod_container_name"] == "web"
            comments = daemon.profile(target.pid).comments
            assert "pod shop/shop-5d9f7c6b8-x2k4p, container web, Deployment shop" in comments

            # What the server has forgotten is listed anew; nobody is detached for that.
            api.expire()
            daemon.wait_until(lambda: ("list", "") in api.requests, "no list after the watch has expired")
            assert daemon.targets()[target.pid]["state"] == "attached"


def test_annotations_decide_while_the_process_runs(in_pod, tmp_path):
    target, uid, container_id = in_pod

    def annotate(**annotations):
        named = {f"goheapd.io/{name}": value for name, value in annotations.items()}
        api.put(pod("web-0", uid, "web", container_id, annotations=named))

    with ApiServer(tmp_path) as api:
        annotate(profile="false")
        with Daemon(target.pid, arguments=api.arguments) as daemon:
            row = daemon.wait_for_state(target.pid, "ignored")
            daemon.wait_until(lambda: "goheapd.io/profile" in daemon.targets()[target.pid]["reason"], "not by annotation")
            assert row["attached_at"] is None
            annotate()
            assert daemon.wait_for_state(target.pid)["mode"] == "sampled"
            annotate(mode="exact")
            daemon.wait_until(lambda: daemon.targets()[target.pid]["mode"] == "exact", "mode exact is not taken")
            daemon.wait_for_state(target.pid)
            annotate(mode="nonsense")
            daemon.wait_until(lambda: "goheapd.io/mode must be" in (daemon.targets()[target.pid]["reason"] or ""),
                              "nothing is said of a mode that there is not")
            assert daemon.wait_for_state(target.pid)["mode"] == "sampled"
            annotate(profile="false")
            daemon.wait_for_state(target.pid, "ignored")
            assert target.text_differences() == []


def test_a_pod_that_is_known_late_is_judged_late(in_pod, tmp_path):
    target, uid, container_id = in_pod
    with ApiServer(tmp_path) as api:
        selection = ["--kubernetes.namespace", "shop", "--kubernetes.pod-selector", "app in (shop, web)"]
        with Daemon(target.pid, arguments=api.arguments + selection) as daemon:
            daemon.wait_for_state(target.pid, "ignored")
            api.put(pod("web-0", uid, "web", container_id, labels={"app": "other"}))
            daemon.wait_until(lambda: "pod-selector matches" in daemon.targets()[target.pid]["reason"],
                              "labels do not decide")
            api.put(pod("web-0", uid, "web", container_id, labels=LABELS))
            daemon.wait_for_state(target.pid)


def test_log_files_name_a_process_and_a_reload_selects(in_pod, tmp_path, monkeypatch):
    monkeypatch.setenv("NODE_NAME", NODE)
    target, uid, container_id = in_pod
    containers = tmp_path / "containers"
    containers.mkdir()
    (containers / f"web-0_shop_web-{container_id}.log").symlink_to("/nowhere/0.log")
    config = tmp_path / "goheapd.yml"
    config.write_text("kubernetes.namespace: [shop]\n")
    arguments = ["--kubernetes", "logs", "--kubernetes.log-dir", tmp_path, "--config", config]
    with Daemon(target.pid, arguments=arguments) as daemon:
        row = daemon.wait_for_state(target.pid)
        assert (row["namespace"], row["pod"], row["container"]) == ("shop", "web-0", "web")
        assert row["kubernetes"]["node"] == NODE
        [group] = daemon.get("/api/v1/sd").json()
        assert group["labels"]["__meta_kubernetes_pod_node_name"] == NODE
        assert daemon.metrics().sum("goheapd_target_info", node=NODE) == 1
        config.write_text("kubernetes.exclude-namespace: [shop]\n")
        daemon.process.send_signal(signal.SIGHUP)
        reason = daemon.wait_for_state(target.pid, "ignored")["reason"]
        daemon.wait_until(lambda: "exclude-namespace" in daemon.targets()[target.pid]["reason"], reason)
        config.write_text("mode: sampled\n")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for_state(target.pid)


def test_log_files_stand_in_for_the_api_server_while_it_is_away(in_pod, tmp_path):
    """Mode auto: an API server that denies, then answers, then is away, then answers again."""
    target, uid, container_id = in_pod
    late_uid, late_id = str(uuid.uuid4()), uuid.uuid4().hex * 2

    def log_file(name, container):
        (tmp_path / "containers").mkdir(exist_ok=True)
        (tmp_path / "containers" / f"{name}_shop_web-{container}.log").symlink_to("/nowhere/0.log")

    with Target.of(24, profile_rate=1) as late, pod_cgroup(late.pid, late_uid, late_id), ApiServer(tmp_path) as api:
        api.put(pod("web-0", uid, "web", container_id, labels=LABELS))
        api.answer("denied")
        log_file("web-0", container_id)
        arguments = ["--kubernetes", "auto", *api.address, "--kubernetes.log-dir", tmp_path]
        with Daemon(target.pid, late.pid, arguments=arguments) as daemon:
            def facts(pid):
                row = daemon.targets()[pid]
                return row["namespace"], row["pod"], row["container"], (row["kubernetes"] or {}).get("labels")

            def api_is(up, failure):
                metrics = daemon.metrics()
                return metrics.sum("goheapd_kubernetes_api_up") == up and (
                    metrics.sum("goheapd_kubernetes_failures_total", reason=failure) > 0)

            daemon.wait_for_state(target.pid)
            assert facts(target.pid) == ("shop", "web-0", "web", {})
            assert daemon.targets()[target.pid]["kubernetes"]["node"] == NODE
            assert api_is(0, "denied")

            api.answer("rightly")
            daemon.wait_until(lambda: facts(target.pid) == ("shop", "web-0", "web", LABELS), "no labels from the API server")
            daemon.wait_until(lambda: api_is(1, "denied"), "the API server is not said to answer")
            assert facts(late.pid)[1] is None

            api.answer("not")
            daemon.wait_until(lambda: api_is(0, "connection"), "the API server is not said to be away")
            log_file("late-0", late_id)
            daemon.wait_until(lambda: facts(late.pid) == ("shop", "late-0", "web", {}), "no name from the log files")
            assert facts(target.pid) == ("shop", "web-0", "web", LABELS)   # what it said still holds

            api.put(pod("late-0", late_uid, "web", late_id, labels={"app": "late"}))
            api.answer("rightly")
            daemon.wait_until(lambda: facts(late.pid) == ("shop", "late-0", "web", {"app": "late"}),
                              "the API server's word does not win once it is back")
            assert api_is(1, "connection")

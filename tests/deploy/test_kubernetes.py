"""Manifests and chart: what they render is valid Kubernetes, and names only flags that goheapd has."""
import json
import re
import shutil
import subprocess

import pytest
import yaml

from harness.daemon import GOHEAPD
from tools import DEPLOY, OPERATIONS, TREE, run

CHART = DEPLOY / "helm" / "goheapd"
HELM = OPERATIONS / "helm" / "helm"
KUBECTL = OPERATIONS / "helm" / "kubectl"
OVERLAYS = sorted(file.parent.name for file in (DEPLOY / "kubernetes").glob("*/kustomization.yaml"))
VALUES = sorted(file.name for file in (CHART / "ci").glob("*-values.yaml"))
# As the values of everything-values.yaml, with the other one of the two monitors.
OTHER_MONITOR = ["--set", "prometheus.podMonitor.enabled=false,prometheus.serviceMonitor.enabled=true"]
LEAST = ["BPF", "PERFMON", "SYS_PTRACE"]


def validate(path):
    return run("node", TREE / "tests/deploy/check_manifests.mjs", OPERATIONS / "schemas" / "node_modules", path)


def rendered(values, *arguments):
    text = run(HELM, "template", "probe", CHART, "-n", "heaps", "-f", CHART / "ci" / values, *arguments)
    # helm says on stderr that it followed the link to the rules.
    return "\n".join(line for line in text.splitlines() if not line.startswith("level=INFO"))


def daemon_set(text):
    return next(o for o in yaml.safe_load_all(text) if o and o["kind"] == "DaemonSet")


def flags():
    return set(re.findall(r"--([a-z][a-z.-]*)", run(GOHEAPD, "serve", "--help")))


# What has a value of its own in the chart, or no place in a file.
ELSEWHERE = {"web.listen-address", "web.config.file", "config", "pid", "data-dir", "kubernetes", "version", "help"}


def check_daemon_set(text):
    """What every form of it must have."""
    pod = daemon_set(text)["spec"]["template"]["spec"]
    assert pod["hostPID"] is True
    container, = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["args"][0] == "serve"
    used = {word[2:] for word in container["args"] if word.startswith("--")}
    assert used and used <= flags()
    objects = [o for o in yaml.safe_load_all(text) if o]
    config = next(o for o in objects if o["kind"] == "ConfigMap")
    keys = yaml.safe_load(config["data"]["goheapd.yml"])
    assert set(keys) <= flags()
    node, = (entry for entry in container["env"] if entry["name"] == "NODE_NAME")
    assert node["valueFrom"]["fieldRef"]["fieldPath"] == "spec.nodeName"
    check_access(pod, container, objects)
    check_logs(pod, container)
    return container


def check_logs(pod, container):
    """The names of log files are there if and only if they are looked at."""
    volumes = {volume["name"]: volume["hostPath"]["path"] for volume in pod["volumes"] if "hostPath" in volume}
    mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"] if mount["name"] in volumes}
    assert ("/var/log/containers" in mounts) is (source_of_names(container) in ("auto", "logs"))
    assert all(here == there for here, there in mounts.items() if here.startswith("/var/log"))
    # The only writable place, and the flag that says to use it.
    words = container["args"]
    data = [mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")]
    assert data == ([words[words.index("--data-dir") + 1]] if "--data-dir" in words else [])


def source_of_names(container):
    words = container["args"]
    return words[words.index("--kubernetes") + 1] if "--kubernetes" in words else "auto"


def check_access(pod, container, objects):
    """A token if and only if there is a role for it, and the role is for pods alone."""
    source = source_of_names(container)
    roles = [o for o in objects if o["kind"] == "ClusterRole"]
    assert pod["automountServiceAccountToken"] is (source in ("auto", "api")) is bool(roles)
    for role in roles:
        assert role["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]
    for binding in (o for o in objects if o["kind"] == "ClusterRoleBinding"):
        subject, = binding["subjects"]
        namespace = next(o["metadata"]["namespace"] for o in objects if o["kind"] == "DaemonSet")
        assert (subject["name"], subject["namespace"]) == (pod["serviceAccountName"], namespace)
        assert binding["roleRef"]["name"] in {role["metadata"]["name"] for role in roles}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_manifests(overlay, tmp_path):
    text = run(KUBECTL, "kustomize", DEPLOY / "kubernetes" / overlay)
    (tmp_path / "all.yaml").write_text(text)
    validate(tmp_path / "all.yaml")
    security = check_daemon_set(text)["securityContext"]
    if overlay == "privileged":
        assert security["privileged"] is True
        return
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"]["drop"] == ["ALL"]
    more = ["SYS_ADMIN", "DAC_READ_SEARCH", "SYS_RESOURCE"] if overlay == "older-kernel" else []
    assert security["capabilities"]["add"] == LEAST + more
    annotations = daemon_set(text)["spec"]["template"]["metadata"]["annotations"]
    unconfined = annotations.get("container.apparmor.security.beta.kubernetes.io/goheapd") == "unconfined"
    assert unconfined is (overlay == "before-1.30")
    assert ("appArmorProfile" in security) is not unconfined


def test_rules_for_the_manifests(tmp_path):
    """The command that monitoring/kustomization.yaml names gives the rules and nothing else."""
    text = (DEPLOY / "kubernetes" / "monitoring" / "kustomization.yaml").read_text()
    command = re.search(r"helm (template .*?)\|", re.sub(r"\\\n#", "", text))[1].split()
    printed = run(HELM, *command, cwd=TREE)
    objects = [o for o in yaml.safe_load_all(re.sub(r"^level=.*\n", "", printed, flags=re.MULTILINE)) if o]
    assert [o["kind"] for o in objects] == ["PrometheusRule"] * 2
    assert {o["metadata"]["namespace"] for o in objects} == {"goheapd"}


@pytest.mark.parametrize("kubernetes", ["1.25.0", "1.29.0", "1.31.0", "1.35.0"])
@pytest.mark.parametrize("values", VALUES)
def test_chart_renders(values, kubernetes, tmp_path):
    run(HELM, "lint", "--strict", "--kube-version", kubernetes, CHART, "-f", CHART / "ci" / values)
    text = rendered(values, "--kube-version", kubernetes)
    (tmp_path / "all.yaml").write_text(text)
    validate(tmp_path / "all.yaml")
    check_daemon_set(text)


def test_chart_default_is_least_privilege():
    text = rendered("default-values.yaml", "--kube-version", "1.31.0")
    security = check_daemon_set(text)["securityContext"]
    assert security["capabilities"] == {"drop": ["ALL"], "add": LEAST}
    assert security["allowPrivilegeEscalation"] is False
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert "privileged" not in security
    kinds = sorted(o["kind"] for o in yaml.safe_load_all(text) if o)
    assert kinds == ["ClusterRole", "ClusterRoleBinding", "ConfigMap", "DaemonSet", "ServiceAccount"]


def test_chart_options_have_effect():
    text = rendered("everything-values.yaml")
    objects = {(o["kind"], o["metadata"]["name"]): o for o in yaml.safe_load_all(text) if o}
    kinds = {kind for kind, _ in objects}
    assert {"PodMonitor", "PrometheusRule", "NetworkPolicy", "Service"} <= kinds and "ServiceMonitor" not in kinds
    others = rendered("everything-values.yaml", *OTHER_MONITOR)
    assert not any(o["kind"] == "PodMonitor" for o in yaml.safe_load_all(others) if o)
    objects |= {(o["kind"], o["metadata"]["name"]): o for o in yaml.safe_load_all(others) if o}
    pod = daemon_set(text)["spec"]["template"]
    container, = pod["spec"]["containers"]
    assert container["image"].startswith("registry.example/team/goheapd@sha256:")
    assert container["securityContext"]["capabilities"]["add"] == LEAST + ["SYS_ADMIN", "DAC_READ_SEARCH", "SYS_RESOURCE"]
    assert container["args"][-2:] == ["--top-sites", "50"]
    assert ":9787" in container["args"]
    assert container["livenessProbe"]["httpGet"]["scheme"] == "HTTPS"
    assert pod["spec"]["priorityClassName"] == "system-node-critical"
    values = yaml.safe_load((CHART / "ci" / "everything-values.yaml").read_text())["prometheus"]
    for kind, endpoints, name in (("PodMonitor", "podMetricsEndpoints", "podMonitor"), ("ServiceMonitor", "endpoints", "serviceMonitor")):
        endpoint, = next(o for (k, _), o in objects.items() if k == kind)["spec"][endpoints]
        given = {key: values[name][key] for key in ("tlsConfig", "basicAuth", "authorization") if key in values[name]}
        assert len(given) == 2 and given.items() <= endpoint.items()
        assert endpoint["scheme"] == "https"
    groups = [group["name"] for (kind, _), o in objects.items() if kind == "PrometheusRule" for group in o["spec"]["groups"]]
    assert sorted(groups) == ["go-programs", "goheapd", "goheapd-recording"]


def jobs_of_monitors(text):
    """The label "job" that each monitor gives, whatever the objects are called."""
    jobs = []
    for monitor in (o for o in yaml.safe_load_all(text) if o and o["kind"] in ("PodMonitor", "ServiceMonitor")):
        endpoint, = monitor["spec"].get("podMetricsEndpoints") or monitor["spec"]["endpoints"]
        assert {"action": "labeldrop", "regex": "namespace|pod|container"} in endpoint["relabelings"]
        jobs += [rule["replacement"] for rule in endpoint["relabelings"] if rule.get("targetLabel") == "job"]
    return jobs


def test_alerts_know_the_monitors_jobs():
    def watched(text):
        down, = (rule for o in yaml.safe_load_all(text) if o and o["kind"] == "PrometheusRule"
                 for group in o["spec"]["groups"] for rule in group["rules"] if rule.get("alert") == "GoheapdDown")
        return json.loads(re.search(r'job=~("(?:[^"\\]|\\.)*")', down["expr"])[1])
    renamed = rendered("privileged-values.yaml")   # nothing in it is called goheapd
    assert "name: heap\n" in renamed
    cases = [(renamed, "goheapd"), (rendered("everything-values.yaml", "--set", "prometheus.job=a.b"), "a.b"),
             (rendered("everything-values.yaml", "--set", "prometheus.rules.job=one|goheapd"), "goheapd")]
    for text, job in cases:
        assert jobs_of_monitors(text) == [job]
        assert re.fullmatch(watched(text), job)
    assert not re.fullmatch(watched(cases[1][0]), "acb")
    in_file = (DEPLOY / "prometheus" / "goheapd-alerts.rules.yml").read_text()
    assert watched(renamed) == re.search('job=~"([^"]*)"', in_file)[1]
    plain = run(KUBECTL, "kustomize", DEPLOY / "kubernetes" / "monitoring")
    assert jobs_of_monitors(plain) == ["goheapd"]


def test_chart_mounts_of_the_node_only_what_it_needs():
    def host_paths(text):
        volumes = daemon_set(text)["spec"]["template"]["spec"]["volumes"]
        return [volume["hostPath"]["path"] for volume in volumes if "hostPath" in volume]
    def egress(text):
        policy, = (o for o in yaml.safe_load_all(text) if o and o["kind"] == "NetworkPolicy")
        return policy["spec"]["egress"]
    assert host_paths(rendered("default-values.yaml")) == ["/var/log/containers"]
    assert host_paths(rendered("everything-values.yaml")) == ["/var/lib/goheapd-node"]
    assert host_paths(rendered("no-api-values.yaml")) == ["/var/log/containers"]
    assert egress(rendered("no-api-values.yaml")) == []
    assert [port["port"] for port in egress(rendered("everything-values.yaml"))[0]["ports"]] == [443, 6443]


def test_chart_rolls_pods_when_the_configuration_changes():
    def checksum(*arguments):
        text = rendered("default-values.yaml", *arguments)
        return daemon_set(text)["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
    assert checksum() == checksum()
    assert checksum() != checksum("--set", "config.mode=exact")


@pytest.mark.parametrize("setting", ["prviilegeMode=minimal", "privilegeMode=root", "podNames=cri", "port=0", "config.config=/x", "config.mood=auto", "dataDir.hostPath=relative",
                                     "image.digest=sha256:12", "prometheus.podMonitor.interval=often",
                                     "prometheus.podMonitor.tlsConfig.caFile=/ca.crt", "prometheus.serviceMonitor.basicAuth.user=me"])
def test_chart_refuses_mistakes(setting):
    output = run(HELM, "template", "probe", CHART, "--set", setting, fails=True)
    assert "schema" in output


@pytest.mark.parametrize("setting", ["nameOverride=Heap", "nameOverride=heap-", "fullnameOverride=a.b", "fullnameOverride=" + 64 * "x",
                                     "resources.requests.cpu=fast", "resources.requests.memory=128MB", "resources.limits.memory=-1Gi",
                                     "resources.limits.memory={1Gi}"])
def test_chart_refuses_what_kubernetes_would(setting):
    assert "schema" in run(HELM, "template", "probe", CHART, "--set", setting, fails=True)


def test_chart_takes_names_and_quantities():
    run(HELM, "template", "probe", CHART, "--set", f"nameOverride=1h,fullnameOverride={63 * 'x'},resources.requests.cpu=0.5,"
        "resources.requests.memory=1.5Gi,resources.limits.cpu=2,resources.limits.memory=1e9,resources.limits.ephemeral-storage=100M")


def test_chart_wants_one_monitor():
    assert "not both" in run(HELM, "template", "probe", CHART, "-f", CHART / "ci/everything-values.yaml", "--set",
                             "prometheus.serviceMonitor.enabled=true", fails=True)


# By key: what goheapd takes, and what the chart finds wrong before goheapd does.
VALUES_OF_KEYS = {
    "mode": (["auto", "buckets", ["exact"]], ["Auto", "", ["auto", "exact"], [], {"a": "b"}, 1]),
    "live-heap": ([True, False, "true", "YES", "off", 1, 0, "1", [True]], ["maybe", "", []]),
    "include": (["^/usr/", "", [], ["a", "b"], [1, True], 5], [{"a": "b"}, [["a"]], [None]]),
    "exclude": ([[], "x"], [{}]),
    "allow-runtime-sampling": ([["^/app/"], []], [{}]),
    "runtime-sampling-memory": ([2, 1048576, "16", "0x10", "+16", " 16", [16]], [1, 1048577, 1.5, True, "1.5", "", [], "1_000"]),
    "overhead-budget": ([0.001, 1, 100, "1", ".5", "1e1", "1.", [2]], [0.0001, 101, True, "1%", "", "inf", []]),
    "log.level": (["debug", "warn"], ["trace", "INFO", "warning"]),
    "log.format": (["json", "logfmt"], ["text"]),
    "exited-retention": (["10m", "1m30s", "1m 30s", "1 h", ".5s", "0", 0, "0s", "-0s", "+5s", "5us", "5µs", " 5 m s", ["10m"]],
                         [5, 0.5, "5", "1d", "", "m", True, [], ["1m", "2m"]]),
    "top-sites": ([0, 1000, "5"], [-1, 1001, "", "many", 0.5]),
    "redact": ([[], ["acme/[a-z]+"]], [{}]),
    "seccomp.off": (["", "an older kernel", 5], [["a", "b"], []]),
    "kubernetes.node": (["n", ""], [["a", "b"], {}]),
    "kubernetes.api-server": (["https://a", "https://a:1/", "https://[::1]:6443", ""], ["http://a", "a", "https://", "https://a/b"]),
    "kubernetes.token-file": (["/x"], [[]]),
    "kubernetes.ca-file": (["/x"], [[]]),
    "kubernetes.log-dir": (["/x"], [[]]),
    "kubernetes.namespace": ([[], "a", ["a", "b"], 5], [{}]),
    "kubernetes.exclude-namespace": ([["a"], []], [[{}]]),
    "kubernetes.pod-selector": ([[], "app in (a, b)", ["a=b", "!c"]], [{}]),
}


def takes(key, value, folder):
    """Whether goheapd would start with it: then it is this file that it misses."""
    (folder / "goheapd.yml").write_text(yaml.safe_dump({key: value}, allow_unicode=True))
    result = subprocess.run([GOHEAPD, "serve", "--config", folder / "goheapd.yml", "--web.config.file", folder / "none",
                             "--data-dir", folder], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert result.returncode in (1, 2), (key, value, result)
    assert (result.returncode == 1) == ("web config file cannot be read" in result.stderr), (key, value, result.stderr)
    return result.returncode == 1


@pytest.mark.parametrize("key", VALUES_OF_KEYS)
def test_chart_judges_values_as_goheapd_does(key, tmp_path):
    good, bad = VALUES_OF_KEYS[key]

    def template(value, **how):
        (tmp_path / "values.yaml").write_text(yaml.safe_dump({"config": {key: value}, "dataDir": {"hostPath": "/d"}}, allow_unicode=True))
        return run(HELM, "template", "probe", CHART, "-f", tmp_path / "values.yaml", **how)
    for value in good:
        assert takes(key, value, tmp_path), (key, value)
        template(value)
    for value in bad:
        assert not takes(key, value, tmp_path), (key, value)
        assert "schema" in template(value, fails=True), (key, value)


def test_chart_wants_a_place_for_notes():
    output = run(HELM, "template", "probe", CHART, "--set", "config.allow-runtime-sampling={^/app/}", fails=True)
    assert "needs dataDir.hostPath" in output
    # An empty list allows nothing.
    run(HELM, "template", "probe", CHART, "--set-json", "config.allow-runtime-sampling=[]", "--set-json", "config.exclude=[]")


def test_chart_knows_every_key_of_the_configuration():
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert ELSEWHERE <= flags()
    assert set(schema["properties"]["config"]["properties"]) == set(VALUES_OF_KEYS) == flags() - ELSEWHERE


def test_one_version():
    version = re.search(r"project\(goheapd VERSION ([0-9.]+)", (TREE / "CMakeLists.txt").read_text())[1]
    base = yaml.safe_load((DEPLOY / "kubernetes" / "base" / "kustomization.yaml").read_text())
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == version
    assert [image["newTag"] for image in base["images"]] == [version]
    assert run(GOHEAPD, "--version").split()[1] == version


def test_checker_finds_mistakes(tmp_path):
    good = rendered("default-values.yaml")
    for wrong, right, finding in [("hostPid: true", "hostPID: true", "unknown field .spec.template.spec.hostPid"),
                                  ("containerPort: http", "containerPort: 9786", "containerPort type"),
                                  ("kind: DemonSet", "kind: DaemonSet", "no schema for apps/v1 DemonSet")]:
        assert right in good
        (tmp_path / "bad.yaml").write_text(good.replace(right, wrong))
        output = run("node", TREE / "tests/deploy/check_manifests.mjs", OPERATIONS / "schemas" / "node_modules",
                     tmp_path / "bad.yaml", fails=True)
        assert finding in output


def test_chart_packages(tmp_path):
    run(HELM, "package", CHART, "-d", tmp_path)
    package, = tmp_path.glob("goheapd-*.tgz")
    shutil.unpack_archive(package, tmp_path)
    for rules in (DEPLOY / "prometheus").glob("*.rules.yml"):
        packed = tmp_path / "goheapd" / "files" / "prometheus" / rules.name
        assert packed.read_text() == rules.read_text()
